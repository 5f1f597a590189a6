"""Rasterized shapes against geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.datasets.shapes import (
    Circle,
    Ellipse,
    Polygon,
    Polyline,
    Rectangle,
    Shape,
    rasterize,
)

SHAPE = (120, 160)
places = st.floats(40, 80)
radii = st.floats(3, 35)


@given(x=places, y=places, radius=radii)
def test_circle_covers_the_pixels_whose_centre_is_within_its_radius(
    x: float, y: float, radius: float
) -> None:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(cols - x, rows - y)

    mask = rasterize([Circle(x, y, radius)], SHAPE)

    sure = np.abs(distance - radius) > 1e-6
    np.testing.assert_array_equal(mask[sure], (distance <= radius)[sure])


@given(x=places, y=places, a=radii, b=radii, angle=st.floats(-360, 360))
def test_area_of_an_ellipse_is_that_of_geometry(
    x: float, y: float, a: float, b: float, angle: float
) -> None:
    """The error of sampling at pixel centres is bounded by the pixels on the border."""
    area = rasterize([Ellipse(x, y, a, b, angle)], SHAPE).sum()

    border = 2 * math.pi * max(a, b)
    assert abs(area - math.pi * a * b) <= border


eighths = st.integers(320, 640)


@given(x=eighths, y=eighths, w=st.integers(1, 40), h=st.integers(1, 30))
def test_rectangle_covers_width_times_height_pixels(x: int, y: int, w: int, h: int) -> None:
    """Corners in eighths of a pixel, whose sums are exact."""
    assert rasterize([Rectangle(x / 8, y / 8, w, h)], SHAPE).sum() == w * h


@given(
    st.lists(st.tuples(st.floats(5, 110), st.floats(5, 110)), min_size=3, max_size=3, unique=True)
)
def test_area_of_a_triangle_is_that_of_geometry(points: list[tuple[float, float]]) -> None:
    (x0, y0), (x1, y1), (x2, y2) = points
    exact = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
    border = sum(math.dist(p, q) for p, q in zip(points, [*points[1:], points[0]], strict=True))

    area = rasterize([Polygon(tuple(points))], SHAPE).sum()

    assert abs(area - exact) <= border + 2


@given(x=places, y=places, a=radii, b=radii, angle=st.floats(0, 180))
@settings(max_examples=30)
def test_ellipse_turns_counter_clockwise_on_the_screen(
    x: float, y: float, a: float, b: float, angle: float
) -> None:
    """The tip of the first axis lies up to the right for angles between 0 and 90 degrees."""
    turn = math.radians(angle)
    ellipse = Ellipse(x, y, a, b, angle)

    assert ellipse.contains(x + 0.99 * a * math.cos(turn), y - 0.99 * a * math.sin(turn))
    assert not ellipse.contains(x + 1.01 * a * math.cos(turn), y - 1.01 * a * math.sin(turn))


def test_turned_ellipse_lies_where_it_should() -> None:
    mask = rasterize([Ellipse(80, 60, 30, 5, 45)], SHAPE)

    assert mask[60 - 18, 80 + 18]
    assert mask[60 + 18, 80 - 18]
    assert not mask[60 + 18, 80 + 18]


def test_half_pixel_convention_of_a_circle() -> None:
    """Around a pixel's centre, radius 1 covers a cross; around a corner, radius 1 covers 2x2."""
    assert rasterize([Circle(10, 10, 1)], SHAPE).sum() == 5
    assert rasterize([Circle(10.5, 10.5, 1)], SHAPE).sum() == 4


@pytest.mark.parametrize(
    ("shape", "pixel"),
    [
        (Circle(10, 20, 0), (20, 10)),
        (Circle(10.4, 20.4, 0.1), (20, 10)),
        (Circle(10.6, 20.6, 0), (21, 11)),
        (Ellipse(10.5, 20.2, 4, 0, 30), (20, 11)),
        (Rectangle(10.1, 20.1, 0.2, 0.2), (20, 10)),
        (Polygon(((10.2, 20.2), (10.4, 20.2), (10.3, 20.4))), (20, 10)),
        (Polygon(((10.2, 20.2),)), (20, 10)),
        (Polyline(((10, 20),)), (20, 10)),
        (Circle(-0.4, -0.4, 0), (0, 0)),
    ],
)
def test_shape_that_holds_no_pixel_centre_covers_one_pixel(
    shape: Shape, pixel: tuple[int, int]
) -> None:
    assert np.argwhere(rasterize([shape], SHAPE)).tolist() == [list(pixel)]


@pytest.mark.parametrize(
    "shape",
    [
        Circle(-50, 20, 3),
        Circle(1e8, 1e8, 5),
        Ellipse(500, 20, 10, 3, 20),
        Rectangle(-9, -9, 5, 5),
        Polygon(((200, 200), (220, 200), (210, 230))),
        Polyline(((300, 300), (400, 400))),
    ],
)
def test_shape_outside_covers_nothing(shape: Shape) -> None:
    assert shape.stamp(SHAPE) is None
    assert not rasterize([shape], SHAPE).any()


@pytest.mark.parametrize(
    "shape",
    [
        Circle(80, 60, 1e8),
        Rectangle(-1e8, -1e8, 2e8, 2e8),
        Polygon(((-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6))),
    ],
)
def test_huge_shape_is_cut_at_the_border(shape: Shape) -> None:
    assert rasterize([shape], SHAPE).all()


def test_polyline_is_open_and_one_pixel_wide() -> None:
    mask = rasterize([Polyline(((10, 10), (20, 10), (20, 20)))], SHAPE)

    assert mask.sum() == 21
    assert not mask[12, 15]


def test_concave_polygon_keeps_its_notch() -> None:
    mask = rasterize([Polygon(((10, 10), (50, 10), (50, 50), (30, 20), (10, 50)))], SHAPE)

    assert mask[15, 30]
    assert not mask[40, 30]
