"""Outlines of lesions drawn on a reduced photograph: smooth, haloed, and never over the lesion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageColor

Points = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

_OVERSAMPLING = 2
_WIDTH, _HALO = 1.5, 3.0
_MARGIN = 1.5
_LEAST_RADIUS, _RING_BELOW = 5.0, 7.0
_DASH, _DASH_GAP = 5.0, 3.5
_SHIFT = 4


@dataclass(frozen=True)
class OutlineStyle:
    """How a group of lesions is outlined: hex colour, and whether the line is dashed."""

    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Viewport:
    """A window of the image, and how far it is reduced.

    Attributes
    ----------
    rows, cols
        First and one past the last row and column, in pixels of the image.
    scale
        Pixels of the picture in one pixel of the image, at most 1.
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in the picture, in pixels."""
        return (
            max(round((self.cols[1] - self.cols[0]) * self.scale), 1),
            max(round((self.rows[1] - self.rows[0]) * self.scale), 1),
        )

    def resample(self, image: Picture) -> Picture:
        """Return the window, oversampled for drawing upon."""
        window = image[slice(*self.rows), slice(*self.cols)]
        width, height = self.size
        size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
        smaller = size[0] < window.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(window, size, interpolation=how), np.uint8)

    def downsample(self, canvas: Picture) -> Picture:
        """Return the oversampled picture at its final size."""
        return np.asarray(cv2.resize(canvas, self.size, interpolation=cv2.INTER_AREA), np.uint8)


def fit_viewport(
    shape: tuple[int, int], field_of_view: npt.NDArray[np.bool_] | None, width: int
) -> Viewport:
    """Return the view of the illuminated disc, or of the whole image, at most `width` px wide."""
    rows, cols = (0, shape[0]), (0, shape[1])
    if field_of_view is not None and field_of_view.any():
        margin = round(0.01 * shape[1])
        left, top, across, down = cv2.boundingRect(field_of_view.astype(np.uint8))
        rows = max(top - margin, 0), min(top + down + margin, shape[0])
        cols = max(left - margin, 0), min(left + across + margin, shape[1])
    return Viewport(rows, cols, min(1.0, width / (cols[1] - cols[0])))


def text_colour(ground: str) -> Literal["black", "white"]:
    """Return the one of black and white that stands out better from a hex colour."""
    red, green, blue = ImageColor.getrgb(ground)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def draw_outlines(
    canvas: Picture, mask: npt.NDArray[np.bool_], line: OutlineStyle, view: Viewport
) -> None:
    """Draw a line around each lesion of `mask`, a little outside of it, on `canvas`.

    Lesions that would be too small to be seen get a ring around them.

    Parameters
    ----------
    canvas
        What ``view.resample`` returned.
    mask
        bool, shape (H, W) of the image.
    line
        Colour and kind.
    view
        The window shown.
    """
    colour = ImageColor.getrgb(line.colour)
    halo = (0, 0, 0) if text_colour(line.colour) == "black" else (255, 255, 255)
    rings = list(_rings(mask, view))
    dashes = [dash for ring in rings for dash in _dashes(ring)] if line.dashed else []
    # The halo runs on beneath the gaps, so that a dashed ring is seen as one.
    _draw(canvas, rings, halo, _HALO, closed=True)
    _draw(canvas, dashes or rings, colour, _WIDTH, closed=not line.dashed)


def _draw(
    canvas: Picture, lines: list[Points], ink: tuple[int, ...], width: float, *, closed: bool
) -> None:
    fixed = [np.rint(line * _OVERSAMPLING * (1 << _SHIFT)).astype(np.int32) for line in lines]
    thickness = round(width * _OVERSAMPLING)
    cv2.polylines(canvas, fixed, closed, ink, thickness, cv2.LINE_AA, _SHIFT)


def _rings(mask: npt.NDArray[np.bool_], view: Viewport) -> Iterator[Points]:
    """Yield the closed outlines in pixels of the picture, with (0, 0) in its first corner."""
    window = np.ascontiguousarray(mask[slice(*view.rows), slice(*view.cols)]).view(np.uint8)
    reach = max(round(_MARGIN / view.scale), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    # A frame keeps the lines of lesions at the window's edge from running along it.
    grown = cv2.dilate(np.pad(window, reach), kernel)
    contours, _ = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = (contour[:, 0, :].astype(np.float64) + 0.5 - reach) * view.scale
        (x, y), radius = cv2.minEnclosingCircle(points.astype(np.float32))
        if radius < _RING_BELOW:
            yield _circle(x, y, max(radius, _LEAST_RADIUS))
        else:
            yield _smoothed(points)


def _circle(x: float, y: float, radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _smoothed(ring: Points) -> Points:
    """Take the steps of single pixels out of a closed line."""
    reach = min(3, (len(ring) - 1) // 2)
    shifted = [np.roll(ring, step, axis=0) for step in range(-reach, reach + 1)]
    mean: Points = np.mean(shifted, axis=0)
    return mean


def _dashes(ring: Points) -> Iterator[Points]:
    """Cut a closed line into dashes, a whole number of them."""
    closed = np.vstack([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = max(round(along[-1] / (_DASH + _DASH_GAP)), 2)
    period = along[-1] / count
    share = _DASH / (_DASH + _DASH_GAP)
    for number in range(count):
        at = np.linspace(number, number + share, 8) * period
        yield np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=1)
