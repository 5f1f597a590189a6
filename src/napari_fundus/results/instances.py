"""From maps or objects to labelled lesions and their table, at a threshold and a least area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.results.components import ConnectedComponents, find_components
from napari_fundus.results.objects import LesionObject, RasterizedObjects, rasterize_objects

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
    parts, whole = map_components(probability, lesion=lesion, threshold=threshold)
    keep = parts.area >= min_area
    table = whole[keep].reset_index(drop=True)
    table["id"] = np.arange(first_id, first_id + len(table))
    ids = np.zeros(len(keep), np.int32)
    ids[keep] = table["id"]
    labels = np.zeros(probability.shape, np.int32)
    labels.ravel()[parts.pixels] = ids[parts.part]
    return labels, table


def map_components(
    probability: npt.NDArray[np.float32], *, lesion: str, threshold: float
) -> tuple[ConnectedComponents, pd.DataFrame]:
    """Return what :func:`label_map` makes labels and table of, small lesions included.

    Parameters
    ----------
    probability, lesion, threshold
        As of :func:`label_map`.

    Returns
    -------
    parts
        The lesions' pixels.
    instances
        One row a part, in their order; ids count from 1.
    """
    smallest = float(np.finfo(np.float32).tiny)
    parts = find_components(probability >= np.float32(max(threshold, smallest)))
    values = probability.ravel()[parts.pixels]
    count = len(parts.area)
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, parts.part, values)
    table = pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "lesion": np.full(count, str(lesion), dtype=object),
            "score": peak.astype(np.float64),
            "mean_probability": np.bincount(parts.part, values, count) / parts.area,
            "area_px": parts.area,
            "equivalent_diameter_px": np.sqrt(4 * parts.area / np.pi),
            "centroid_row": parts.row,
            "centroid_col": parts.col,
            "bbox_row_start": parts.box[:, 0],
            "bbox_col_start": parts.box[:, 1],
            "bbox_row_stop": parts.box[:, 2],
            "bbox_col_stop": parts.box[:, 3],
        }
    )
    return parts, table.astype(INSTANCE_COLUMNS)


def rasterized_table(
    painted: RasterizedObjects, *, lesion: str, shape: tuple[int, int]
) -> pd.DataFrame:
    """Return a row for each of the painted objects, measured on the pixels that it owns.

    Ids count from 1, the surest first. An object that surer ones cover wholly has area 0.
    """
    count = len(painted.objects)
    row, col = np.divmod(painted.pixels, shape[1])
    area = np.bincount(painted.owner, minlength=count)
    score = np.array([found.score for found in painted.objects], np.float64)

    def mean(of_pixel: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        total = np.bincount(painted.owner, of_pixel, count)
        return np.asarray(total / np.maximum(area, 1), np.float64)

    def extreme(ufunc: np.ufunc, of_pixel: npt.NDArray[np.int64], start: int) -> npt.NDArray[Any]:
        result = np.full(count, start, np.int64)
        ufunc.at(result, painted.owner, of_pixel)
        return result

    far = max(shape)
    table = pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "lesion": np.full(count, str(lesion), dtype=object),
            "score": score,
            "mean_probability": score,
            "area_px": area,
            "equivalent_diameter_px": np.sqrt(4 * area / np.pi),
            "centroid_row": mean(row),
            "centroid_col": mean(col),
            "bbox_row_start": extreme(np.minimum, row, far),
            "bbox_col_start": extreme(np.minimum, col, far),
            "bbox_row_stop": extreme(np.maximum, row, -1) + 1,
            "bbox_col_stop": extreme(np.maximum, col, -1) + 1,
        }
    )
    return table.astype(INSTANCE_COLUMNS)


def passes_thresholds(
    table: pd.DataFrame, *, threshold: float, min_area: int = 1
) -> npt.NDArray[np.bool_]:
    """Tell which rows of a table of lesions are shown at a threshold and a least area.

    Scores are compared as 32-bit floats, like the pixels of maps; a score of 0 is never enough.
    """
    least = np.float32(max(threshold, float(np.finfo(np.float32).tiny)))
    sure = table["score"].to_numpy().astype(np.float32) >= least
    return np.asarray(sure & (table["area_px"].to_numpy() >= max(min_area, 1)), np.bool_)


def label_objects(
    objects: Sequence[LesionObject],
    *,
    lesion: str,
    shape: tuple[int, int],
    threshold: float,
    min_area: int = 1,
    first_id: int = 1,
) -> tuple[npt.NDArray[np.int32], pd.DataFrame]:
    """Label objects of one class, as :func:`label_map` labels the components of a map.

    Objects whose score reaches `threshold` are painted, the surest last; those of which fewer than
    `min_area` pixels are then to be seen are taken away again. Labels and table so tell of the same
    pixels. Ids follow the scores, the surest first.

    Parameters
    ----------
    objects
        In pixels of the picture, each inside it.
    lesion
        Code of the class, for the table.
    shape
        Height and width of the picture.
    threshold, min_area, first_id
        As of :func:`label_map`; the threshold is one of the score.
    """
    painted = rasterize_objects(objects, shape)
    table = rasterized_table(painted, lesion=lesion, shape=shape)
    keep = passes_thresholds(table, threshold=threshold, min_area=min_area)
    ids = np.zeros(len(keep), np.int32)
    ids[keep] = np.arange(first_id, first_id + int(keep.sum()))
    labels = np.zeros(shape, np.int32)
    labels.reshape(-1)[painted.pixels] = ids[painted.owner]
    table = table[keep].reset_index(drop=True)
    table["id"] = ids[keep].astype(np.int64)
    return labels, table
