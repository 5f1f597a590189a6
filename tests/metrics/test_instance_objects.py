"""Which objects are compared: those shown, and the truth thickened as the paper does it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_fundus.metrics.instance_objects import (
    detected_objects,
    dilated_lesions,
    dilation_radius,
)
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.objects import LesionObject, objects_of_mask, score_maps

SHAPE = (40, 50)


def result(**more) -> Detections:
    told = Provenance(detector="d", detector_version="1", package_version="0", image_shape=SHAPE)
    return Detections(told, **more)


def test_components_of_a_map_are_objects_with_their_largest_probability() -> None:
    probability = np.zeros(SHAPE, np.float32)
    probability[2:5, 2:5], probability[3, 3] = 0.6, 0.9
    probability[20, 20], probability[30, 30] = 0.7, 0.4
    found = detected_objects(result(probability={"MA": probability}, thresholds={"MA": 0.5}), "MA")
    told = [(item.row, item.col, item.mask.shape, round(item.score, 3)) for item in found]
    assert told == [(2, 2, (3, 3), 0.9), (20, 20, (1, 1), 0.7)]


def test_objects_of_the_detector_stay_whole_where_they_overlap() -> None:
    full = np.ones((6, 6), np.bool_)
    objects = (
        LesionObject("MA", 0.9, 5, 5, full),
        LesionObject("MA", 0.5, 7, 7, full),
        LesionObject("MA", 0.2, 20, 20, full),
        LesionObject("MA", 0.8, 30, 30, full[:1, :1]),
    )
    given = result(
        probability=score_maps(objects, ["MA", "EX"], SHAPE),
        thresholds={"MA": 0.5, "EX": 0.5},
        objects=objects,
        min_area=2,
    )
    found = detected_objects(given, "MA")
    assert [(item.score, int(item.mask.sum())) for item in found] == [(0.9, 36), (0.5, 36)]
    assert detected_objects(given, "EX") == []
    lower = replace(given, thresholds={"MA": 0.1, "EX": 0.5}, min_area=1)
    assert len(detected_objects(lower, "MA")) == 4


def test_dilation_is_the_paper_s_at_its_width_and_grows_with_the_photograph() -> None:
    mask = np.zeros((60, 60), np.bool_)
    mask[20, 20] = mask[20, 28] = mask[45, 45] = True
    twice = objects_of_mask(mask, lesion="MA", dilations=2)
    mine = dilated_lesions(mask, lesion="MA", reach=4)
    assert len(mine) == 2  # the first two, 8 px apart, are joined
    for ours, theirs in zip(mine, twice, strict=True):
        assert (ours.row, ours.col) == (theirs.row, theirs.col)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
    disc = np.zeros((3000, 4288), np.bool_)
    disc[:, 300:3884] = True
    assert dilation_radius(disc) == 14
    assert dilation_radius(disc, width=1792) == 8
    assert dilation_radius(disc[:, :10]) == 1


@pytest.mark.parametrize(
    ("first", "last", "radius"), [(3, 12, 5), (0, 19, 10), (4, 4, 1), (5, 4, 1)]
)
def test_the_field_s_width_counts_its_first_and_last_column(first, last, radius) -> None:
    field = np.zeros((4, 30), np.bool_)
    field[1, first : last + 1] = True
    # Half of the width in px, at least 1; an empty field has none.
    assert dilation_radius(field, width=8) == radius
