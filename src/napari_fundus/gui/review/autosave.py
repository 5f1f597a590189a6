"""An unfinished review on the disk, so that a crash loses nothing: one file an image."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.errors import FundusError
from napari_fundus.files import atomic_write
from napari_fundus.gui.review.lesion import Lesion

__all__ = ["Saved", "discard", "read_saved", "reviews_folder", "saved_path", "write_saved"]

_VERSION = 1

_DAMAGED = (
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
class Saved:
    """An unfinished review.

    Attributes
    ----------
    labels, tables, lesions
        As in :class:`~napari_fundus.gui.review.session.Review`.
    settings
        What else the window knows: classes reviewed, order, place; plain JSON values.
    time
        When it was saved, ISO 8601.
    """

    labels: Mapping[str, npt.NDArray[Any]]
    tables: Mapping[str, pd.DataFrame]
    lesions: list[Lesion]
    settings: dict[str, Any] = field(default_factory=dict)
    time: str = ""

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


def saved_path(sha256: str, folder: Path | None = None) -> Path:
    """Return the file of an image's unfinished review, by the SHA-256 of its pixels."""
    return (folder or reviews_folder()) / f"{sha256[:24]}.npz"


def discard(path: Path) -> None:
    """Delete an unfinished review, if there is one."""
    path.unlink(missing_ok=True)


def write_saved(saved: Saved, path: Path) -> None:
    """Write an unfinished review, whole or not at all; labels as their pixels that are not 0."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    kinds: dict[str, str] = {}
    shape: tuple[int, ...] = (0, 0)
    for code, labels in saved.labels.items():
        flat = np.ascontiguousarray(labels).reshape(-1)
        pixels = np.flatnonzero(flat)
        arrays[f"pixels {code}"], arrays[f"values {code}"] = pixels, flat[pixels]
        kinds[code], shape = labels.dtype.str, labels.shape
    away = [lesion for lesion in saved.lesions if lesion.pixels is not None]
    parts = [lesion.pixels for lesion in away if lesion.pixels is not None]
    arrays["away"] = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    head = {
        "version": _VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "shape": list(shape),
        "kinds": kinds,
        "tables": {code: _packed(table) for code, table in saved.tables.items()},
        "lesions": [_told(lesion) for lesion in saved.lesions],
        "settings": saved.settings,
    }
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with atomic_write(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_saved(path: Path) -> Saved | None:
    """Read an unfinished review; None if there is none.

    Raises
    ------
    FundusError
        The file is damaged, or of a later version.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes().decode())
            if head["version"] != _VERSION:
                raise FundusError(f"{path} was saved by another version of napari-fundus.")
            labels = {}
            for code, kind in head["kinds"].items():
                labels[code] = np.zeros(tuple(head["shape"]), np.dtype(kind))
                labels[code].reshape(-1)[file[f"pixels {code}"]] = file[f"values {code}"]
            away = file["away"]
        lesions, start = [], 0
        for told in head["lesions"]:
            count = told.pop("away")
            row = told.pop("row")
            table = None if row is None else _table(row)
            place = {"centroid": tuple(told["centroid"]), "box": tuple(told["box"])}
            lesion = Lesion(**{**told, **place, "row": table})
            if count is not None:
                lesion = replace(lesion, pixels=away[start : start + count])
                start += count
            lesions.append(lesion)
        tables = {code: _table(packed) for code, packed in head["tables"].items()}
        return Saved(labels, tables, lesions, head["settings"], head["time"])
    except _DAMAGED as error:
        raise FundusError(f"The unfinished review {path} is damaged: {error}") from error


def _told(lesion: Lesion) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "lesion": lesion.lesion,
        "detected": lesion.detected,
        "area": lesion.area,
        "centroid": list(lesion.centroid),
        "box": list(lesion.box),
        "score": lesion.score,
        "threshold": lesion.threshold,
        "alone": lesion.alone,
        "source": lesion.source,
        "verdict": lesion.verdict,
        "row": None if lesion.row is None else _packed(lesion.row),
        "away": None if lesion.pixels is None else len(lesion.pixels),
    }


def _packed(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as plain values; NaN stays, since only this file's reader sees it."""
    return {
        str(name): {"kind": str(kind), "values": table[name].tolist()}
        for name, kind in table.dtypes.items()
    }


def _table(packed: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series(column["values"], dtype=object).astype(column["kind"])
            for name, column in packed.items()
        }
    )
