"""From a map of probabilities to lesions: components above a threshold, and their table."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["INSTANCE_COLUMNS", "empty_instances", "label_map"]

INSTANCE_COLUMNS: dict[str, str] = {
    "id": "int64",
    "lesion": "object",
    "score": "float64",
    "mean_probability": "float64",
    "area_px": "int64",
    "equivalent_diameter_px": "float64",
    "centroid_row": "float64",
    "centroid_col": "float64",
    "bbox_row_start": "int64",
    "bbox_col_start": "int64",
    "bbox_row_stop": "int64",
    "bbox_col_stop": "int64",
}
"""Columns of the table of lesions and their dtypes; boxes are half-open, all in original pixels."""


def empty_instances() -> pd.DataFrame:
    """Return a table of lesions with all columns and no row."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in INSTANCE_COLUMNS.items()})


def label_map(
    probability: npt.NDArray[np.float32],
    *,
    lesion: str,
    threshold: float,
    min_area: int = 1,
    first_id: int = 1,
) -> tuple[npt.NDArray[np.int32], pd.DataFrame]:
    """Label the 8-connected components of `probability` at or above `threshold`.

    Parameters
    ----------
    probability
        float32, shape (H, W), values in [0, 1].
    lesion
        Code of the class, for the table.
    threshold
        Pixels at or above it belong to a lesion; pixels of probability 0 never do.
    min_area
        Least area of a lesion in pixels.
    first_id
        Id of the first lesion; the others follow without a gap.

    Returns
    -------
    labels
        int32, shape (H, W), 0 where there is no lesion.
    instances
        One row a lesion, with the columns `INSTANCE_COLUMNS`. The score is the largest probability
        inside.
    """
    smallest = float(np.finfo(np.float32).tiny)
    mask = probability >= np.float32(max(threshold, smallest))
    components = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    labels: npt.NDArray[np.int32] = np.asarray(components[1], np.int32)
    stats: npt.NDArray[np.int32] = np.asarray(components[2], np.int32)
    centroids: npt.NDArray[np.float64] = np.asarray(components[3], np.float64)
    pixels = np.flatnonzero(mask)
    label_of_pixel = labels.ravel()[pixels]
    values = probability.ravel()[pixels]
    count = len(stats)
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, label_of_pixel, values)
    area = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    mean = np.bincount(label_of_pixel, values, count) / np.maximum(area, 1)

    kept = np.flatnonzero(area >= min_area)
    kept = kept[kept > 0]
    if len(kept) < count - 1 or first_id != 1:
        new_id = np.zeros(count, np.int32)
        new_id[kept] = np.arange(first_id, first_id + len(kept))
        labels.ravel()[pixels] = new_id[label_of_pixel]
    left, top, width, height = (stats[kept, i].astype(np.int64) for i in range(4))
    table = pd.DataFrame(
        {
            "id": np.arange(first_id, first_id + len(kept), dtype=np.int64),
            "lesion": np.full(len(kept), str(lesion), dtype=object),
            "score": peak[kept].astype(np.float64),
            "mean_probability": mean[kept],
            "area_px": area[kept],
            "equivalent_diameter_px": np.sqrt(4 * area[kept] / np.pi),
            "centroid_row": centroids[kept, 1],
            "centroid_col": centroids[kept, 0],
            "bbox_row_start": top,
            "bbox_col_start": left,
            "bbox_row_stop": top + height,
            "bbox_col_stop": left + width,
        }
    )
    return labels, table.astype(INSTANCE_COLUMNS)
