"""Files of annotations in JSON: told apart by their first and last bytes, and read whole."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from napari_fundus.datasets.files import read_text
from napari_fundus.errors import DatasetError
from napari_fundus.runtime.files import check_is_file

_SNIFF_BYTES = 1 << 16
"""Bytes at either end of a JSON file that are looked through for a format's words."""

_MOST = 256 << 20
"""Bytes of a file of annotations; those of the largest fundus sets have a tenth of it."""

_LARGEST_EXACT = 1 << 53
"""Whole numbers from here on have no exact float."""


def read_head_and_tail(path: Path) -> bytes:
    """Return the first and the last 64 KiB of a JSON object, as UTF-8; nothing of what is none.

    Files of annotations may be long: their format is recognized without reading them whole.
    """
    if path.suffix.casefold() != ".json":
        return b""
    try:
        check_is_file(path)
        with path.open("rb") as file:
            first = file.read(_SNIFF_BYTES)
            size = file.seek(0, 2)
            file.seek(max(size - _SNIFF_BYTES, len(first)))
            ends = first + file.read(_SNIFF_BYTES)
    except OSError:
        return b""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if ends.startswith(mark):
            ends = ends[2:].decode(name, errors="ignore").encode("utf-8", errors="ignore")
    return ends if ends.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else b""


def read_annotations(path: Path, kind: str) -> Any:
    """Return what a file of annotations holds.

    Parameters
    ----------
    path
        The file.
    kind
        What it is taken for, for the message: ``"COCO annotations"``.

    Raises
    ------
    DatasetError
        It is too large, not JSON, or nested too deeply.
    """
    try:
        if (size := path.stat().st_size) > _MOST:
            raise DatasetError(
                f"{path} has {size >> 20} MB, more than {_MOST >> 20}. Split it into several files "
                "of annotations."
            )
        return json.loads(read_text(path))
    except RecursionError:
        raise DatasetError(
            f"{path} cannot be read as {kind}: it is nested too deeply. Export it again."
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as {kind}: {error}. Export it again.") from error


def parse_whole(value: Any) -> int | None:
    """Return the whole number that a value is, written as a number or as text, or None.

    A float that is too large to be exact is none.

    Examples
    --------
    >>> [parse_whole(value) for value in (3, 3.0, "3", " 3.0 ", 3.5, True, None)]
    [3, 3, 3, 3, None, None, None]
    """
    if isinstance(value, str):
        written = re.fullmatch(r"\s*([+-]?\d{1,40})(\.0*)?\s*", value)
        return int(written[1]) if written else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _LARGEST_EXACT else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
