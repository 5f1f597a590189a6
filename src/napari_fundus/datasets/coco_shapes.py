"""Lesions as COCO holds them: polygons, run lengths or boxes, read only when they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.base import Truth
from napari_fundus.datasets.files import parse_number
from napari_fundus.datasets.json_files import parse_whole
from napari_fundus.datasets.shapes import Polygon, Rectangle, Shape
from napari_fundus.errors import DatasetError
from napari_fundus.results.objects import LesionObject, trim_box
from napari_fundus.results.rle import decode_rle, decompress_rle_counts

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
) -> tuple[CocoLesion, tuple[str, ...]]:
    """Return the lesion of a COCO annotation, and what a person should know of it.

    Rings that enclose nothing are left out where others do; an annotation without any outline that
    can be used is the whole of its box.

    Parameters
    ----------
    annotation
        As it stands in the list of annotations.
    size
        Height and width of its image, where the list of images gives them.

    Returns
    -------
    lesion
        The lesion.
    remarks
        What was left out or replaced, each as a sentence on "an annotation".

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
    crowd = parse_whole(annotation.get("iscrowd")) == 1 or annotation.get("iscrowd") is True
    remarks = ("an annotation is of a crowd of lesions: it counts as one",) if crowd else ()
    outline = _Outline(annotation.get("segmentation"), size)
    if outline.lesion is not None:
        return outline.lesion, (*outline.remarks, *remarks)
    try:
        box = CocoLesion(size, (_box(annotation.get("bbox")),))
    except DatasetError:
        if outline.lines:
            return CocoLesion(size, outline.lines), remarks
        if outline.error is not None:
            raise outline.error from None
        raise
    lacking = "has a box and no outline" if outline.is_absent else "has an outline of nothing"
    return box, (f"an annotation {lacking}: the whole box counts", *remarks)


class _Outline:
    """What the outline of an annotation gives: a lesion, or why there is none.

    Attributes
    ----------
    lesion
        The lesion that is drawn, or None.
    lines
        Rings that lie on a line, for where there is nothing else.
    error
        The first thing that could not be understood.
    is_absent
        Whether there is no outline at all.
    """

    def __init__(self, outline: Any, size: Size | None) -> None:
        self.lesion: CocoLesion | None = None
        self.lines: tuple[Shape, ...] = ()
        self.remarks: tuple[str, ...] = ()
        self.error: DatasetError | None = None
        rings = _rings(outline)
        self.is_absent = not any(rings)
        sound: list[Shape] = []
        for ring in rings:
            try:
                if isinstance(ring, dict):
                    runs = _runs(ring, size)
                    self.lesion = runs if len(rings) == 1 else None
                    continue
                points = _points(ring)
            except DatasetError as error:
                self.error = self.error or error
                continue
            if _lies_on_a_line(points):
                self.lines += (Polygon(points),)
            else:
                sound.append(Polygon(points))
        if sound:
            self.lesion = CocoLesion(size, tuple(sound))
        if self.lesion is not None and len(rings) > max(len(sound), 1):
            self.remarks = ("rings of an annotation that enclose nothing are left out",)


def _rings(outline: Any) -> list[Any]:
    """Return the rings of an outline, or its run lengths; some programs write the numbers bare."""
    if isinstance(outline, list) and outline:
        return outline if any(isinstance(ring, list | dict) for ring in outline) else [outline]
    return [outline] if isinstance(outline, dict) else []


def _box(box: Any) -> Rectangle:
    left, top, width, height = _numbers(box, "box", exactly=4)
    if width <= 0 or height <= 0:
        raise DatasetError("it has no outline, and its box is empty.")
    return Rectangle(left - _CORNER, top - _CORNER, width, height)


def _runs(outline: Mapping[str, Any], image_size: Size | None) -> CocoLesion:
    sides, counts = outline.get("size"), outline.get("counts")
    size = image_size if sides is None else parse_size(*sides) if _is_pair(sides) else None
    if size is None:
        raise DatasetError("its run lengths have no size [height, width].")
    if isinstance(counts, str):
        try:
            known = decompress_rle_counts(counts.strip())
        except ValueError as error:
            raise DatasetError(f"its run lengths cannot be read: {error}.") from error
    else:
        listed = counts if isinstance(counts, list) else [None]
        known = [run for count in listed if (run := parse_whole(count)) is not None]
        if len(known) != len(listed):
            raise DatasetError("its run lengths have no counts.")
    if any(run < 0 for run in known) or sum(known) > size[0] * size[1]:
        raise DatasetError("its run lengths are negative, or those of a larger picture.")
    if not any(known[1::2]):
        raise DatasetError("its run lengths mark no pixel.")
    return CocoLesion(size, runs=counts.strip() if isinstance(counts, str) else tuple(known))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def parse_size(height: Any, width: Any) -> Size | None:
    """Return the size of an image that two numbers give, be they floats or text, or None."""
    rows, cols = parse_whole(height), parse_whole(width)
    return (rows, cols) if rows is not None and cols is not None and min(rows, cols) > 0 else None


def _points(ring: Any) -> tuple[tuple[float, float], ...]:
    numbers = _numbers(ring, "polygon")
    if len(numbers) < 6 or len(numbers) % 2:
        raise DatasetError("its polygon is not a list x, y, x, y, … of three points or more.")
    return tuple(
        (x - _CORNER, y - _CORNER) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
    )


def _lies_on_a_line(points: Sequence[tuple[float, float]]) -> bool:
    """Tell whether points enclose nothing, however they are joined."""
    x0, y0 = points[0]
    far = max(points, key=lambda point: abs(point[0] - x0) + abs(point[1] - y0))
    across, down = far[0] - x0, far[1] - y0
    reach = abs(across) + abs(down)
    return all(abs(across * (y - y0) - down * (x - x0)) <= 1e-9 * reach**2 for x, y in points)


def _numbers(value: Any, what: str, *, exactly: int | None = None) -> Sequence[float]:
    read = [parse_number(str(item)) for item in value] if isinstance(value, list) else []
    known = [number for number in read if number is not None]
    if not known or len(known) != len(read) or (exactly is not None and len(known) != exactly):
        raise DatasetError(f"it has no outline, and no {what} of numbers.")
    return known
