"""A result against the truth of one image, lesion by lesion; and what is cut out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_fundus.datasets import Sample, Truth
from napari_fundus.datasets.annotations import Point, PointsTruth
from napari_fundus.errors import DatasetError
from napari_fundus.evaluation import Case, EvaluationSettings, is_healthy
from napari_fundus.evaluation.crops import CropCollector
from napari_fundus.evaluation.protocols import FrocProtocol
from napari_fundus.image import FundusImage
from napari_fundus.metrics import lesion_counts
from napari_fundus.results.detections import Detections, Provenance

SHAPE = (80, 100)


class Drawn(Truth):
    def __init__(self, mask) -> None:
        self.drawn = mask

    def mask(self, shape):
        return self.drawn

    def count(self, shape):
        return 0


def case_of(truth, **more) -> Case:
    sample = Sample("one", Path("one.png"), annotated=frozenset({"MA"}), truths={"MA": truth})
    rng = np.random.default_rng(0)
    image = FundusImage.from_array(rng.integers(0, 255, (*SHAPE, 3), np.uint8))
    return Case(sample, image, ["MA", "EX"], **more)


def detections_of(probability, threshold: float = 0.5) -> Detections:
    provenance = Provenance(
        detector="made_up", detector_version="1", package_version="0", image_shape=SHAPE
    )
    return Detections(provenance, {"MA": probability}, {"MA": threshold})


@pytest.fixture
def truth() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[10:14, 10:14] = mask[40:42, 50:56] = mask[70, 90] = True
    return mask


@pytest.fixture
def found() -> Detections:
    probability = np.zeros(SHAPE, np.float32)
    probability[12:16, 12:16] = 0.9
    probability[40, 50] = 0.4
    probability[60:63, 20:23], probability[5, 90] = 0.6, 0.8
    return detections_of(probability)


def test_lesions_are_matched_one_by_one(truth, found) -> None:
    match = case_of(Drawn(truth)).match(found, "MA")
    boxes = match.true.filter(like="bbox").to_numpy().tolist()
    assert boxes == [[10, 10, 14, 14], [40, 50, 42, 56], [70, 90, 71, 91]]
    assert match.true["found"].tolist() == [True, False, False]
    np.testing.assert_allclose(match.true["peak"], [0.9, 0.4, 0.0])
    assert match.false["score"].round(3).tolist() == [0.8, 0.6]
    assert match.pixels.true_positives == 4
    assert match.lesions == lesion_counts(found.labels["MA"], truth)


def test_a_match_is_made_once_a_result(truth, found) -> None:
    case = case_of(Drawn(truth))
    assert case.match(found, "MA") is case.match(found, "MA")
    other = found.threshold(0.3)
    assert case.match(other, "MA").true["found"].tolist() == [True, True, False]
    assert case.match(found, "MA").true["found"].tolist() == [True, False, False]


def test_what_was_not_annotated_has_no_truth(truth) -> None:
    case = case_of(Drawn(truth))
    assert case.annotated == ("MA",)
    assert case.absent == ()
    with pytest.raises(DatasetError, match="not annotated"):
        case.truth("EX")


@pytest.mark.parametrize(
    ("grades", "annotated", "expected"),
    [({"dr": 0}, (), True), ({"dr": 0}, ("MA",), False), ({"dr": 1}, (), False), ({}, (), False)],
)
def test_healthy_is_grade_0_without_masks(grades, annotated, expected) -> None:
    sample = Sample("s", Path("s.png"), annotated=frozenset(annotated), grades=grades)
    assert is_healthy(sample) is expected


def test_points_are_counted_by_their_radius(found) -> None:
    points = PointsTruth((Point(12, 9.5, 3), Point(12, 8, 3), Point(500, 500, 4)))
    counter = FrocProtocol(EvaluationSettings(("MA",), resamples=10))
    counter.add(found, case_of(points))
    metrics = counter.metrics()["MA"]
    assert metrics["lesions"] == 2  # the third lies outside of the image
    assert counter.froc_curves()["MA"].sensitivity.max() == 0.5


def test_crops_are_sorted_into_hits_misses_and_false_ones(truth, found) -> None:
    collector = CropCollector()
    case = case_of(Drawn(truth))
    collector.add(found, case)
    kinds = {kind: collector.crops("MA", kind) for kind in ("hit", "miss", "false")}
    assert {kind: len(crops) for kind, crops in kinds.items()} == {"hit": 1, "miss": 2, "false": 2}
    assert [crop.area for crop in kinds["miss"]] == [12, 1]
    assert [round(crop.score, 3) for crop in kinds["false"]] == [0.8, 0.6]
    for crops in kinds.values():
        for crop in crops:
            assert crop.pixels.shape == (160, 160, 3)
            # Whatever it is about lies in the middle.
            middle = np.s_[70:90, 70:90]
            assert crop.detection[middle].any() == (crop.kind != "miss")
            assert crop.truth[middle].any() == (crop.kind != "false")


def test_crops_at_the_border_are_filled_with_black(found, truth) -> None:
    truth[:] = False
    truth[0, 0] = True
    collector = CropCollector()
    collector.add(found, case_of(Drawn(truth)))
    (crop,) = collector.crops("MA", "miss")
    assert crop.pixels[:50].max() == 0
    assert crop.pixels[100:, 100:].max() > 0


def test_as_many_crops_are_kept_however_many_come_by(truth, found) -> None:
    collector = CropCollector(most=4, per_image=1)
    for _ in range(10):
        collector.add(found, case_of(Drawn(truth)))
    assert len(collector.crops("MA", "false")) == 4
    assert collector.total("MA", "false") == 20
    assert {round(crop.score, 3) for crop in collector.crops("MA", "false")} == {0.8}


@pytest.mark.parametrize(
    ("row", "col", "inside"),
    [
        (-0.5, 3, True),
        (-0.51, 3, False),
        (3, -0.5, True),
        (3, -0.51, False),
        (SHAPE[0] - 0.51, 3, True),
        (SHAPE[0] - 0.5, 3, False),
        (3, SHAPE[1] - 0.51, True),
        (3, SHAPE[1] - 0.5, False),
    ],
)
def test_a_point_counts_up_to_the_edge_of_the_outermost_pixels(found, row, col, inside) -> None:
    """A pixel's centre is a whole number: the picture reaches half a pixel beyond the outermost."""
    points = PointsTruth((Point(12, 9.5, 3), Point(row, col, 3)))
    counter = FrocProtocol(EvaluationSettings(("MA",), resamples=10))
    counter.add(found, case_of(points))
    assert counter.metrics()["MA"]["lesions"] == points.count(SHAPE) == 1 + inside
