"""Lesions and tables as plain values and one array, for a file that is never unpickled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.review.lesion import ReviewedLesion


def pack_lesions(
    lesions: Iterable[ReviewedLesion],
) -> tuple[list[dict[str, Any]], npt.NDArray[np.int64]]:
    """Return lesions as JSON values, and the pixels of those that are in no labels, joined."""
    records, parts = [], [np.zeros(0, np.int64)]
    for lesion in lesions:
        records.append(_to_record(lesion))
        if lesion.pixels is not None:
            parts.append(lesion.pixels)
    return records, np.concatenate(parts)


def unpack_lesions(
    records: Iterable[Mapping[str, Any]], pixels: npt.NDArray[np.int64]
) -> list[ReviewedLesion]:
    """Return the lesions that :func:`pack_lesions` was given."""
    lesions, start = [], 0
    for values in records:
        known = dict(values)
        count, row = known.pop("away"), known.pop("row")
        known["centroid"], known["box"] = tuple(known["centroid"]), tuple(known["box"])
        lesion = ReviewedLesion(**known, row=None if row is None else unpack_table(row))
        if count is not None:
            lesion = replace(lesion, pixels=pixels[start : start + count])
            start += count
        lesions.append(lesion)
    return lesions


def _to_record(lesion: ReviewedLesion) -> dict[str, Any]:
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
        "row": None if lesion.row is None else pack_table(lesion.row),
        "away": None if lesion.pixels is None else len(lesion.pixels),
    }


def pack_table(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as plain values; NaN stays, since only this file's reader sees it."""
    return {
        str(name): {"kind": str(kind), "values": table[name].tolist()}
        for name, kind in table.dtypes.items()
    }


def unpack_table(packed: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that :func:`pack_table` was given."""
    return pd.DataFrame(
        {
            name: pd.Series(column["values"], dtype=object).astype(column["kind"])
            for name, column in packed.items()
        }
    )
