"""Labels at a new threshold, fast enough to follow a slider: the same as `label_map` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.instances import INSTANCE_COLUMNS, empty_instances, label_map

__all__ = ["Components", "components", "label_image"]

_DENSE = 4_000_000
"""Foreground pixels beyond which OpenCV's scan of the whole image is the faster way."""


@dataclass(frozen=True, eq=False)
class Components:
    """The connected components of one class at one threshold, without a limit on their area.

    Attributes
    ----------
    lesion
        Code of the class.
    shape
        Height and width of the image.
    pixels
        int64, the flat indices of all foreground pixels, ascending.
    label
        int64, as long as `pixels`: which row of `table` (from 0) each belongs to.
    table
        One row a component with the columns `INSTANCE_COLUMNS`; ids count from 1.
    """

    lesion: str
    shape: tuple[int, int]
    pixels: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    table: pd.DataFrame

    def at_least(self, min_area: int, *, first_id: int = 1) -> tuple[Any, pd.DataFrame]:
        """Return the id of each pixel (0 where its lesion is too small), and the table.

        Takes a few milliseconds: nothing of the size of the image is touched.
        """
        keep = self.table["area_px"].to_numpy() >= min_area
        ids = np.zeros(len(keep), np.int64)
        ids[keep] = np.arange(first_id, first_id + int(keep.sum()))
        table = self.table[keep].reset_index(drop=True)
        table["id"] = ids[keep]
        return ids[self.label], table


def label_image(
    shape: tuple[int, int], pixels: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return the labels as an image: uint16 while the ids fit, else int32.

    napari draws 8 and 16 bits as they are, but converts wider types pixel by pixel, which takes
    most of the time that a slider has.
    """
    small = not len(ids) or int(ids.max()) <= np.iinfo(np.uint16).max
    labels: npt.NDArray[Any] = np.zeros(shape, np.uint16 if small else np.int32)
    labels.ravel()[pixels] = ids
    return labels


def components(
    probability: npt.NDArray[np.float32], *, lesion: str, threshold: float
) -> Components:
    """Find the 8-connected components of `probability` at or above `threshold`.

    Works on horizontal runs of foreground pixels, so the time goes with their number and not with
    the size of the image. Order and numbers are those of
    :func:`napari_fundus.instances.label_map`, so that ids on the screen are ids in the file.

    Parameters
    ----------
    probability
        float32, shape (H, W), values in [0, 1].
    lesion
        Code of the class, for the table.
    threshold
        In [0, 1]; pixels of probability 0 never belong to a lesion.
    """
    height, width = probability.shape
    flat = probability.reshape(-1)
    smallest = float(np.finfo(np.float32).tiny)
    pixels = np.flatnonzero(flat >= np.float32(max(threshold, smallest)))
    if not len(pixels):
        none = np.zeros(0, np.int64)
        return Components(lesion, (height, width), none, none, empty_instances())
    if len(pixels) > _DENSE:
        labels, table = label_map(probability, lesion=lesion, threshold=threshold)
        label = labels.reshape(-1)[pixels].astype(np.int64) - 1
        return Components(lesion, (height, width), pixels, label, table)
    runs = _runs(pixels, height, width)
    component = _connect(runs, width)
    label = np.repeat(component, runs.length)
    table = _table(runs, component, flat[pixels], lesion)
    return Components(lesion, (height, width), pixels, label, table)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Horizontal runs of foreground pixels: row, first column, length, and where each starts."""

    row: npt.NDArray[np.int64]
    col: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]


def _runs(pixels: npt.NDArray[np.int64], height: int, width: int) -> _Runs:
    opens = np.ones(len(pixels), np.bool_)
    np.not_equal(np.diff(pixels), 1, out=opens[1:])
    row_starts = np.searchsorted(pixels, np.arange(height) * width)
    opens[row_starts[row_starts < len(pixels)]] = True
    start = np.flatnonzero(opens)
    row, col = np.divmod(pixels[start], width)
    return _Runs(row, col, np.diff(start, append=len(pixels)), start)


def _connect(runs: _Runs, width: int) -> npt.NDArray[np.int64]:
    """Return the component of each run, numbered from 0 in the order in which OpenCV does."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # One number line for all rows; the gap of two keeps neighbours in a row from meeting others'.
    pitch = width + 2
    starts = runs.row * pitch + runs.col
    ends = starts + runs.length - 1
    low = np.searchsorted(ends, starts - pitch - 1, side="left")
    high = np.searchsorted(starts, ends - pitch + 1, side="right")
    touching = np.maximum(high - low, 0)
    count = len(starts)
    below = np.repeat(np.arange(count), touching)
    offset = np.arange(len(below)) - np.repeat(np.cumsum(touching) - touching, touching)
    graph = coo_array(
        (np.ones(len(below), np.int8), (low[below] + offset, below)), shape=(count, count)
    )
    found, of_run = connected_components(graph, directed=False)
    # OpenCV scans blocks of 2x2 pixels row by row; a component counts from its first block.
    block = (runs.row // 2) * ((width + 1) // 2) + runs.col // 2
    earliest = np.full(found, np.iinfo(np.int64).max)
    np.minimum.at(earliest, of_run, block)
    rank = np.empty(found, np.int64)
    rank[np.argsort(earliest)] = np.arange(found)
    return np.asarray(rank[of_run])


def _table(
    runs: _Runs,
    component: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    lesion: str,
) -> pd.DataFrame:
    count = int(component.max()) + 1
    far = np.iinfo(np.int64).max

    def total(of_run: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(component, of_run, count).astype(np.float64)

    def extreme(ufunc: np.ufunc, of_run: npt.NDArray[Any], start: float) -> npt.NDArray[Any]:
        result = np.full(count, start, of_run.dtype)
        ufunc.at(result, component, of_run)
        return result

    area = total(runs.length).astype(np.int64)
    middle = runs.col + (runs.length - 1) / 2
    table = pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "lesion": np.full(count, str(lesion), dtype=object),
            "score": extreme(np.maximum, np.maximum.reduceat(values, runs.start), 0),
            "mean_probability": total(np.add.reduceat(values, runs.start, dtype=np.float64)) / area,
            "area_px": area,
            "equivalent_diameter_px": np.sqrt(4 * area / np.pi),
            "centroid_row": total(runs.row * runs.length) / area,
            "centroid_col": total(middle * runs.length) / area,
            "bbox_row_start": extreme(np.minimum, runs.row, far),
            "bbox_col_start": extreme(np.minimum, runs.col, far),
            "bbox_row_stop": extreme(np.maximum, runs.row, 0) + 1,
            "bbox_col_stop": extreme(np.maximum, runs.col + runs.length, 0),
        }
    )
    return table.astype(INSTANCE_COLUMNS)
