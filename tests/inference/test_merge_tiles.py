"""Merging across seams at its thresholds: one pixel more or less decides, and no other number."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.inference.detect_objects import _is_truncated
from napari_fundus.inference.merge_tiles import TileObject, merge_tile_objects
from napari_fundus.results.objects import LesionObject

TILES = [(0, 0, 100, 100), (0, 60, 100, 160)]
"""Two tiles that share columns 60 to 99."""


def bar(col: int, width: int, score: float, *, height: int = 10) -> LesionObject:
    return LesionObject("MA", score, 20, col, np.ones((height, width), np.bool_))


@pytest.mark.parametrize(("col", "count"), [(90, 1), (91, 2)])
def test_a_cut_part_is_dropped_where_a_whole_one_covers_half_of_it(col: int, count: int) -> None:
    """The cut part has columns 80 to 99; the whole one begins at its middle, or a column later."""
    cut = TileObject(bar(80, 20, 0.9), 0, truncated=True)
    # As far as both tiles look, less than half of the smaller one: only covering is tested.
    whole = TileObject(bar(col, 60, 0.5), 1, truncated=False)
    found = merge_tile_objects([cut, whole], TILES)
    kept = [one for one in found if one.score == 0.5 and one.mask.shape == (10, 60)]
    assert (len(kept) == 1) == (count == 1)
    assert len(found) == 1, "what is not covered is united instead"
    assert found[0].mask.shape[1] == (60 if count == 1 else 71)


@pytest.mark.parametrize(("shared", "count"), [(10, 1), (9, 2)])
def test_two_cut_parts_are_one_lesion_from_half_of_the_smaller_one_on(
    shared: int, count: int
) -> None:
    """Where both tiles look, the smaller part has 20 pixels; `shared` of them are of both."""
    left = TileObject(bar(60, 40, 0.9, height=1), 0, truncated=True)
    mask = np.zeros((2, 20), np.bool_)
    mask[0, :shared] = mask[1, shared:] = True
    right = TileObject(LesionObject("MA", 0.6, 20, 70, mask), 1, truncated=True)
    found = merge_tile_objects([left, right], TILES)
    assert len(found) == count
    if count == 1:
        assert found[0].score == 0.9
        assert found[0].mask.sum() == 40 + 20 - shared


@pytest.mark.parametrize(("width", "shared", "count"), [(13, 6, 1), (11, 5, 2)])
def test_of_two_whole_lesions_one_goes_from_three_tenths_of_the_union_on(
    width: int, shared: int, count: int
) -> None:
    """6 pixels of 20 are three tenths; 5 of 17 are less."""
    first = TileObject(bar(65, width, 0.6, height=1), 0, truncated=False)
    second = TileObject(bar(65 + width - shared, width, 0.7, height=1), 1, truncated=False)
    found = merge_tile_objects([first, second], TILES)
    assert len(found) == count
    assert found[0].score == 0.7


@pytest.mark.parametrize(("gap", "count"), [(0, 1), (1, 2)])
def test_tiles_that_share_nothing_unite_cut_parts_that_touch(gap: int, count: int) -> None:
    tiles = [(0, 0, 100, 80), (0, 80, 100, 160)]
    left = TileObject(bar(70, 10, 0.6), 0, truncated=True)
    right = TileObject(bar(80 + gap, 10, 0.7), 1, truncated=True)
    found = merge_tile_objects([left, right], tiles)
    assert len(found) == count
    assert sum(int(one.mask.sum()) for one in found) == 200


@pytest.mark.parametrize(("col", "width", "cut"), [(88, 10, False), (89, 10, True), (1, 5, False)])
def test_a_lesion_counts_as_cut_within_two_pixels_of_a_border_inside_the_picture(
    col: int, width: int, cut: bool
) -> None:
    """The tile ends at column 100 of a wider picture, and begins at the picture's own border."""
    assert _is_truncated(bar(col, width, 0.5), TILES[0], (100, 160)) is cut
