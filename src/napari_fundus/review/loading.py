"""From the labels of a result, and perhaps of a second one, to what is under review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.errors import FundusError
from napari_fundus.review.lesion import (
    ReviewedLesion,
    lesions_from_labels,
    pixels_in_box,
    table_measurements,
)

_SPARE_IDS = 8192
"""Ids for lesions yet to be drawn: where 16 bits would not hold them, labels get 32."""


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """One class of a result, as a layer shows it.

    Attributes
    ----------
    labels
        Integer, shape (H, W).
    table
        Its features.
    threshold
        That was applied; NaN where there is none.
    """

    labels: npt.NDArray[Any]
    table: pd.DataFrame
    threshold: float = float("nan")


@dataclass(frozen=True, eq=False)
class LoadedReview:
    """What a review begins with.

    Attributes
    ----------
    labels
        Class code to labels; the arrays given, where they can be changed in place.
    tables
        Class code to features.
    lesions
        Those of the result, and those that only the other detector found.
    """

    labels: dict[str, npt.NDArray[Any]]
    tables: dict[str, pd.DataFrame]
    lesions: list[ReviewedLesion]


def load_lesions(
    parts: Mapping[str, ClassLabels],
    other: Mapping[str, ClassLabels] | None = None,
    *,
    name: str = "",
) -> LoadedReview:
    """Read the lesions off the labels. Takes a second on 12 megapixels: for a thread.

    Parameters
    ----------
    parts
        Class code to what is under review.
    other
        The same of another detector. Lesions of a class that both look for are compared: one that
        shares no pixel with a lesion of the other stands alone; those of the other come as
        candidates, which accepting puts into the labels.
    name
        Of the other detector.

    Raises
    ------
    FundusError
        Labels are not whole numbers, or differ in size.
    """
    shapes = {part.labels.shape for part in (*parts.values(), *(other or {}).values())}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise FundusError(f"The labels differ in size, or are no pictures: {sorted(shapes)}.")
    arrays = {code: _writable_labels(part.labels) for code, part in parts.items()}
    tables = {code: part.table.reset_index(drop=True) for code, part in parts.items()}
    found: dict[str, list[ReviewedLesion]] = {}
    taken: set[int] = set()
    for code, part in parts.items():
        mine = lesions_from_labels(
            arrays[code], tables[code], lesion=code, threshold=part.threshold
        )
        if taken & {x.id for x in mine}:
            arrays[code], tables[code], mine = _renumbered(
                arrays[code], tables[code], mine, max(taken)
            )
        if "index" not in tables[code].columns:
            tables[code] = measurement_table(mine)
        taken |= {x.id for x in mine}
        found[code] = mine
    largest = max(taken, default=0)
    candidates: list[ReviewedLesion] = []
    for code, part in (other or {}).items():
        if code not in arrays:
            continue
        both = (arrays[code] > 0) & (part.labels > 0)
        shared = set(np.unique(arrays[code][both]).tolist())
        found[code] = [replace(x, alone=x.id not in shared) for x in found[code]]
        met = set(np.unique(part.labels[both]).tolist())
        theirs = lesions_from_labels(part.labels, part.table, lesion=code, threshold=part.threshold)
        for lesion in theirs:
            if lesion.id not in met:
                largest += 1
                candidates.append(_candidate(lesion, part, largest, name))
    if largest + _SPARE_IDS > np.iinfo(np.uint16).max:
        arrays = {
            code: a if a.dtype.itemsize > 2 else a.astype(np.int32) for code, a in arrays.items()
        }
    elif any(a.dtype.itemsize < 2 for a in arrays.values()):
        arrays = {
            code: a if a.dtype.itemsize > 1 else a.astype(np.uint16) for code, a in arrays.items()
        }
    lesions = [lesion for mine in found.values() for lesion in mine]
    return LoadedReview(arrays, tables, [*lesions, *candidates])


def measurement_table(lesions: list[ReviewedLesion]) -> pd.DataFrame:
    """Return a table of what can be measured, for labels that come without one."""
    rows = [{"index": x.id, "lesion": x.lesion, **table_measurements(x)} for x in lesions]
    kinds = {
        "index": "int64",
        "lesion": "object",
        "area_px": "int64",
        "equivalent_diameter_px": "float64",
        "centroid_row": "float64",
        "centroid_col": "float64",
    }
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _writable_labels(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels that can be changed in place: the same array where it allows that."""
    if labels.dtype.kind not in "iub":
        raise FundusError(f"Labels are whole numbers, not {labels.dtype}.")
    if labels.dtype == np.bool_:
        return labels.astype(np.uint16)
    usable = isinstance(labels, np.ndarray) and labels.flags.writeable
    return labels if usable and labels.flags.c_contiguous else np.array(labels, order="C")


def _renumbered(
    labels: npt.NDArray[Any], table: pd.DataFrame, lesions: list[ReviewedLesion], by: int
) -> tuple[npt.NDArray[Any], pd.DataFrame, list[ReviewedLesion]]:
    """Return labels, table and lesions with `by` added to all ids, so that they are unique."""
    largest = max(lesion.id for lesion in lesions) + by
    wide = largest > np.iinfo(labels.dtype).max
    moved = labels.astype(np.int32 if wide else labels.dtype)
    moved[moved > 0] += by
    if "index" in table.columns:
        table = table.assign(index=table["index"] + by)
    return moved, table, [replace(lesion, id=lesion.id + by) for lesion in lesions]


def _candidate(
    lesion: ReviewedLesion, part: ClassLabels, identity: int, name: str
) -> ReviewedLesion:
    row = None
    if "index" in part.table.columns:
        known = part.table[part.table["index"] == lesion.id].head(1)
        row = known.reset_index(drop=True) if len(known) else None
    pixels = pixels_in_box(part.labels, lesion.id, lesion.box)
    return replace(lesion, id=identity, alone=True, source=name, pixels=pixels, row=row)
