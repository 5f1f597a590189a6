"""The lesions of an assessment as one list: missed, made up, found; with what leads to them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from napari_fundus.evaluation.assessment import Assessment
from napari_fundus.gui.layers.go_to import Column

FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE = "missed", "false positive", "found"

COLUMNS: tuple[Column, ...] = (
    ("Outcome", "outcome", str),
    ("Class", "lesion", str),
    ("Area px", "area_px", lambda value: f"{value:,}"),
    ("Peak p", "peak", lambda value: f"{value:.3f}"),
    ("Covered", "covered", lambda value: f"{value:.0%}"),
)

_KEPT = [
    "outcome", "lesion", "id", "area_px", "peak", "covered", "centroid_row", "centroid_col",
    "bbox_row_start", "bbox_col_start", "bbox_row_stop", "bbox_col_stop",
]  # fmt: skip


def lesion_table(
    assessment: Assessment, *, lesion: str | None = None, outcomes: frozenset[str] | None = None
) -> pd.DataFrame:
    """Return one row a lesion: those missed, the largest first; made up, the surest first; found.

    Parameters
    ----------
    figures
        The assessment.
    lesion
        Class; None for all.
    outcomes
        Which of `FALSE_NEGATIVE`, `FALSE_POSITIVE` and `TRUE_POSITIVE`; None for all.
    """
    true = assessment.lesions
    true = true.assign(
        outcome=np.where(true["found"].astype(bool), TRUE_POSITIVE, FALSE_NEGATIVE),
        covered=true["covered_px"] / np.maximum(true["area_px"], 1),
    )
    false = assessment.false_positives
    false = false.assign(outcome=FALSE_POSITIVE, covered=np.nan, peak=false["score"])
    parts = [
        true[true["outcome"] == FALSE_NEGATIVE].sort_values("area_px", ascending=False),
        false.sort_values("peak", ascending=False),
        true[true["outcome"] == TRUE_POSITIVE].sort_values("area_px", ascending=False),
    ]
    # Empty parts would turn the columns' types into objects.
    filled = [part[_KEPT] for part in parts if len(part)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=_KEPT)
    if lesion is not None:
        table = table[table["lesion"] == lesion]
    if outcomes is not None:
        table = table[table["outcome"].isin(outcomes)]
    return table.reset_index(drop=True)


def nearest_lesion(table: pd.DataFrame, row: float, col: float) -> int | None:
    """Return the place in `table` of the lesion at a pixel; None where none is.

    Of those whose box holds the pixel, the one whose centre is the nearest.
    """
    if table.empty:
        return None
    inside = (
        (table["bbox_row_start"] <= row + 0.5)
        & (row < table["bbox_row_stop"])
        & (table["bbox_col_start"] <= col + 0.5)
        & (col < table["bbox_col_stop"])
    )
    if not inside.any():
        return None
    rows, cols = (table[f"centroid_{axis}"].to_numpy(np.float64) for axis in ("row", "col"))
    away = np.where(inside, np.hypot(rows - row, cols - col), np.inf)
    return int(np.argmin(away))
