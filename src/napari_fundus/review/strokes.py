"""What a stroke of a brush did to the lesions: drew one, changed some, took some away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.review.commands import (
    Command,
    LesionChange,
    PixelChange,
    RowChange,
    replace_rows,
)
from napari_fundus.review.lesion import (
    ReviewedLesion,
    measure_pixels,
    new_row,
    pixels_in_box,
    table_measurements,
)

Pixels = npt.NDArray[np.int64]


def resolve_ids(
    labels: npt.NDArray[Any],
    lesions: Mapping[int, ReviewedLesion],
    code: str,
    pixels: Pixels,
    before: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Return which ids painted pixels shall have.

    What is painted with the id of a lesion of this class adds to that one. Any other id draws a new
    lesion, unless the stroke touches one: then it adds to that one, since lesions that touch are
    one.

    Parameters
    ----------
    labels
        Of the class, after the stroke: integer, shape (H, W).
    lesions
        All lesions by id, before the stroke.
    code
        Class.
    pixels, before
        Flat indices, and their values before the stroke.
    """
    after = labels.reshape(-1)[pixels].copy()
    fresh = max(lesions, default=0) + 1
    for value in np.unique(after[after > 0]).tolist():
        known = lesions.get(value)
        if known is not None and known.present and known.lesion == code:
            continue
        drawn = after == value
        name = value if known is None else fresh
        fresh = max(fresh, name + 1)
        after[drawn] = _joined(labels, pixels[drawn], before[drawn], value, name)
    return after


def _joined(
    labels: npt.NDArray[Any], pixels: Pixels, under: npt.NDArray[Any], value: int, name: int
) -> npt.NDArray[Any]:
    """Return `name` for all pixels, or the id of the lesion that they touch most."""
    height, width = labels.shape
    rows, cols = np.divmod(pixels, width)
    near = [under]
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            r, c = rows + down, cols + right
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            near.append(labels[r[inside], c[inside]])
    touched = np.concatenate(near)
    touched = touched[(touched > 0) & (touched != value)]
    if not len(touched):
        return np.full(len(pixels), name, labels.dtype)
    values, counts = np.unique(touched, return_counts=True)
    return np.where(under > 0, under, values[counts.argmax()]).astype(labels.dtype)


def stroke_command(
    labels: npt.NDArray[Any],
    table: pd.DataFrame,
    lesions: Mapping[int, ReviewedLesion],
    pixels: PixelChange,
) -> Command:
    """Return the command that a stroke stands for.

    Parameters
    ----------
    labels
        Of the class, with the stroke in them: integer, shape (H, W).
    table
        Of the class, before the stroke.
    lesions
        All lesions by id, before the stroke.
    pixels
        What changed.
    """
    values = np.unique(np.concatenate([pixels.before, pixels.after]))
    rows: list[RowChange] = []
    changes: list[LesionChange] = []
    for value in values[values > 0].tolist():
        change = _change(labels, lesions.get(value), pixels, value)
        if change is not None:
            changes.append(change)
            row = _row(table, change, pixels.code)
            if row is not None:
                rows.append(row)
                table = replace_rows(table, row)
    focus = next((c.id for c in changes if c.after is not None and c.after.present), None)
    title = _title(pixels.code, changes)
    return Command(title, focus, (pixels,), tuple(rows), tuple(changes))


def _change(
    labels: npt.NDArray[Any], known: ReviewedLesion | None, pixels: PixelChange, value: int
) -> LesionChange | None:
    """Return what becomes of the lesion of one id."""
    gained, lost = (pixels.pixels[side == value] for side in (pixels.after, pixels.before))
    if known is None:
        if not len(gained):
            return None  # labels of which no lesion is known were painted over
        area, centroid, box = measure_pixels(gained, labels.shape[1])
        drawn = ReviewedLesion(value, pixels.code, None, area, centroid, box, verdict="drawn")
        return LesionChange(value, None, drawn)
    box = known.box
    if len(gained):
        more = measure_pixels(gained, labels.shape[1])[2]
        box = (
            min(box[0], more[0]),
            min(box[1], more[1]),
            max(box[2], more[2]),
            max(box[3], more[3]),
        )
    now = pixels_in_box(labels, value, box)
    if not len(now):
        return LesionChange(value, known, replace(known, verdict="rejected", pixels=lost))
    area, centroid, _ = measure_pixels(now, labels.shape[1])
    after = replace(
        known,
        area=area,
        centroid=centroid,
        box=box,
        verdict="drawn" if known.detected is None else "edited",
    )
    return LesionChange(value, known, after)


def _row(table: pd.DataFrame, change: LesionChange, code: str) -> RowChange | None:
    """Return what a change does to the table as it is at that moment."""
    after = change.after
    indices = np.flatnonzero(table["index"].to_numpy() == change.id)
    index = int(indices[0]) if len(indices) else len(table)
    row = table.iloc[index : index + 1] if len(indices) else None
    if after is None or not after.present:
        return None if row is None else RowChange(code, index, row, None)
    if row is None:
        return RowChange(code, index, None, new_row(table, after))
    edited = row.copy()
    for name, value in table_measurements(after).items():
        if name in edited.columns:
            edited[name] = pd.Series([value], index=edited.index).astype(table[name].dtype)
    return RowChange(code, index, row, edited)


def _title(code: str, changes: list[LesionChange]) -> str:
    if any(c.before is None for c in changes):
        return f"Draw {code}"
    gone = [c for c in changes if c.after is not None and not c.after.present]
    if gone and len(gone) == len(changes):
        return f"Erase {code} {gone[0].id}"
    return f"Edit {code}"
