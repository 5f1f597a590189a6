"""Files of annotations in JSON: distinguished by their first and last bytes, and read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_fundus.errors import DatasetError
from napari_fundus.runtime.files import read_json

_SNIFF_BYTES = 1 << 16
"""Bytes at either end of a JSON file that are looked through for a format's words."""

_MOST = 256 << 20
"""Bytes of a file of annotations; those of the largest fundus sets have a tenth of it."""


def read_head_and_tail(path: Path) -> bytes:
    """Return the first and the last 64 KiB of a JSON object; nothing of what is none.

    Files of annotations may be long: their format is recognized without reading them whole.
    """
    if path.suffix.casefold() != ".json":
        return b""
    try:
        with path.open("rb") as file:
            first = file.read(_SNIFF_BYTES)
            size = file.seek(0, 2)
            file.seek(max(size - _SNIFF_BYTES, len(first)))
            ends = first + file.read(_SNIFF_BYTES)
    except OSError:
        return b""
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
    if path.stat().st_size > _MOST:
        raise DatasetError(
            f"{path} has {path.stat().st_size >> 20} MB, more than {_MOST >> 20}. Split it into "
            "several files of annotations."
        )
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as {kind}: {error}. Export it again.") from error
