"""Lesions as COCO holds them: polygons, run lengths or boxes, read only when they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.base import Truth
from napari_fundus.datasets.files import parse_number
from napari_fundus.datasets.shapes import Polygon, Rectangle, Shape
from napari_fundus.errors import DatasetError
from napari_fundus.results.objects import LesionObject, trim_box
from napari_fundus.results.rle import decode_rle

_CORNER = 0.5
"""COCO counts from the corner of the first pixel, our shapes from its centre."""


Size = tuple[int, int]
"""Height and width in px."""


@dataclass(frozen=True)
class CocoLesion:
    """One annotation.

    Attributes
    ----------
    size
        Height and width of the image that it was drawn in; None where that is unknown.
    shapes
        Those that together are the lesion.
    runs
        In their place run lengths, compressed or not.
    """

    size: Size | None
    shapes: tuple[Shape, ...] = ()
    runs: str | tuple[int, ...] = ()

    def object(self, lesion: str, shape: Size) -> LesionObject | None:
        """Return the lesion as far as it lies in an image of `shape`, with score 1, or None.

        Raises
        ------
        DatasetError
            It was drawn in an image of another size, or its run lengths are damaged.
        """
        if self.size is not None and self.size != tuple(shape):
            raise DatasetError(
                f"The annotations belong to an image of {self.size[1]}x{self.size[0]} px, and this "
                f"one has {shape[1]}x{shape[0]} px: it was resized or turned. Export the "
                "annotations again for the images as they are."
            )
        if not self.shapes:
            return self._of_runs(lesion, shape)
        stamps = [s for item in self.shapes if (s := item.stamp(shape)) is not None]
        if not stamps:
            return None
        top, left = (min(getattr(s, axis).start for s in stamps) for axis in ("rows", "cols"))
        bottom, right = (max(getattr(s, axis).stop for s in stamps) for axis in ("rows", "cols"))
        mask: npt.NDArray[np.bool_] = np.zeros((bottom - top, right - left), np.bool_)
        for s in stamps:
            mask[
                s.rows.start - top : s.rows.stop - top, s.cols.start - left : s.cols.stop - left
            ] |= s.inside
        return LesionObject(str(lesion), 1.0, top, left, mask)

    def _of_runs(self, lesion: str, shape: Size) -> LesionObject | None:
        try:
            found = decode_rle(self.runs, shape)
        except ValueError as error:
            raise DatasetError(
                f"A mask cannot be read: {error}. Export the annotations again."
            ) from error
        return None if found is None else LesionObject(str(lesion), 1.0, *found)


@dataclass(frozen=True)
class CocoTruth(Truth):
    """The annotations of one class in one image; each is a lesion, touching others or not."""

    instance_level: ClassVar[bool] = True
    lesions: tuple[CocoLesion, ...]

    def mask(self, shape: Size) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        mask = np.zeros(shape, np.bool_)
        for item in self.lesions:
            found = item.object("", shape)
            if found is not None:
                mask[found.window] |= found.mask
        return mask

    def objects(self, lesion: str, shape: Size) -> list[LesionObject]:
        """Return each annotation as a lesion, with score 1."""
        drawn = (item.object(lesion, shape) for item in self.lesions)
        return [kept for found in drawn if found and (kept := trim_box(found)) is not None]

    def count(self, shape: Size) -> int:
        """Return the number of lesions within the image."""
        return len(self.lesions) - self.count_outside(shape)

    def count_outside(self, shape: Size) -> int:
        """Return how many lie wholly outside the image, or have no pixel; they are left out."""
        return sum(item.object("", shape) is None for item in self.lesions)


def parse_lesion_shape(
    annotation: Mapping[str, Any], *, size: Size | None = None
) -> tuple[CocoLesion, bool]:
    """Return the lesion of a COCO annotation, and whether it is a mere box.

    Parameters
    ----------
    annotation
        As it stands in the list of annotations.
    size
        Height and width of its image, where the list of images gives them.

    Raises
    ------
    DatasetError
        It has neither an outline nor a box that can be understood.

    Examples
    --------
    >>> lesion, _ = parse_lesion_shape({"segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]})
    >>> found = lesion.object("MA", (10, 10))
    >>> found.row, found.col, found.mask.shape
    (2, 1, (4, 3))
    """
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        return _runs(outline), False
    if isinstance(outline, list) and outline:
        rings = outline if isinstance(outline[0], list) else [outline]
        return CocoLesion(size, tuple(Polygon(_points(ring)) for ring in rings)), False
    left, top, width, height = _numbers(annotation.get("bbox"), "box", exactly=4)
    if width <= 0 or height <= 0:
        raise DatasetError("it has no outline, and its box is empty.")
    return CocoLesion(size, (Rectangle(left - _CORNER, top - _CORNER, width, height),)), True


def _runs(outline: Mapping[str, Any]) -> CocoLesion:
    size, counts = outline.get("size"), outline.get("counts")
    if not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    ):
        raise DatasetError("its run lengths have no size [height, width].")
    if isinstance(counts, str):
        return CocoLesion((size[0], size[1]), runs=counts)
    if isinstance(counts, list) and all(type(count) is int for count in counts):
        return CocoLesion((size[0], size[1]), runs=tuple(counts))
    raise DatasetError("its run lengths have no counts.")


def _points(ring: Any) -> tuple[tuple[float, float], ...]:
    numbers = _numbers(ring, "polygon")
    if len(numbers) < 6 or len(numbers) % 2:
        raise DatasetError("its polygon is not a list x, y, x, y, … of three points or more.")
    return tuple(
        (x - _CORNER, y - _CORNER) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
    )


def _numbers(value: Any, what: str, *, exactly: int | None = None) -> Sequence[float]:
    read = [parse_number(str(item)) for item in value] if isinstance(value, list) else []
    known = [number for number in read if number is not None]
    if not known or len(known) != len(read) or (exactly is not None and len(known) != exactly):
        raise DatasetError(f"it has no outline, and no {what} of numbers.")
    return known
