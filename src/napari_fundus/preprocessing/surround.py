"""What lies around a retina that is not on black: paper, a page's white, any even colour."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_DARK = 40
"""Brightest channel up to which a surround is the camera's own black."""

_PIECES = 32
"""Pieces by side in which the frame's border is looked at, so that text in a corner is outvoted."""

_WIDTH = 0.025
"""Width of that border, as a share of the frame's side."""

_ALIKE = 12.0
"""Grey levels that a piece, or a pixel of the reduced picture, may differ from the surround."""

_LEAST_BORDER = 0.2
"""Least share of the border that is surround."""

_TRIALS = 200
_BAND = 64


@dataclass(frozen=True)
class Surround:
    """An even colour around the retina, or one that changes smoothly over the frame.

    Attributes
    ----------
    coefficients
        float64, shape (6, 3): of 1, y, x, y², xy and x² for each channel, where y and x run from -1
        to 1 over the frame.
    """

    coefficients: npt.NDArray[np.float64]

    def distance(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return how far each pixel of a picture, of any size, is from the surround: uint8 (H, W).

        It is the largest difference of the three channels.
        """
        height, width = pixels.shape[:2]
        rows, cols = _axis(height), _axis(width)
        result = np.empty((height, width), np.uint8)
        for start in range(0, height, _BAND):
            band = slice(start, start + _BAND)
            y, x = np.broadcast_arrays(rows[band, np.newaxis], cols)
            level = _terms(y.ravel(), x.ravel()) @ self.coefficients
            away = np.abs(pixels[band].astype(np.float64) - level.reshape(*y.shape, 3))
            result[band] = np.minimum(away.max(axis=2) + 0.5, 255)
        return result


class _Plane:
    """Colours that change evenly over the frame, in the form of `skimage.measure.ransac`.

    Each row of the data is y, x and the three channels.
    """

    @classmethod
    def from_estimate(cls, data: npt.NDArray[np.float64]) -> _Plane | None:
        """Return the plane through `data`, as scikit-image asks for it from 0.26 on."""
        plane = cls()
        return plane if plane.estimate(data) else None

    def estimate(self, data: npt.NDArray[np.float64]) -> bool:
        terms = _terms(data[:, 0], data[:, 1])[:, :3]
        self.params, _, rank, _ = np.linalg.lstsq(terms, data[:, 2:], rcond=None)
        return bool(rank == terms.shape[1])

    def residuals(self, data: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        level = _terms(data[:, 0], data[:, 1])[:, :3] @ self.params
        away: npt.NDArray[np.float64] = np.abs(data[:, 2:] - level).max(axis=1)
        return away


def fit_surround(small: npt.NDArray[np.uint8]) -> Surround | None:
    """Return the surround of a reduced picture; None where it is black, or nothing even.

    A plane is fitted by RANSAC to the median colours of pieces of the frame's border, since a disc
    that the frame cuts takes part of it; then a square function to all pixels like it.

    Parameters
    ----------
    small
        uint8, shape (h, w, 3).
    """
    from skimage.measure import ransac

    pieces = _border_pieces(small)
    if (pieces[:, 2:].max(axis=1) > _DARK).mean() < _LEAST_BORDER:
        return None
    plane, inliers = ransac(
        pieces, _Plane, min_samples=3, residual_threshold=_ALIKE, max_trials=_TRIALS, rng=0
    )
    if plane is None or inliers.mean() < _LEAST_BORDER:
        return None
    if np.median(pieces[inliers, 2:].max(axis=1)) <= _DARK:
        return None
    coefficients = np.zeros((6, 3))
    coefficients[:3] = plane.params
    return _refined(small, Surround(coefficients))


def _refined(small: npt.NDArray[np.uint8], surround: Surround) -> Surround:
    """Fit the square function to the pixels near `surround`, again with those near the result."""
    height, width = small.shape[:2]
    for alike in (2 * _ALIKE, _ALIKE, _ALIKE):
        rows, cols = np.nonzero(_touching_border(surround.distance(small) <= alike))
        if len(rows) < 100:
            return surround
        every = slice(None, None, max(len(rows) // 5000, 1))
        rows, cols = rows[every], cols[every]
        terms = _terms(_axis(height)[rows], _axis(width)[cols])
        found, *_ = np.linalg.lstsq(terms, small[rows, cols].astype(np.float64), rcond=None)
        surround = Surround(np.asarray(found, np.float64))
    return surround


def _touching_border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the parts of `mask` that touch the frame."""
    from skimage.segmentation import clear_border

    return np.asarray(mask & ~clear_border(mask))


def _border_pieces(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return place and median colour of pieces of the border: (N, 5), y, x, red, green, blue."""
    height, width = small.shape[:2]
    deep = max(round(_WIDTH * min(height, width)), 2)
    rows, cols = _axis(height), _axis(width)
    found: list[tuple[float, ...]] = []

    def add(row: slice, col: slice) -> None:
        colour = np.median(small[row, col].reshape(-1, 3), axis=0)
        found.append((float(rows[row].mean()), float(cols[col].mean()), *map(float, colour)))

    for part in _parts(width):
        add(slice(0, deep), part)
        add(slice(height - deep, height), part)
    for part in _parts(height):
        add(part, slice(0, deep))
        add(part, slice(width - deep, width))
    return np.array(found)


def _parts(length: int) -> list[slice]:
    edges = np.linspace(0, length, min(_PIECES, length // 2) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _axis(length: int) -> npt.NDArray[np.float64]:
    """Return the pixels' places along a side, from -1 to 1."""
    return (2 * np.arange(length) + 1) / length - 1


def _terms(y: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.column_stack([np.ones(len(y)), y, x, y * y, x * y, x * x])
