"""Lesions as objects: from a drawn mask, whole, each alone in its box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_fundus.objects import LesionObject, objects_of_mask


def painted(objects: list[LesionObject], shape: tuple[int, int]) -> npt.NDArray[np.int_]:
    """Return how many objects cover each pixel."""
    count = np.zeros(shape, int)
    for found in objects:
        height, width = found.mask.shape
        count[found.row : found.row + height, found.col : found.col + width] += found.mask
    return count


def test_objects_of_a_mask_cover_each_drawn_pixel_once() -> None:
    mask = np.random.default_rng(0).random((60, 80)) < 0.2
    objects = objects_of_mask(mask, lesion="MA")
    assert np.array_equal(painted(objects, mask.shape), mask)
    assert len(objects) > 20
    for found in objects:
        edges = found.mask[0], found.mask[-1], found.mask[:, 0], found.mask[:, -1]
        assert all(edge.any() for edge in edges)
        assert (found.lesion, found.score) == ("MA", 1.0)


def test_pixels_that_touch_at_a_corner_are_one_object() -> None:
    (found,) = objects_of_mask(np.eye(3, dtype=bool), lesion="EX")
    assert np.array_equal(found.mask, np.eye(3, dtype=bool))


def test_a_ring_does_not_swallow_what_lies_inside_its_box() -> None:
    mask = np.zeros((9, 9), bool)
    mask[0], mask[-1], mask[:, 0], mask[:, -1] = True, True, True, True
    mask[4, 4] = True
    ring, dot = sorted(objects_of_mask(mask, lesion="EX"), key=lambda o: -o.mask.size)
    assert not ring.mask[4, 4]
    assert (dot.row, dot.col, dot.mask.shape) == (4, 4, (1, 1))


def test_specks_are_left_out_before_dilation_joins_them() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:13, 10:13] = mask[10:13, 21:24] = True  # 8 px apart: two dilations join them
    mask[30, 50] = True
    assert len(objects_of_mask(mask, lesion="MA")) == 3
    (found,) = objects_of_mask(mask, lesion="MA", min_area=2, dilations=2)
    assert (found.row, found.col, found.mask.shape) == (6, 6, (11, 22))
    assert len(objects_of_mask(mask, lesion="MA", dilations=1, min_area=2)) == 2


def test_an_empty_mask_has_no_object() -> None:
    assert objects_of_mask(np.zeros((5, 5), bool), lesion="MA", dilations=2) == []
