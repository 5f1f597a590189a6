"""Crop, complete, resize, and back again: the identity to within half a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fundus.errors import GeometryError
from napari_fundus.preprocessing import FovCircle
from napari_fundus.preprocessing.geometry import Geometry

SHAPE = (120, 160)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Boxes inside the frame and beyond it, shrunk and enlarged, also unevenly."""
    top, left = draw(st.integers(-40, 60)), draw(st.integers(-40, 80))
    height, width = draw(st.integers(30, 150)), draw(st.integers(30, 150))
    target = draw(st.integers(15, 300)), draw(st.integers(15, 300))
    return Geometry.identity(SHAPE).crop((top, left, top + height, left + width)).resize(target)


@given(geometries(), st.lists(st.tuples(st.floats(-50, 200), st.floats(-50, 200)), min_size=1))
def test_points_come_back(geometry: Geometry, points: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose(
        geometry.inverse_points(geometry.forward_points(points)), points, atol=1e-6
    )


@given(geometries(), st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(1, 60)))
def test_boxes_come_back_and_agree_with_points(
    geometry: Geometry, made: tuple[float, float, float]
) -> None:
    top, left, side = made
    # An edge at e lies between the pixel centres e - 1 and e, at e - ½.
    corners = np.array([[top, left], [top + side, left + side]])
    mapped = geometry.forward_points(corners - 0.5) + 0.5
    back = geometry.inverse_boxes([mapped.ravel()])
    np.testing.assert_allclose(back, [corners.ravel()], atol=1e-6)


@given(geometries(), st.integers(25, 60), st.integers(25, 60), st.integers(14, 40))
def test_masks_come_back_to_within_half_a_target_pixel(
    geometry: Geometry, row: int, col: int, side: int
) -> None:
    mask = np.zeros(SHAPE, np.bool_)
    mask[row : row + side, col : col + side] = True
    back = geometry.inverse_mask(geometry.forward_mask(mask))
    top, left, bottom, right = geometry.box
    inside = np.zeros(SHAPE, np.bool_)
    inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    # Half a pixel of the coarser of the two grids, in source pixels.
    slack = [int(np.ceil(0.5 * max(1 / s, 1))) for s in geometry.scale]
    sure = np.zeros(SHAPE, np.bool_)
    sure[row + slack[0] : row + side - slack[0], col + slack[1] : col + side - slack[1]] = True
    possible = np.zeros(SHAPE, np.bool_)
    possible[row - slack[0] : row + side + slack[0], col - slack[1] : col + side + slack[1]] = True
    assert not (sure & inside & ~back).any()
    assert not (back & ~possible).any()
    assert not (back & ~inside).any()


@given(geometries())
def test_a_smooth_map_comes_back_in_place(geometry: Geometry) -> None:
    """A ramp tells where each pixel went: half a pixel is half a step of it."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    inside = geometry.inverse_mask(np.ones(geometry.target_shape, np.bool_))
    edge = int(np.ceil(2 * max(1, *(1 / s for s in geometry.scale)))) + 1
    core = np.zeros(SHAPE, np.bool_)
    top, left, bottom, right = geometry.box
    core[
        max(top, 0) + edge : max(min(bottom, SHAPE[0]) - edge, 0),
        max(left, 0) + edge : max(min(right, SHAPE[1]) - edge, 0),
    ] = True
    assert not (core & ~inside).any()
    for ramp in (rows, cols):
        back = geometry.inverse_image(geometry.forward_image(ramp))
        assert np.abs(back - ramp)[core].max(initial=0) <= 0.5


def test_pictures_and_points_agree() -> None:
    """A bright spot is found where its point is mapped to."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    picture = np.exp(-((rows - 51) ** 2 + (cols - 71) ** 2) / 50).astype(np.float32)
    geometry = Geometry.identity(SHAPE).crop((-10, 20, 110, 140)).resize((60, 90))
    mapped = geometry.forward_image(picture)
    rows, cols = np.mgrid[:60, :90]
    centre = (rows * mapped).sum() / mapped.sum(), (cols * mapped).sum() / mapped.sum()
    np.testing.assert_allclose(geometry.forward_points([[51, 71]])[0], centre, atol=0.01)


def test_a_disc_cut_by_the_frame_becomes_a_full_circle() -> None:
    disc = FovCircle(59.5, 79.5, 75)
    cut = disc.mask(SHAPE)
    completed = Geometry.identity(SHAPE).complete(disc)
    height, width = completed.target_shape
    assert height == width >= 150
    centre = completed.forward_points([[disc.centre_row, disc.centre_col]])[0]
    np.testing.assert_allclose(centre, (height - 1) / 2, atol=1)
    assert completed.forward_mask(cut).sum() == cut.sum()
    np.testing.assert_array_equal(completed.inverse_mask(completed.forward_mask(cut)), cut)


@pytest.mark.parametrize(
    ("disc", "aspect", "box"),
    [
        # The disc's first pixel is the one whose centre lies within its rim: 50 - 40 = 10.
        (FovCircle(50, 60, 40), 1.0, (10, 20, 91, 101)),
        (FovCircle(50.5, 60.5, 40), 1.0, (11, 21, 92, 102)),
        (FovCircle(50.4, 60.4, 40), 1.0, (10, 20, 91, 101)),
        (FovCircle(50, 60, 40.5), 1.0, (10, 20, 92, 102)),
        (FovCircle(50, 60, 40.6), 1.0, (9, 19, 92, 102)),
        # Half as high as wide, and the reverse.
        (FovCircle(50, 60, 40), 0.5, (30, 20, 71, 101)),
        (FovCircle(50, 60, 40), 2.0, (10, 40, 91, 81)),
    ],
)
def test_a_completed_disc_s_box_is_right_to_the_pixel(disc, aspect, box) -> None:
    completed = Geometry.identity(SHAPE).complete(disc, aspect=aspect)
    assert completed.box == box
    assert completed.target_shape == (max(box[2] - box[0], box[3] - box[1]),) * 2


@pytest.mark.parametrize("centre", [(59.5, 79.5), (60.0, 80.0), (59.75, 79.75)])
def test_a_completed_disc_s_centre_is_the_square_s_to_half_a_pixel(centre) -> None:
    completed = Geometry.identity(SHAPE).complete(FovCircle(*centre, 40))
    side, _ = completed.target_shape
    found = completed.forward_points([centre])[0]
    assert np.abs(found - (side - 1) / 2).max() <= 0.5
    np.testing.assert_allclose(completed.inverse_points([found])[0], centre, atol=1e-9)


@pytest.mark.parametrize("factor", [2, 3])
def test_pixels_and_points_move_by_whole_blocks(factor: int) -> None:
    """Enlarged by a whole factor, a pixel becomes a block, and its centre the block's middle."""
    geometry = Geometry.identity((8, 8)).crop((2, 1, 6, 7)).rescale(factor)
    mask = np.zeros((8, 8), np.bool_)
    mask[3, 4] = True
    rows, cols = np.nonzero(geometry.forward_mask(mask))
    assert (rows.min(), rows.max()) == (factor, 2 * factor - 1)
    assert (cols.min(), cols.max()) == (3 * factor, 4 * factor - 1)
    middle = (rows.min() + rows.max()) / 2, (cols.min() + cols.max()) / 2
    np.testing.assert_array_equal(geometry.forward_points([[3, 4]])[0], middle)
    np.testing.assert_array_equal(geometry.inverse_points([middle])[0], [3, 4])
    np.testing.assert_array_equal(geometry.inverse_mask(geometry.forward_mask(mask)), mask)


def test_square_pads_evenly() -> None:
    squared = Geometry.identity(SHAPE).square()
    assert squared.box == (-20, 0, 140, 160)
    assert Geometry.identity(SHAPE).crop((10, 30, 50, 90)).square().box == (0, 30, 60, 90)
    assert Geometry.identity(SHAPE).crop((10, 30, 90, 70)).square().box == (10, 10, 90, 90)
    pixels = np.full((*SHAPE, 3), 7, np.uint8)
    assert squared.forward_image(pixels).shape == (160, 160, 3)
    assert squared.forward_image(pixels)[:20].max() == 0


def test_crop_to_the_field_of_view() -> None:
    mask = np.zeros(SHAPE, np.bool_)
    mask[10:50, 30:90] = True
    assert Geometry.identity(SHAPE).crop_to_mask(mask).box == (10, 30, 50, 90)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_identity_leaves_pixels_alone(dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (*SHAPE, 3)).astype(dtype)
    geometry = Geometry.identity(SHAPE)
    np.testing.assert_array_equal(geometry.forward_image(pixels), pixels)
    np.testing.assert_array_equal(geometry.inverse_image(pixels), pixels)


@given(geometries())
def test_json_round_trip(geometry: Geometry) -> None:
    assert Geometry.model_validate_json(geometry.model_dump_json()) == geometry


def test_impossible_geometries_and_wrong_pictures_are_refused() -> None:
    geometry = Geometry.identity(SHAPE)
    with pytest.raises(GeometryError, match="no pixel"):
        geometry.crop((10, 10, 10, 20))
    with pytest.raises(GeometryError, match="empty"):
        geometry.crop_to_mask(np.zeros(SHAPE, np.bool_))
    with pytest.raises(GeometryError, match="shape"):
        geometry.forward_image(np.zeros((5, 5)))
    with pytest.raises(GeometryError, match="shape"):
        geometry.inverse_mask(np.zeros((5, 5), np.bool_))


def test_a_box_wholly_outside_gives_nothing_but_fill() -> None:
    geometry = Geometry.identity(SHAPE).crop((200, 200, 230, 230))
    assert geometry.forward_image(np.ones(SHAPE, np.float32), fill=0.5).max() == 0.5
    assert not geometry.inverse_mask(np.ones((30, 30), np.bool_)).any()
