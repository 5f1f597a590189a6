"""The grid of patches: how many votes each pixel gets, and which patches run together."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.inference.patch_grid import PatchGrid


def counted(grid: PatchGrid, chosen: np.ndarray) -> np.ndarray:
    """Count, patch by patch, how often each pixel is covered."""
    votes = np.zeros(grid.padded_shape)
    for row, column in zip(*np.nonzero(chosen), strict=True):
        top, left = row * grid.stride, column * grid.stride
        votes[top : top + grid.patch, left : left + grid.patch] += 1
    inner = slice(grid.padding, grid.padding + grid.shape[0])
    return votes[inner, grid.padding : grid.padding + grid.shape[1]]


@pytest.mark.parametrize("stride", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("shape", [(9, 9), (3, 30), (16, 24)])
def test_votes_are_what_counting_gives(shape: tuple[int, int], stride: int) -> None:
    grid = PatchGrid(shape, 8, stride)
    np.testing.assert_array_equal(
        counted(grid, np.ones(grid.grid_shape, np.bool_)), grid.coverage()
    )


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_every_pixel_gets_the_square_of_side_by_stride(stride: int) -> None:
    assert np.unique(PatchGrid((13, 22), 8, stride).coverage()).tolist() == [(8 / stride) ** 2]


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_touching_patches_are_those_that_hold_a_pixel_inside(stride: int) -> None:
    grid = PatchGrid((40, 50), 8, stride)
    inside = np.zeros(grid.shape, np.bool_)
    inside[12:20, 30:41] = True
    inside[0, 0] = True
    padded = np.zeros(grid.padded_shape, np.bool_)
    padded[grid.padding : grid.padding + 40, grid.padding : grid.padding + 50] = inside
    expected = np.zeros(grid.grid_shape, np.bool_)
    for row, column in np.ndindex(*grid.grid_shape):
        top, left = row * stride, column * stride
        expected[row, column] = padded[top : top + 8, left : left + 8].any()
    np.testing.assert_array_equal(grid.overlapping(inside), expected)


@pytest.mark.parametrize("stride", [1, 3, 5, 8])
def test_groups_hold_each_patch_once_and_none_that_overlap(stride: int) -> None:
    grid = PatchGrid((30, 20), 8, stride)
    chosen = np.random.default_rng(0).random(grid.grid_shape) < 0.7
    seen = np.zeros(grid.grid_shape, np.int64)
    for rows, columns in grid.disjoint_groups(chosen):
        group = np.zeros(grid.grid_shape, np.bool_)
        group[rows, columns] = True
        assert counted(grid, group).max() <= 1
        seen[rows, columns] += 1
    np.testing.assert_array_equal(seen, chosen)
