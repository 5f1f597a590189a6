"""The circle of a field of view, fitted robustly even where the frame cuts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import NoFieldOfViewError

_TRIPLETS = 160
_SAMPLES = 300
_TOLERANCE = 0.008
"""How far from a circle, in radii, a boundary point may lie and still count for it."""


@dataclass(frozen=True)
class FovCircle:
    """A circle in an image; its centre may lie anywhere and its rim may leave the frame.

    Attributes
    ----------
    centre_row, centre_col
        Centre in pixel-centre coordinates (the first pixel's centre is 0, 0).
    radius
        Pixels.
    """

    centre_row: float
    centre_col: float
    radius: float

    @property
    def diameter(self) -> float:
        """Twice the radius, in pixels."""
        return 2 * self.radius

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the pixels of an image of `shape` whose centres lie in the disc: bool (H, W)."""
        rows = np.arange(shape[0], dtype=np.float64)[:, np.newaxis] - self.centre_row
        half = np.sqrt(np.maximum(self.radius**2 - rows**2, 0))
        half[np.abs(rows) > self.radius] = -1
        cols = np.arange(shape[1], dtype=np.float64)[np.newaxis] - self.centre_col
        inside: npt.NDArray[np.bool_] = np.abs(cols) <= half
        return inside


def fit_fov_circle(mask: npt.NDArray[np.bool_]) -> FovCircle:
    """Fit a circle to the field of view, right also where the frame or a black bar cuts the disc.

    Only boundary pixels off the straight sides of the mask's bounding box count, so that a disc
    cut on one to four sides keeps its true circle. Triplets of them vote for circles (a notch or a
    dark bite cannot pull the result), and the winner is refined by least squares on the distances.
    Where no arc is left, as in a picture cropped inside the disc, the result is the circle around
    the bounding box.

    Parameters
    ----------
    mask
        bool, shape (H, W): the field of view.

    Raises
    ------
    NoFieldOfViewError
        The mask is empty.

    Examples
    --------
    >>> disc = fit_fov_circle(FovCircle(10, 60, 50).mask((100, 120)))
    >>> round(disc.centre_row), round(disc.centre_col), round(disc.radius)
    (10, 60, 50)
    """
    points = _outline(mask)
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    around = FovCircle(float(middle[0]), float(middle[1]), float(np.hypot(*(high - low + 1)) / 2))
    arc = _arc(points)
    if len(arc) < max(12, 0.02 * len(points)):
        return around
    sides = high - low + 1
    found = _ransac_circle(arc, least=0.45 * float(sides.min()), most=2.0 * around.radius)
    if found is None:
        return around
    for _ in range(4):
        distance = np.hypot(arc[:, 0] - found.centre_row, arc[:, 1] - found.centre_col)
        close = np.abs(distance - found.radius) <= _TOLERANCE * found.radius + 1
        found = _refine(arc[close], found)
    # Contour points are the centres of the outermost pixels; the rim lies half a pixel beyond.
    return FovCircle(found.centre_row, found.centre_col, found.radius + 0.5)


def fit_aspect(mask: npt.NDArray[np.bool_]) -> float:
    """Return the height of the disc over its width: 1 for a circle, else the picture is stretched.

    An ellipse along the axes is fitted to the same boundary points as in :func:`fit_fov_circle`. It
    is believed only where it differs from a circle by more than 2 %, runs through nearly all
    points, and the points surround it, so that a cut disc is not taken for a stretched one.

    Parameters
    ----------
    mask
        bool, shape (H, W): the field of view.
    """
    points = _outline(mask)
    arc = _arc(points)
    if len(arc) < max(12, 0.2 * len(points)):
        return 1.0
    size = float(np.ptp(points, axis=0).max())
    rows, cols = ((arc - arc.mean(axis=0)) / size).T
    terms = np.column_stack([rows**2, rows, cols, np.ones(len(arc))])
    keep = np.ones(len(arc), np.bool_)
    for _ in range(5):
        (square, row, col, free), *_ = np.linalg.lstsq(terms[keep], -(cols[keep] ** 2), rcond=None)
        if square <= 0:
            return 1.0
        # Semi-axis along the columns, in units of the size; the error is algebraic, halved.
        radius2 = row**2 / (4 * square) + col**2 / 4 - free
        error = np.abs(terms @ (square, row, col, free) + cols**2) / (2 * max(radius2, 1e-9))
        keep = error <= _TOLERANCE
        if keep.sum() < 0.8 * len(arc):
            return 1.0
    centre = -row / (2 * square), -col / 2
    quadrants = np.unique((rows > centre[0]) * 2 + (cols > centre[1]))
    aspect = 1 / float(np.sqrt(square))
    return aspect if len(quadrants) == 4 and abs(aspect - 1) > 0.02 else 1.0


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the boundary pixels of the largest region: (N, 2), row and column."""
    import cv2

    image = np.ascontiguousarray(mask).view(np.uint8)
    contours, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        raise NoFieldOfViewError("The field of view is empty; draw it or choose another image.")
    return np.asarray(max(contours, key=len)[:, 0, ::-1], np.float64)


def _arc(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the points off the sides of their bounding box, where a disc may have been cut."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(1.5, 0.003 * float((high - low).max()))
    inner = ((points > low + margin) & (points < high - margin)).all(axis=1)
    return np.asarray(points[inner])


def _ransac_circle(arc: npt.NDArray[np.float64], *, least: float, most: float) -> FovCircle | None:
    """Return the circle through three points of `arc` on which most of its points lie."""
    rng = np.random.default_rng(0)
    arc = arc[np.linspace(0, len(arc) - 1, min(len(arc), _SAMPLES)).astype(np.intp)]
    a, b, c = (arc[rng.integers(0, len(arc), _TRIPLETS)] for _ in range(3))
    b, c = b - a, c - a
    cross = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    usable = np.abs(cross) > 1e-6
    a, b, c, cross = a[usable], b[usable], c[usable], cross[usable]
    bb, cc = (b**2).sum(axis=1), (c**2).sum(axis=1)
    offset = np.stack(
        [(c[:, 1] * bb - b[:, 1] * cc) / cross, (b[:, 0] * cc - c[:, 0] * bb) / cross], axis=1
    )
    radius = np.hypot(offset[:, 0], offset[:, 1])
    keep = (radius >= least) & (radius <= most)
    if not keep.any():
        return None
    centre, radius = (a + offset)[keep], radius[keep]
    distance = np.hypot(arc[:, 0] - centre[:, :1], arc[:, 1] - centre[:, 1:])
    error = np.abs(distance - radius[:, np.newaxis]) / (_TOLERANCE * radius[:, np.newaxis] + 0.5)
    best = int(np.maximum(1 - error, 0).sum(axis=1).argmax())
    return FovCircle(float(centre[best, 0]), float(centre[best, 1]), float(radius[best]))


def _refine(arc: npt.NDArray[np.float64], disc: FovCircle) -> FovCircle:
    """Take one Gauss-Newton step towards the least sum of squared distances to the circle."""
    if len(arc) < 8:
        return disc
    offset = arc - (disc.centre_row, disc.centre_col)
    distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), 1e-9)
    jacobian: npt.NDArray[Any] = np.column_stack(
        [offset / distance[:, np.newaxis], np.ones(len(arc))]
    )
    step, *_ = np.linalg.lstsq(jacobian, distance - disc.radius, rcond=None)
    return FovCircle(
        disc.centre_row + float(step[0]),
        disc.centre_col + float(step[1]),
        disc.radius + float(step[2]),
    )
