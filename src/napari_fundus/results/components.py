"""The 8-connected parts of a mask, by its runs where it is sparse and by OpenCV where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

_MANY_RUNS = 60_000
"""Runs of pixels beyond which OpenCV's scan of the whole image is the faster way."""


@dataclass(frozen=True, eq=False)
class ConnectedComponents:
    """The parts of a mask, numbered in the order in which OpenCV numbers them.

    Attributes
    ----------
    pixels
        int64: flat indices of all pixels of the mask, ascending.
    part
        int64, as long as `pixels`: the number, from 0, of the part that each belongs to.
    area
        int64, one value a part: its pixels.
    row, col
        float64, one value a part: its centroid.
    box
        int64, shape (parts, 4): first row and column, and those after the last.
    """

    pixels: Int
    part: Int
    area: Int
    row: Float
    col: Float
    box: Int


@dataclass(frozen=True, eq=False)
class _Runs:
    """Horizontal runs of pixels: row, first column, length, and where each starts in `pixels`."""

    row: Int
    col: Int
    length: Int
    start: Int


def find_components(mask: npt.NDArray[np.bool_]) -> ConnectedComponents:
    """Find the 8-connected parts of `mask`.

    A mask is read once; after that the time goes with the number of its horizontal runs, not with
    the size of the image. With many runs OpenCV scans the image instead. The result is the same to
    the bit.

    Parameters
    ----------
    mask
        bool, shape (H, W), contiguous.
    """
    pixels = np.flatnonzero(mask)
    runs = _runs(pixels, *mask.shape)
    if len(runs.start) > _MANY_RUNS:
        return _components_by_scan(mask, pixels)
    return _components_by_runs(runs, pixels, mask.shape[1])


def _components_by_scan(mask: npt.NDArray[np.bool_], pixels: Int) -> ConnectedComponents:
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    left, top, width, height, area = np.asarray(stats[1:], np.int64).T
    box = np.stack([top, left, top + height, left + width], axis=1)
    part = np.asarray(labels).ravel()[pixels].astype(np.int64) - 1
    col, row = np.asarray(centroids[1:], np.float64).T
    return ConnectedComponents(pixels, part, area, row, col, box)


def _components_by_runs(runs: _Runs, pixels: Int, width: int) -> ConnectedComponents:
    part = _connect(runs, width)
    count = int(part.max(initial=-1)) + 1
    area = np.bincount(part, runs.length, count)
    box = np.empty((count, 4), np.int64)
    for place, ufunc, start, of_run in (
        (0, np.minimum, np.iinfo(np.int64).max, runs.row),
        (1, np.minimum, np.iinfo(np.int64).max, runs.col),
        (2, np.maximum, 0, runs.row + 1),
        (3, np.maximum, 0, runs.col + runs.length),
    ):
        box[:, place] = start
        ufunc.at(box[:, place], part, of_run)
    middle = runs.col + (runs.length - 1) / 2
    return ConnectedComponents(
        pixels,
        np.repeat(part, runs.length),
        area.astype(np.int64),
        np.bincount(part, runs.row * runs.length, count) / area,
        np.bincount(part, middle * runs.length, count) / area,
        box,
    )


def _runs(pixels: Int, height: int, width: int) -> _Runs:
    opens = np.ones(len(pixels), np.bool_)
    np.not_equal(np.diff(pixels), 1, out=opens[1:])
    row_starts = np.searchsorted(pixels, np.arange(height) * width)
    opens[row_starts[row_starts < len(pixels)]] = True
    start = np.flatnonzero(opens)
    row, col = np.divmod(pixels[start], width)
    return _Runs(row, col, np.diff(start, append=len(pixels)), start)


def _connect(runs: _Runs, width: int) -> Int:
    """Return the part of each run, numbered from 0 in the order in which OpenCV does."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(runs.start)
    if not count:
        return np.zeros(0, np.int64)
    # One number line for all rows; the gap of two keeps neighbours in a row from meeting others'.
    pitch = width + 2
    starts = runs.row * pitch + runs.col
    ends = starts + runs.length - 1
    low = np.searchsorted(ends, starts - pitch - 1, side="left")
    high = np.searchsorted(starts, ends - pitch + 1, side="right")
    touching = np.maximum(high - low, 0)
    below = np.repeat(np.arange(count), touching)
    offset = np.arange(len(below)) - np.repeat(np.cumsum(touching) - touching, touching)
    graph = coo_array(
        (np.ones(len(below), np.int8), (low[below] + offset, below)), shape=(count, count)
    )
    found, of_run = connected_components(graph, directed=False)
    # OpenCV scans blocks of 2x2 pixels row by row; a part counts from its first block.
    block = (runs.row // 2) * ((width + 1) // 2) + runs.col // 2
    earliest = np.full(found, np.iinfo(np.int64).max)
    np.minimum.at(earliest, of_run, block)
    rank = np.empty(found, np.int64)
    rank[np.argsort(earliest)] = np.arange(found)
    return np.asarray(rank[of_run])
