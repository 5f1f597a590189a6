"""Cropping and resizing that can be undone, for pictures, masks, points and boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from napari_fundus.errors import GeometryError
from napari_fundus.preprocessing.fov_circle import FovCircle

Floats = npt.NDArray[np.float64]


def bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns from the first to the last that hold a pixel; None for none."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


class Geometry(BaseModel):
    """A box of the source picture, brought to another size.

    The box may reach beyond the frame: what lies outside is filled. All that a recipe does to the
    geometry (crop to the disc, complete its circle, pad to a square, resize) is such a box and such
    a size, so that one formula maps there and back.

    Points are (row, column) of pixel centres: the first pixel's centre is (0, 0). Boxes are
    half-open edges (row start, column start, row stop, column stop): the first pixel is
    (0, 0, 1, 1).

    Attributes
    ----------
    source_shape
        Height and width of the source in pixels.
    box
        Row start, column start, row stop, column stop in the source's pixels.
    target_shape
        Height and width of the result in pixels.

    Examples
    --------
    >>> geometry = Geometry.identity((100, 200)).crop((10, 20, 90, 180)).resize((40, 80))
    >>> geometry.forward_points([[10.0, 20.0]])
    array([[-0.25, -0.25]])
    >>> geometry.inverse_points(geometry.forward_points([[10.0, 20.0]]))
    array([[10., 20.]])
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_shape: tuple[int, int]
    box: tuple[int, int, int, int]
    target_shape: tuple[int, int]

    @model_validator(mode="after")
    def _check(self) -> Geometry:
        top, left, bottom, right = self.box
        if top >= bottom or left >= right or min(self.target_shape) < 1:
            raise GeometryError(
                f"The box {self.box} or the size {self.target_shape} has no pixel in it."
            )
        return self

    @classmethod
    def identity(cls, shape: tuple[int, int]) -> Geometry:
        """Return the geometry that leaves a picture of `shape` as it is."""
        return cls(source_shape=shape, box=(0, 0, *shape), target_shape=shape)

    @property
    def scale(self) -> tuple[float, float]:
        """Target pixels by source pixel, along rows and columns."""
        height, width = self._box_shape
        return self.target_shape[0] / height, self.target_shape[1] / width

    def crop(self, box: tuple[int, int, int, int]) -> Geometry:
        """Return this geometry with another box of the source, not resized yet.

        Raises
        ------
        GeometryError
            The box is empty.
        """
        top, left, bottom, right = box
        return Geometry(
            source_shape=self.source_shape,
            box=box,
            target_shape=(max(bottom - top, 0), max(right - left, 0)),
        )

    def crop_to_mask(self, field_of_view: npt.NDArray[np.bool_]) -> Geometry:
        """Return this geometry cropped to the bounding box of a field of view."""
        box = bounding_box(field_of_view)
        if box is None:
            raise GeometryError("The field of view is empty; there is nothing to crop to.")
        rows, cols = box
        return self.crop((rows.start, cols.start, rows.stop, cols.stop))

    def complete(self, disc: FovCircle, *, aspect: float = 1.0) -> Geometry:
        """Return this geometry with the square around the disc's whole circle.

        Where the frame cuts the disc, the square reaches beyond it: the disc becomes a full circle.
        A stretched disc, `aspect` times as high as wide, becomes one too: the shorter axis is
        enlarged. `disc` is then the circle that bounds the ellipse.
        """
        height, width = (min(aspect, 1.0) * disc.radius, min(1 / aspect, 1.0) * disc.radius)
        top = int(np.floor(disc.centre_row - height + 0.5))
        left = int(np.floor(disc.centre_col - width + 0.5))
        rows, cols = int(np.ceil(2 * height)) + 1, int(np.ceil(2 * width)) + 1
        side = max(rows, cols)
        return self.crop((top, left, top + rows, left + cols)).resize((side, side))

    def square(self) -> Geometry:
        """Return this geometry with its box padded evenly to a square, if it is not one yet."""
        if self.target_shape[0] == self.target_shape[1]:
            return self
        top, left, bottom, right = self.box
        height, width = bottom - top, right - left
        side = max(height, width)
        top, left = top - (side - height) // 2, left - (side - width) // 2
        return self.crop((top, left, top + side, left + side))

    def resize(self, shape: tuple[int, int]) -> Geometry:
        """Return this geometry with its box brought to `shape`."""
        return Geometry(source_shape=self.source_shape, box=self.box, target_shape=shape)

    def rescale(self, factor: float) -> Geometry:
        """Return this geometry with its result brought to `factor` times its size."""
        height, width = self.target_shape
        return self.resize((max(round(height * factor), 1), max(round(width * factor), 1)))

    def forward_image(self, pixels: npt.NDArray[Any], *, fill: float = 0) -> npt.NDArray[Any]:
        """Map a picture of the source: averaged where it shrinks, cubic where it grows.

        Parameters
        ----------
        pixels
            Shape (H, W) or (H, W, C); uint8, uint16 or float32.
        fill
            Value of what lies beyond the frame.
        """
        import cv2

        return _resample(self._cut(pixels, fill), self.target_shape, growing=cv2.INTER_CUBIC)

    def forward_mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Map a mask of the source, by nearest neighbours: bool."""
        cut = self._cut(np.ascontiguousarray(mask).view(np.uint8), 0)
        return _nearest(cut, self.target_shape).view(np.bool_)

    def forward_labels(self, labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """Map ids of the source, 0 where there is none, by nearest neighbours as masks: uint16."""
        return _nearest(self._cut(labels, 0), self.target_shape)

    def inverse_image(self, pixels: npt.NDArray[Any], *, fill: float = 0) -> npt.NDArray[Any]:
        """Map a picture or a map back to the source's shape, by linear interpolation."""
        import cv2

        self._check_target(pixels)
        grown = _resample(pixels, self._box_shape, growing=cv2.INTER_LINEAR)
        return self._put_back(grown, fill)

    def inverse_mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Map a mask back to the source's shape, by nearest neighbours: bool."""
        self._check_target(mask)
        grown = _nearest(np.ascontiguousarray(mask).view(np.uint8), self._box_shape)
        return self._put_back(grown, 0).view(np.bool_)

    def forward_points(self, points: npt.ArrayLike) -> Floats:
        """Map points: shape (N, 2), row and column of pixel centres."""
        start, scale = np.array(self.box[:2]), np.array(self.scale)
        mapped: Floats = (np.asarray(points, np.float64) + 0.5 - start) * scale - 0.5
        return mapped

    def inverse_points(self, points: npt.ArrayLike) -> Floats:
        """Map points back: shape (N, 2), row and column of pixel centres."""
        start, scale = np.array(self.box[:2]), np.array(self.scale)
        mapped: Floats = (np.asarray(points, np.float64) + 0.5) / scale + start - 0.5
        return mapped

    def inverse_boxes(self, boxes: npt.ArrayLike) -> Floats:
        """Map boxes back: shape (N, 4), half-open edges."""
        start, scale = np.array(self.box[:2] * 2), np.array(self.scale * 2)
        mapped: Floats = np.asarray(boxes, np.float64) / scale + start
        return mapped

    def _cut(self, pixels: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Return the box of the source, filled where it leaves the frame."""
        if pixels.shape[:2] != self.source_shape:
            raise GeometryError(
                f"This geometry is for pictures of shape {self.source_shape}, not "
                f"{pixels.shape[:2]}."
            )
        inside, place = self._overlap()
        top, left, bottom, right = self.box
        if place == (slice(0, bottom - top), slice(0, right - left)):
            return pixels[inside]
        cut = np.full((bottom - top, right - left, *pixels.shape[2:]), fill, pixels.dtype)
        cut[place] = pixels[inside]
        return cut

    @property
    def _box_shape(self) -> tuple[int, int]:
        top, left, bottom, right = self.box
        return bottom - top, right - left

    def _check_target(self, pixels: npt.NDArray[Any]) -> None:
        if pixels.shape[:2] != self.target_shape:
            raise GeometryError(
                f"This geometry makes pictures of shape {self.target_shape}, not "
                f"{pixels.shape[:2]}."
            )

    def _put_back(self, grown: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Return a picture of the box at its place in the source's frame."""
        if self.box == (0, 0, *self.source_shape):
            return grown
        inside, place = self._overlap()
        whole = np.full((*self.source_shape, *grown.shape[2:]), fill, grown.dtype)
        whole[inside] = grown[place]
        return whole

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where box and frame overlap: in the source, and within the box."""
        (top, left, bottom, right), (height, width) = self.box, self.source_shape
        rows = slice(min(max(top, 0), height), min(max(bottom, 0), height))
        cols = slice(min(max(left, 0), width), min(max(right, 0), width))
        return (rows, cols), (
            slice(rows.start - top, rows.stop - top),
            slice(cols.start - left, cols.stop - left),
        )


def _resample(
    pixels: npt.NDArray[Any], shape: tuple[int, int], *, growing: int
) -> npt.NDArray[Any]:
    """Resize: average along the axes that shrink, then interpolate along those that grow."""
    import cv2

    # OpenCV averages only where both axes shrink, so each kind of axis has its own pass.
    smaller = min(pixels.shape[0], shape[0]), min(pixels.shape[1], shape[1])
    for size, how in ((smaller, cv2.INTER_AREA), (shape, growing)):
        if pixels.shape[:2] != size:
            pixels = cv2.resize(np.ascontiguousarray(pixels), size[::-1], interpolation=how)
    return np.ascontiguousarray(pixels)


def _nearest(pixels: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    import cv2

    resized: npt.NDArray[Any] = cv2.resize(
        np.ascontiguousarray(pixels), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    return resized
