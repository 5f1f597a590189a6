"""Outlines rasterize back to the pixels they were traced from, and are valid polygons."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_fundus.export.polygons import pixel_polygons

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def rasterize(polygons: list, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Fill by counting, from the left, the vertical sides passed in each row."""
    sides = np.zeros((shape[0], shape[1] + 1), np.bool_)
    for ring in itertools.chain.from_iterable(polygons):
        for (x, y), (u, v) in itertools.pairwise(ring):
            if x == u:
                sides[min(y, v) : max(y, v), x] ^= True
    return np.logical_xor.accumulate(sides, axis=1)[:, :-1]


def doubled_area(ring: list) -> int:
    return sum(x * v - u * y for (x, y), (u, v) in itertools.pairwise(ring))


@given(masks)
def test_outlines_rasterize_back_to_the_mask(mask: npt.NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(rasterize(pixel_polygons(mask), mask.shape), mask)


@given(masks)
def test_rings_are_simple_and_turn_the_right_way(mask: npt.NDArray[np.bool_]) -> None:
    for shell, *holes in pixel_polygons(mask):
        assert doubled_area(shell) > 0
        assert all(doubled_area(hole) < 0 for hole in holes)
        for ring in (shell, *holes):
            assert ring[0] == ring[-1]
            assert len(set(ring)) == len(ring) - 1, "a point is visited twice"
            sides = [(x == u, y == v) for (x, y), (u, v) in itertools.pairwise(ring)]
            assert all(vertical != horizontal for vertical, horizontal in sides)
            turns = itertools.pairwise([*sides, sides[0]])
            assert all(a != b for a, b in turns), "a point lies on a straight side"


@given(masks, st.integers(0, 9), st.integers(0, 9))
def test_the_offset_moves_the_outline(mask: npt.NDArray[np.bool_], row: int, col: int) -> None:
    shape = mask.shape[0] + row, mask.shape[1] + col
    whole = np.zeros(shape, np.bool_)
    whole[row:, col:] = mask
    moved = rasterize(pixel_polygons(mask, offset=(row, col)), shape)
    np.testing.assert_array_equal(moved, whole)


def test_a_single_pixel_is_a_unit_square() -> None:
    (((*corners, last),),) = pixel_polygons(np.ones((1, 1), np.bool_), offset=(3, 7))
    assert set(corners) == {(7, 3), (8, 3), (8, 4), (7, 4)}
    assert last == corners[0]


def test_a_frame_has_one_hole() -> None:
    mask = np.ones((5, 5), np.bool_)
    mask[1:4, 1:4] = False
    (polygon,) = pixel_polygons(mask)
    assert [doubled_area(ring) for ring in polygon] == [50, -18]


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    assert len(pixel_polygons(np.eye(2, dtype=np.bool_))) == 2


def test_a_hole_that_touches_the_outside_at_a_corner_stays_a_hole() -> None:
    mask = np.ones((3, 3), np.bool_)
    mask[1, 1] = mask[0, 0] = False
    (polygon,) = pixel_polygons(mask)
    assert [doubled_area(ring) for ring in polygon] == [16, -2]
