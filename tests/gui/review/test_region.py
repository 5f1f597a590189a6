"""The reviewed region: polygons of a shapes layer in the pixels of the image."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Shapes

from napari_fundus.gui.review.region import polygons_mask, shapes_to_polygons

SHAPE = (40, 60)


def corners(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float)


def test_a_rectangle_covers_the_pixels_whose_centres_it_holds() -> None:
    expected = np.zeros(SHAPE, np.bool_)
    expected[5:11, 8:21] = True
    np.testing.assert_array_equal(polygons_mask([corners(5, 8, 10, 20)], SHAPE), expected)


def test_polygons_add_up_and_are_cut_at_the_border() -> None:
    two = polygons_mask([corners(-10, -10, 5, 5), corners(35, 50, 99, 99)], SHAPE)
    assert two[:6, :6].all()
    assert two[35:, 50:].all()
    assert two.sum() == 6 * 6 + 5 * 10


def test_fewer_than_three_points_enclose_nothing() -> None:
    assert not polygons_mask([np.array([[1.0, 1], [9, 9]])], SHAPE).any()


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.5)])
def test_shapes_are_read_in_the_pixels_of_the_labels_whatever_their_scale(scale) -> None:
    labels = Labels(np.zeros(SHAPE, np.uint8), scale=scale, translate=(3, 4))
    box = corners(5, 8, 10, 20) * np.array(scale) + np.array((3, 4))
    shapes = Shapes([box], shape_type="polygon")
    (outline,) = shapes_to_polygons(shapes, labels)
    np.testing.assert_allclose(outline, corners(5, 8, 10, 20))


def test_ellipses_enclose_and_lines_do_not() -> None:
    labels = Labels(np.zeros(SHAPE, np.uint8))
    shapes = Shapes(
        [corners(5, 10, 25, 50), np.array([[0, 0], [30, 30]])], shape_type=["ellipse", "line"]
    )
    outlines = shapes_to_polygons(shapes, labels)
    assert len(outlines) == 1
    mask = polygons_mask(outlines, SHAPE)
    assert mask[15, 30]
    assert not mask[6, 11]
    assert mask.sum() == pytest.approx(np.pi * 10 * 20, rel=0.08)
