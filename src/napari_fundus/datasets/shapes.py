"""Shapes that experts draw, and their pixels: a pixel is covered if its centre lies inside."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fundus.results.objects import LesionObject, trim_box

_FAR = 16_000
"""Vertices farther out than this, in px, are drawn at this distance: OpenCV's lines overflow."""


@dataclass(frozen=True, eq=False)
class WindowMask:
    """The pixels of a shape within an image.

    Attributes
    ----------
    rows, cols
        The part of the image that `inside` stands for.
    inside
        bool, of the size of that part; at least one pixel is True.
    """

    rows: slice
    cols: slice
    inside: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shape(ABC):
    """A drawn shape; x is the column and y the row of pixel centres, the first centre is (0, 0)."""

    @property
    @abstractmethod
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y."""

    @property
    @abstractmethod
    def anchor(self) -> tuple[float, float]:
        """A point (x, y) whose pixel is covered even where the shape holds no pixel's centre."""

    @abstractmethod
    def _inside(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Tell which points lie inside; `x` is a row, `y` a column, to be broadcast."""

    def stamp(self, shape: tuple[int, int]) -> WindowMask | None:
        """Return the pixels covered in an image of `shape` (height, width), or None outside it.

        A shape too small to hold the centre of a pixel covers the one nearest to its anchor.
        """
        height, width = shape
        left, right, top, bottom = self.box
        col0, col1 = max(math.ceil(left), 0), min(math.floor(right), width - 1)
        row0, row1 = max(math.ceil(top), 0), min(math.floor(bottom), height - 1)
        if col0 <= col1 and row0 <= row1:
            x = np.arange(col0, col1 + 1, dtype=np.float64)[np.newaxis, :]
            y = np.arange(row0, row1 + 1, dtype=np.float64)[:, np.newaxis]
            inside = self._inside(x, y)
            if inside.any():
                return WindowMask(slice(row0, row1 + 1), slice(col0, col1 + 1), inside)
        col, row = (math.floor(value + 0.5) for value in self.anchor)
        if 0 <= row < height and 0 <= col < width:
            return WindowMask(slice(row, row + 1), slice(col, col + 1), np.ones((1, 1), np.bool_))
        return None


@dataclass(frozen=True)
class Ellipse(Shape):
    """An ellipse.

    Attributes
    ----------
    x, y
        Centre in px.
    radius_x, radius_y
        Half axes in px, before it is turned.
    angle
        Degrees by which it is turned, counter-clockwise as seen on the screen.
    """

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float = 0.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y."""
        turn = math.radians(self.angle)
        half_x = math.hypot(self.radius_x * math.cos(turn), self.radius_y * math.sin(turn))
        half_y = math.hypot(self.radius_x * math.sin(turn), self.radius_y * math.cos(turn))
        return self.x - half_x, self.x + half_x, self.y - half_y, self.y + half_y

    @property
    def anchor(self) -> tuple[float, float]:
        """A point (x, y) whose pixel is covered even where the shape holds no pixel's centre."""
        return self.x, self.y

    def contains(self, x: float, y: float) -> bool:
        """Tell whether a point lies inside."""
        return bool(self._inside(np.array([[x]]), np.array([[y]])).all())

    def _inside(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        if self.radius_x <= 0 or self.radius_y <= 0:
            return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
        # Rows grow downwards: counter-clockwise on the screen is clockwise in (x, y).
        turn = math.radians(self.angle)
        along = (x - self.x) * math.cos(turn) - (y - self.y) * math.sin(turn)
        across = (x - self.x) * math.sin(turn) + (y - self.y) * math.cos(turn)
        inside: npt.NDArray[np.bool_] = (along / self.radius_x) ** 2 + (
            across / self.radius_y
        ) ** 2 <= 1 + 1e-9
        return inside


def Circle(x: float, y: float, radius: float) -> Ellipse:  # noqa: N802
    """Return a circle around (x, y); of radius 0 it is a point, which covers one pixel."""
    return Ellipse(x, y, radius, radius)


@dataclass(frozen=True)
class Rectangle(Shape):
    """A rectangle along the axes that covers ``width * height`` pixels from (x, y) on."""

    x: float
    y: float
    width: float
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y."""
        return self.x, self.x + self.width, self.y, self.y + self.height

    @property
    def anchor(self) -> tuple[float, float]:
        """A point (x, y) whose pixel is covered even where the shape holds no pixel's centre."""
        return self.x + self.width / 2, self.y + self.height / 2

    def _inside(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = (x < self.x + self.width) & (y < self.y + self.height)
        return inside


@dataclass(frozen=True)
class Polygon(Shape):
    """A closed polygon through `points` (x, y); its border belongs to it."""

    points: tuple[tuple[float, float], ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), max(xs), min(ys), max(ys)

    @property
    def anchor(self) -> tuple[float, float]:
        """A point (x, y) whose pixel is covered even where the shape holds no pixel's centre."""
        xs, ys = zip(*self.points, strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    def _inside(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        from skimage.draw import polygon

        inside = np.zeros((y.size, x.size), np.bool_)
        xs, ys = np.array(self.points, np.float64).T
        inside[polygon(ys - y.flat[0], xs - x.flat[0], inside.shape)] = True
        return inside


@dataclass(frozen=True)
class Polyline(Polygon):
    """An open line through `points` (x, y), one pixel wide."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y."""
        left, right, top, bottom = super().box
        return left - 1, right + 1, top - 1, bottom + 1

    @property
    def anchor(self) -> tuple[float, float]:
        """A point (x, y) whose pixel is covered even where the shape holds no pixel's centre."""
        return self.points[0]

    def _inside(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        import cv2

        drawn = np.zeros((y.size, x.size), np.uint8)
        points = np.array(self.points) - (x.flat[0], y.flat[0])
        vertices = np.rint(np.clip(points, -_FAR, _FAR)).astype(np.int32)
        cv2.polylines(drawn, [vertices.reshape(-1, 1, 2)], isClosed=False, color=1)
        return drawn.astype(np.bool_)


def rasterize(shapes: Iterable[Shape], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the union of `shapes` in an image of `shape` (height, width), as bool."""
    mask = np.zeros(shape, np.bool_)
    for item in shapes:
        stamp = item.stamp(shape)
        if stamp is not None:
            mask[stamp.rows, stamp.cols] |= stamp.inside
    return mask


def objects_of_shapes(
    shapes: Iterable[Shape], lesion: str, shape: tuple[int, int]
) -> list[LesionObject]:
    """Return each of `shapes` in an image of `shape` (height, width) as a lesion with score 1."""
    found = []
    for item in shapes:
        stamp = item.stamp(shape)
        if stamp is None:
            continue
        drawn = LesionObject(str(lesion), 1.0, stamp.rows.start, stamp.cols.start, stamp.inside)
        if (kept := trim_box(drawn)) is not None:
            found.append(kept)
    return found
