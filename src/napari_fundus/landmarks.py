"""Where the optic disc and the fovea are, how that is known, and the disc read from a map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

LandmarkSource = Literal["annotated", "detected", "estimated"]
"""A person or a data set gave it; a detector's map shows it; it was inferred from other things."""

_LEAST_DIAMETER, _LARGEST_DIAMETER = 0.06, 0.4
"""Diameter of the disc in diameters of the field of view; IDRiD has 0.13 to 0.18 (at 50°), and
cameras of 20° to 100° lie within these bounds."""

_LEAST_SOLIDITY = 0.75
"""Least share of its own convex hull that a disc fills; clusters of exudates fill less."""

_LEAST_ASPECT = 0.5
"""Least ratio of the axes; discs of IDRiD have 0.7 and more."""

_GAP = 0.02
"""Width, in diameters of the field of view, of gaps that are closed; the widest vessels' width."""

_WORKING_SIDE = 800
"""Longer side, in pixels, at which the disc is sought: it is then more than 100 wide."""

_MUCH_CUT = 0.05
"""Share of the outline at the border from which on a disc counts as cut."""

Mask = npt.NDArray[np.bool_]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OpticDisc(_Value):
    """The optic disc: its centre and, where known, its diameter, in pixels of the image.

    The diameter is that of the circle of equal area. The centre may lie outside the image where
    the border cuts the disc.
    """

    row: Coordinate
    col: Coordinate
    diameter: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    source: LandmarkSource = "annotated"


class Fovea(_Value):
    """The centre of the fovea, in pixels of the image."""

    row: Coordinate
    col: Coordinate
    source: LandmarkSource = "annotated"


class Landmarks(_Value):
    """What is known of the disc and the fovea of one image; each may be unknown.

    Examples
    --------
    >>> known = Landmarks(fovea=Fovea(row=1400, col=2100))
    >>> found = Landmarks(disc=OpticDisc(row=1380, col=3300, diameter=520, source="detected"))
    >>> known.combine_first(found).disc.source
    'detected'
    """

    disc: OpticDisc | None = None
    fovea: Fovea | None = None

    def __bool__(self) -> bool:
        return self.disc is not None or self.fovea is not None

    def combine_first(self, other: Landmarks) -> Landmarks:
        """Return these, with what is unknown taken from `other`.

        A disc of which only the centre is known takes the diameter of the other one too.
        """
        disc = self.disc or other.disc
        if disc is not None and disc.diameter is None and other.disc is not None:
            disc = disc.model_copy(update={"diameter": other.disc.diameter})
        return Landmarks(disc=disc, fovea=self.fovea or other.fovea)


def disc_of_mask(mask: Mask, *, source: LandmarkSource = "annotated") -> OpticDisc | None:
    """Return the disc that a mask shows, as it is drawn; None for an empty mask.

    Parameters
    ----------
    mask
        bool, shape (H, W).
    source
        How it is known.
    """
    moments = cv2.moments(np.ascontiguousarray(mask).view(np.uint8), binaryImage=True)
    area = moments["m00"]
    if not area:
        return None
    return OpticDisc(
        row=moments["m01"] / area,
        col=moments["m10"] / area,
        diameter=float(np.sqrt(4 * area / np.pi)),
        source=source,
    )


def disc_of_map(
    probability: npt.NDArray[np.float32],
    *,
    threshold: float = 0.5,
    field_of_view: Mask | None = None,
) -> OpticDisc | None:
    """Return the optic disc that a detector's map shows, or None where it shows none.

    Components above the threshold are tried in the order of their summed probability; the first
    one of a disc's size and shape is it, so that islands of false alarm do not matter. Gaps that
    vessels leave are closed, and thin bridges to islands cut. A disc cut by the border of the
    field of view or of the frame is completed by the circle through the rest of its outline.

    Parameters
    ----------
    probability
        float32, shape (H, W), values in [0, 1].
    threshold
        Pixels at or above it may belong to the disc.
    field_of_view
        bool, shape (H, W); None where it is not known, and then the frame counts as such.
    """
    height, width = probability.shape
    factor = max(1.0, max(height, width) / _WORKING_SIDE)
    size = round(width / factor), round(height / factor)
    small = np.asarray(cv2.resize(probability, size, interpolation=cv2.INTER_AREA), np.float32)
    field = np.ones(small.shape, np.bool_)
    if field_of_view is not None:
        seen = np.ascontiguousarray(field_of_view).view(np.uint8)
        field = np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST) > 0)
    span = _span(field) if field_of_view is not None else float(min(small.shape))
    mask = small >= np.float32(max(threshold, float(np.finfo(np.float32).tiny)))
    closed = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, _ellipse(_GAP * span))
    least_area = np.pi / 4 * (_LEAST_DIAMETER * span) ** 2 / 2  # of a disc cut in half
    for corner, part in _components(np.asarray(closed, np.uint8), small, least_area):
        found = _fit(part, corner, field)
        if found and _LEAST_DIAMETER <= (found.diameter or 0) / span <= _LARGEST_DIAMETER:
            return _enlarged(found, height / size[1], width / size[0])
    return None


def _enlarged(disc: OpticDisc, down: float, across: float) -> OpticDisc:
    return OpticDisc(
        row=(disc.row + 0.5) * down - 0.5,
        col=(disc.col + 0.5) * across - 0.5,
        diameter=(disc.diameter or 0) * float(np.sqrt(down * across)),
        source=disc.source,
    )


def _span(field: Mask) -> float:
    """Return the longer side of the box around the field of view; 1 where it is empty."""
    rows, cols = (np.flatnonzero(field.any(axis=axis)) for axis in (1, 0))
    return float(max(np.ptp(rows), np.ptp(cols)) + 1) if rows.size else 1.0


def _components(
    mask: npt.NDArray[np.uint8], probability: npt.NDArray[np.float32], least_area: float
) -> Iterator[tuple[tuple[int, int], Mask]]:
    """Yield the corner and the mask of each large component, that of most probability first."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    parts = []
    for label in np.flatnonzero(np.asarray(stats)[:, cv2.CC_STAT_AREA] >= least_area):
        if label == 0:
            continue
        left, top, width, height, _ = stats[label].tolist()
        window = np.s_[top : top + height, left : left + width]
        part = np.asarray(labels[window] == label)
        parts.append((float(probability[window][part].sum()), (top, left), part))
    for _, corner, part in sorted(parts, key=lambda item: -item[0]):
        yield corner, part


def _fit(part: Mask, corner: tuple[int, int], field: Mask) -> OpticDisc | None:
    """Return the disc that a component is, or None if it is not shaped like one."""
    size = float(np.sqrt(4 * part.sum() / np.pi))
    margin = round(0.2 * size) + 1
    image = np.pad(part.view(np.uint8), margin)
    image = cv2.morphologyEx(image, cv2.MORPH_OPEN, _ellipse(0.3 * size)).astype(np.uint8)
    contours, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    hull = np.zeros_like(image)
    cv2.fillConvexPoly(hull, cv2.convexHull(largest), 1)
    filled = cv2.drawContours(np.zeros_like(image), [largest], -1, 1, cv2.FILLED)
    if filled.sum() < _LEAST_SOLIDITY * hull.sum():
        return None
    origin = np.array(corner, np.float64) - margin
    outline = _outline(hull) + origin
    if _at_border(outline, field, reach=2).mean() > _MUCH_CUT:
        # Opening has rounded the corners where the border cuts: they are not part of the circle.
        return _circle(outline[~_at_border(outline, field, reach=2 + round(0.1 * size))])
    if _aspect(hull) < _LEAST_ASPECT:
        return None
    drawn = disc_of_mask(hull.view(np.bool_), source="detected")
    if drawn is None:
        return None
    return drawn.model_copy(update={"row": drawn.row + origin[0], "col": drawn.col + origin[1]})


def _ellipse(size: float) -> npt.NDArray[np.uint8]:
    side = 2 * int(size / 2) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _outline(filled: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the outermost pixels: float64, shape (N, 2), row and column."""
    contours, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(contours, key=len)[:, 0, ::-1], np.float64)


def _at_border(outline: npt.NDArray[np.float64], field: Mask, *, reach: int) -> Mask:
    """Say which points lie within `reach` pixels of where the field of view or the frame ends."""
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    safe = cv2.erode(field.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, cols = outline.astype(int).T
    inside = (rows >= 0) & (cols >= 0) & (rows < field.shape[0]) & (cols < field.shape[1])
    cut = np.ones(len(outline), np.bool_)
    cut[inside] = safe[rows[inside], cols[inside]] == 0
    return cut


def _circle(points: npt.NDArray[np.float64]) -> OpticDisc | None:
    """Return the circle of least squares through the part of an outline that is not cut."""
    if len(points) < 12:
        return None
    middle = points.mean(axis=0)
    rows, cols = (points - middle).T
    terms = np.column_stack([rows, cols, np.ones(len(points))])
    (a, b, c), *_ = np.linalg.lstsq(terms, rows**2 + cols**2, rcond=None)
    radius = float(np.sqrt(max(c + (a**2 + b**2) / 4, 0.0)))
    # Outlines run through the centres of the outermost pixels; the rim is half a pixel further out.
    return OpticDisc(
        row=float(middle[0] + a / 2),
        col=float(middle[1] + b / 2),
        diameter=2 * radius + 1,
        source="detected",
    )


def _aspect(filled: npt.NDArray[np.uint8]) -> float:
    """Return the smaller axis over the larger one, of the ellipse with the same moments."""
    m = cv2.moments(filled, binaryImage=True)
    covariance = np.array([[m["mu20"], m["mu11"]], [m["mu11"], m["mu02"]]])
    small, large = np.linalg.eigvalsh(covariance)
    return float(np.sqrt(max(small, 0.0) / large)) if large > 0 else 0.0
