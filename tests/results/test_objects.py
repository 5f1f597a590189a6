"""Lesions as objects: from masks and labels, and how a result paints, counts and cuts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fundus.errors import DetectorError
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.instances import label_objects
from napari_fundus.results.objects import (
    LesionObject,
    clip_objects,
    objects_of_labels,
    objects_of_mask,
    score_maps,
)


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


def box(lesion: str, score: float, row: int, col: int, height: int, width: int) -> LesionObject:
    return LesionObject(lesion, score, row, col, np.ones((height, width), bool))


def made(objects: tuple[LesionObject, ...], **thresholds: float) -> Detections:
    shape = 40, 60
    return Detections(
        Provenance(detector="fake", detector_version="1", package_version="0", image_shape=shape),
        score_maps(objects, thresholds, shape),
        thresholds,
        objects=objects,
    )


def test_touching_objects_stay_two_and_the_surer_one_has_what_they_share() -> None:
    found = made((box("MA", 0.9, 5, 5, 4, 4), box("MA", 0.95, 7, 5, 4, 4)), MA=0.5)
    assert found.instances["score"].tolist() == [0.95, 0.9]
    assert found.instances["area_px"].tolist() == [16, 8]
    assert found.instances["bbox_row_stop"].tolist() == [11, 7]
    for row in found.instances.itertuples():
        assert (found.labels["MA"] == row.id).sum() == row.area_px


def test_a_threshold_between_two_scores_leaves_one_object_as_it_was() -> None:
    found = made((box("MA", 0.4, 5, 5, 4, 4), box("MA", 0.8, 7, 5, 4, 4)), MA=0.35)
    stricter = found.threshold(0.5)
    assert stricter.instances["score"].tolist() == [0.8]
    assert np.array_equal(stricter.labels["MA"] > 0, found.labels["MA"] == 1)
    assert stricter.threshold(0.35).instances.equals(found.instances)


def test_an_object_is_shown_at_its_very_score_like_a_pixel_of_its_map() -> None:
    score = float(np.float32(0.35)) - 1e-10
    found = made((box("MA", score, 5, 5, 4, 4),), MA=0.35)
    assert (
        (found.labels["MA"] > 0).sum() == 16 == (found.probability["MA"] >= np.float32(0.35)).sum()
    )


def test_objects_hidden_by_surer_ones_are_neither_painted_nor_counted() -> None:
    found = made((box("MA", 0.9, 5, 5, 6, 6), box("MA", 0.5, 6, 6, 2, 2)), MA=0.3)
    assert len(found.instances) == 1
    found = made((box("MA", 0.9, 5, 5, 6, 6), box("MA", 0.5, 5, 5, 6, 7)), MA=0.3)
    assert found.instances["area_px"].tolist() == [36, 6]
    assert (found.threshold(min_area=7).labels["MA"] > 0).sum() == 36


def test_classes_may_overlap_and_ids_are_unique() -> None:
    objects = box("MA", 0.9, 5, 5, 4, 4), box("EX", 0.5, 6, 6, 4, 4)
    found = made(objects, MA=0.3, EX=0.3)
    assert found.instances["id"].tolist() == [1, 2]
    assert ((found.labels["MA"] > 0) & (found.labels["EX"] > 0)).sum() == 9


def test_a_class_without_objects_is_read_from_its_map() -> None:
    found = made((box("MA", 0.9, 5, 5, 4, 4),), MA=0.3, OD=0.5)
    disc = np.zeros(found.shape, np.float32)
    disc[20:30, 20:30] = 0.7
    found = replace(found, probability={**found.probability, "OD": disc})
    assert found.instances["lesion"].tolist() == ["MA", "OD"]
    assert (found.labels["OD"] == 2).sum() == 100


@given(st.integers(0, 10_000))
def test_labels_of_objects_are_those_of_painting_them_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects = [
        LesionObject("MA", float(score), int(row), int(col), rng.random((5, 7)) < 0.6)
        for score, row, col in zip(
            rng.choice([0.2, 0.4, 0.6, 0.8], 12), rng.integers(0, 30, 12), rng.integers(0, 40, 12),
            strict=True,
        )
    ]  # fmt: skip
    labels, table = label_objects(
        objects, lesion="MA", shape=(40, 60), threshold=0.4, min_area=4, first_id=3
    )
    plain = np.zeros((40, 60))
    for found in sorted(objects, key=lambda o: o.score):
        if found.score >= 0.4:
            plain[found.window][found.mask] = found.score
    assert set(np.unique(labels[labels > 0])) == set(table["id"])
    for row in table.itertuples():
        assert np.all(plain[labels == row.id] == row.score)
        assert (labels == row.id).sum() == row.area_px >= 4
    ids = table["id"].to_numpy()
    assert np.array_equal(ids, np.arange(3, 3 + len(ids)))


def test_objects_of_labels_give_the_labels_back() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.uint16)
    again = np.zeros_like(labels)
    for number, found in enumerate(objects_of_labels(labels, lesion="EX"), start=1):
        again[found.window][found.mask] = number
        assert found.score == 1
    assert np.array_equal(again, labels)


def test_objects_are_cut_at_the_edge_of_a_region_and_gone_outside_it() -> None:
    region = np.zeros((40, 60), bool)
    region[:, :30] = True
    objects = tuple(box("MA", 1, 3, col, 4, 4) for col in (5, 28, 40))
    left = clip_objects(objects, region)
    assert left[0] is objects[0]
    assert [(x.col, x.mask.shape) for x in left] == [(5, (4, 4)), (28, (4, 2))]


@pytest.mark.parametrize(
    "wrong",
    [
        box("MA", 0.5, 38, 5, 4, 4),
        box("MA", 0.5, 5, -1, 4, 4),
        box("MA", 1.5, 5, 5, 4, 4),
        box("MA", float("nan"), 5, 5, 4, 4),
        box("HE", 0.5, 5, 5, 4, 4),
        LesionObject("MA", 0.5, 5, 5, np.zeros((4, 4), bool)),
        LesionObject("MA", 0.5, 5, 5, np.ones((4, 4), np.uint8)),  # type: ignore[arg-type]
    ],
)
def test_impossible_objects_are_refused(wrong: LesionObject) -> None:
    shape = 40, 60
    told = Provenance(detector="fake", detector_version="1", package_version="0", image_shape=shape)
    with pytest.raises(DetectorError, match="object of"):
        Detections(told, {"MA": np.zeros(shape, np.float32)}, {"MA": 0.5}, objects=(wrong,))
