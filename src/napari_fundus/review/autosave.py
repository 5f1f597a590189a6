"""Unfinished reviews on the disk, so that a crash loses nothing: a file for each sitting."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.errors import FundusError
from napari_fundus.review.commands import Command
from napari_fundus.review.history import pack_commands, trim_history, unpack_commands
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.serialization import (
    pack_lesions,
    pack_table,
    unpack_lesions,
    unpack_table,
)
from napari_fundus.runtime.files import atomic_write, check_is_file

_VERSION = 1

_SHA_LENGTH = 24
"""Hexadecimal digits of an image's hash in the name of a file."""

_READ_ERRORS = (
    EOFError,
    IndexError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged file may raise."""


@dataclass(frozen=True, eq=False)
class SavedReview:
    """An unfinished review.

    Attributes
    ----------
    labels, tables, lesions
        As in :class:`~napari_fundus.review.session.Review`.
    settings
        What else the window knows: classes reviewed, order, place; plain JSON values.
    history
        What was done last, the newest last, so that it can be undone.
    time
        When it was saved, ISO 8601.
    files
        Where it is kept: one file, or several where reviews were merged.
    """

    labels: Mapping[str, npt.NDArray[Any]]
    tables: Mapping[str, pd.DataFrame]
    lesions: list[ReviewedLesion]
    settings: dict[str, Any] = field(default_factory=dict)
    time: str = ""
    history: Sequence[Command] = ()
    files: tuple[Path, ...] = ()

    @property
    def judged(self) -> int:
        """Number of lesions with a verdict."""
        return sum(lesion.verdict is not None for lesion in self.lesions)


def reviews_folder() -> Path:
    """Return where unfinished reviews are kept.

    The environment variable ``NAPARI_FUNDUS_REVIEWS`` names another place.
    """
    if chosen := os.environ.get("NAPARI_FUNDUS_REVIEWS"):
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("napari-fundus", appauthor=False) / "reviews"


def autosave_path(sha256: str, folder: Path | None = None) -> Path:
    """Return a new file for an unfinished review, by the SHA-256 of the image's pixels.

    No two calls return the same one, so no review overwrites another.
    """
    return (folder or reviews_folder()) / f"{sha256[:_SHA_LENGTH]}-{uuid4().hex[:8]}.npz"


def autosaves_of(sha256: str, folder: Path | None = None) -> list[Path]:
    """Return the files of all unfinished reviews of an image."""
    # Files of the first releases bear the hash alone.
    return sorted((folder or reviews_folder()).glob(f"{sha256[:_SHA_LENGTH]}*.npz"))


def read_unfinished(
    sha256: str, shape: tuple[int, ...], folder: Path | None = None
) -> tuple[list[SavedReview], list[FundusError]]:
    """Read the unfinished reviews of an image, the oldest first, and why some cannot be taken up.

    Files that cannot be taken up are left as they are.

    Parameters
    ----------
    sha256
        Of the image's pixels.
    shape
        Height and width of the labels that are to be reviewed.
    folder
        Of unfinished reviews; None for the user's.
    """
    found, problems = [], []
    for path in autosaves_of(sha256, folder):
        try:
            saved = read_autosave(path)
        except FundusError as error:
            problems.append(error)
            continue
        if saved is None:
            continue
        if any(labels.shape != shape for labels in saved.labels.values()):
            problems.append(
                FundusError(
                    f"The unfinished review {path} is of labels of another size than "
                    f"{shape[1]} x {shape[0]} px, so it cannot be taken up here. It is kept."
                )
            )
        else:
            found.append(saved)
    return sorted(found, key=lambda saved: saved.time), problems


def delete_autosave(path: Path) -> None:
    """Delete an unfinished review, if there is one."""
    path.unlink(missing_ok=True)


def write_autosave(saved: SavedReview, path: Path) -> None:
    """Write an unfinished review, whole or not at all; labels as their pixels that are not 0."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    kinds: dict[str, str] = {}
    shape: tuple[int, ...] = (0, 0)
    for code, labels in saved.labels.items():
        flat = np.ascontiguousarray(labels).reshape(-1)
        pixels = np.flatnonzero(flat)
        arrays[f"pixels {code}"], arrays[f"values {code}"] = pixels, flat[pixels]
        kinds[code], shape = labels.dtype.str, labels.shape
    lesions, arrays["away"] = pack_lesions(saved.lesions)
    history, more = pack_commands(trim_history(saved.history))
    arrays.update(more)
    head = {
        "version": _VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "shape": list(shape),
        "kinds": kinds,
        "tables": {code: pack_table(table) for code, table in saved.tables.items()},
        "lesions": lesions,
        "history": history,
        "settings": saved.settings,
    }
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with atomic_write(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_autosave(path: Path) -> SavedReview | None:
    """Read an unfinished review; None if there is none.

    Raises
    ------
    FundusError
        The file is damaged, or of a later version.
    """
    if not path.is_file():
        return None
    try:
        check_is_file(path)
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes().decode())
            if head["version"] != _VERSION:
                raise FundusError(f"{path} was saved by another version of napari-fundus.")
            labels = {}
            for code, kind in head["kinds"].items():
                labels[code] = np.zeros(tuple(head["shape"]), np.dtype(kind))
                labels[code].reshape(-1)[file[f"pixels {code}"]] = file[f"values {code}"]
            lesions = unpack_lesions(head["lesions"], file["away"])
            # Files of the first releases have none.
            history = unpack_commands(head["history"], file) if "history" in head else ()
        tables = {code: unpack_table(packed) for code, packed in head["tables"].items()}
        return SavedReview(
            labels, tables, lesions, head["settings"], head["time"], history, (path,)
        )
    except _READ_ERRORS as error:
        raise FundusError(f"The unfinished review {path} is damaged: {error}") from error
