"""Agreement at one threshold: pixels, lesions, and the table that the demo prints."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_fundus.evaluation import assess
from napari_fundus.metrics import lesion_counts, pixel_overlap
from napari_fundus.results.detections import Detections, Provenance


def test_pixels_by_hand() -> None:
    overlap = pixel_overlap(np.array([[1, 1, 0, 0, 0]]), np.array([[1, 0, 1, 1, 0]]))
    assert (overlap.true_positives, overlap.false_positives) == (1, 1)
    assert (overlap.false_negatives, overlap.true_negatives) == (2, 1)
    assert overlap.precision == 1 / 2
    assert overlap.recall == 1 / 3
    assert overlap.dice == overlap.f1 == 2 / 5
    assert overlap.iou == 1 / 4
    assert overlap.accuracy == 2 / 5


def test_pixels_outside_the_field_of_view_are_left_out() -> None:
    overlap = pixel_overlap(np.ones((2, 2)), np.eye(2), np.eye(2, dtype=bool))
    assert overlap.precision == 1
    assert overlap.false_positives == 0


def test_nothing_predicted_and_nothing_true_is_undefined_not_perfect() -> None:
    overlap = pixel_overlap(np.zeros((3, 3)), np.zeros((3, 3)))
    assert math.isnan(overlap.dice)
    assert overlap.accuracy == 1
    counts = lesion_counts(np.zeros((3, 3)), np.zeros((3, 3)))
    assert math.isnan(counts.sensitivity)
    assert counts.f1 == 0


def test_lesions_by_hand() -> None:
    truth = np.zeros((10, 10), bool)
    truth[1:3, 1:3] = truth[6, 6] = truth[7, 7] = truth[9, 0] = True  # three lesions
    predicted = np.zeros((10, 10), bool)
    predicted[2, 2:5] = predicted[7, 7] = predicted[0, 9] = True
    counts = lesion_counts(predicted, truth)
    assert (counts.lesions, counts.found, counts.missed) == (3, 2, 1)
    assert (counts.detections, counts.false_positives) == (3, 1)
    assert counts.sensitivity == counts.precision == counts.f1 == pytest.approx(2 / 3)


def test_one_detection_over_two_lesions_finds_both() -> None:
    truth = np.array([[1, 0, 1]], bool)
    counts = lesion_counts(np.ones((1, 3), bool), truth)
    assert (counts.found, counts.detections, counts.false_positives) == (2, 1, 0)


def test_counts_of_two_images_add_up() -> None:
    pixels = pixel_overlap(np.ones((2, 2)), np.eye(2))
    assert (pixels + pixels).true_positives == 4
    lesions = lesion_counts(np.ones((2, 2)), np.eye(2))
    assert (lesions + lesions).lesions == 2


def detections(maps: dict[str, np.ndarray]) -> Detections:
    shape = next(iter(maps.values())).shape
    provenance = Provenance(
        detector="made_up", detector_version="1", package_version="0", image_shape=shape
    )
    return Detections(provenance, maps, dict.fromkeys(maps, 0.5))


def test_table_has_a_row_for_each_class_that_was_found_and_annotated() -> None:
    probability = np.zeros((8, 8), np.float32)
    probability[1:3, 1:3], probability[6, 6] = 0.9, 0.6
    truth = np.zeros((8, 8), bool)
    truth[1:3, 1:3] = truth[4, 1] = True
    result = detections({"MA": probability, "HE": probability, "EX": probability})
    masks = {"EX": np.zeros((8, 8), bool), "MA": truth, "SE": truth}
    table = assess(result, masks).metrics.set_index("lesion")
    assert list(table.index) == ["MA", "EX"]
    row = table.loc["MA"]
    assert (row["lesions"], row["found"], row["false_positives"]) == (2, 1, 1)
    assert row["sensitivity"] == row["precision"] == 0.5
    assert row["dice"] == pytest.approx(2 * 4 / (5 + 5))
    assert 0 < row["aupr"] < 1
    assert math.isnan(table.loc["EX", "sensitivity"])
    assert table.loc["EX", "false_positives"] == 2


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        pixel_overlap(np.zeros((2, 3)), np.zeros((3, 2)))
