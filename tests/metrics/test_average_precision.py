"""Average precision of objects: worked by hand, and against pycocotools' own evaluation."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from napari_fundus.metrics.average_precision import (
    MeanAveragePrecision,
    interpolated_average_precision,
)
from napari_fundus.metrics.coco_matching import (
    IOU_LEVELS,
    MAIN_IOU_LEVELS,
    SIZE_BOUNDS,
    match_objects,
    size_names,
)
from napari_fundus.results.objects import LesionObject
from napari_fundus.results.rle import encode_rle

SHAPE = (60, 80)


def square(row: int, col: int, side: int = 4, score: float = 1.0, lesion: str = "MA"):
    return LesionObject(lesion, score, row, col, np.ones((side, side), np.bool_))


def test_the_paper_s_figure_worked_by_hand() -> None:
    """Four lesions of 16 px; found, in order: exactly, nowhere, shifted by one column, by two."""
    truth = [square(2, 2), square(2, 20), square(2, 40), square(2, 60)]
    found = [
        square(2, 2, score=0.9),
        square(30, 30, score=0.8),
        square(2, 21, score=0.7),  # IoU 12/20 = .60
        square(2, 42, score=0.6),  # IoU 8/24 = .33
    ]
    counted = MeanAveragePrecision()
    counted.add({"MA": truth}, found, SHAPE)

    # At .35 and .50 hits are the 1st and the 3rd: precision 1 and 2/3, each a quarter of recall.
    assert counted.mean_ap_over_images(0.35) == pytest.approx((1 + 2 / 3) / 4)
    assert counted.mean_ap_over_images(0.5) == pytest.approx((1 + 2 / 3) / 4)
    assert counted.mean_ap_over_images(0.75) == pytest.approx(1 / 4)
    # COCO reads at 0, .01, …, 1: 26 recalls up to .25 have precision 1, 25 up to .50 have 2/3.
    assert counted.average_precision("MA").tolist() == pytest.approx(
        [(26 + 25 * 2 / 3) / 101, (26 + 25 * 2 / 3) / 101, 26 / 101]
    )
    assert [counted.recall(level, "MA") for level in MAIN_IOU_LEVELS] == [0.5, 0.5, 0.25]
    curve = counted.curve(0.5, "MA")
    assert curve.recall.tolist() == [0.25, 0.25, 0.5, 0.5]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])


def test_precision_is_that_of_any_larger_recall() -> None:
    assert interpolated_average_precision(np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert np.isnan(interpolated_average_precision(np.array([False]), 0))
    assert interpolated_average_precision(np.zeros(0, np.bool_), 3) == 0


def test_a_lesion_is_found_once_and_the_surest_detection_has_it() -> None:
    matched = match_objects(
        [square(5, 5)], [square(5, 5, score=0.5), square(5, 6, score=0.6)], SHAPE
    )
    assert matched.scores.tolist() == [0.6, 0.5]
    assert matched.hit[IOU_LEVELS.index(0.5)].tolist() == [True, False]
    # At .75 the surer one is no hit (12/20), and leaves the lesion to the other.
    assert matched.hit[IOU_LEVELS.index(0.75)].tolist() == [False, True]


def test_each_image_counts_alike_in_the_paper_s_way_and_by_its_lesions_in_coco_s() -> None:
    counted = MeanAveragePrecision()
    counted.add({"MA": [square(2, 2)]}, [square(2, 2)], SHAPE)
    counted.add({"MA": [square(2, 9 * n) for n in range(3)]}, [], SHAPE)
    assert counted.mean_ap_over_images(0.5) == 0.5
    assert counted.average_precision("MA")[1] == pytest.approx(26 / 101)


def test_classes_that_were_not_annotated_count_nothing() -> None:
    counted = MeanAveragePrecision()
    matched = counted.add({"EX": [square(2, 2, lesion="EX")]}, [square(9, 9)], SHAPE)
    assert counted.lesions == ("EX",)
    assert matched.keys() == {"EX"}
    assert counted.detections("EX") == 0
    nothing = MeanAveragePrecision()
    nothing.add({}, [square(9, 9)], SHAPE)
    assert len(nothing) == 1
    assert np.isnan(nothing.mean_ap_over_images(0.5))
    assert np.isnan(nothing.average_precision()).all()


def test_the_mean_over_classes_is_over_those_with_lesions() -> None:
    counted = MeanAveragePrecision()
    counted.add(
        {"MA": [square(2, 2)], "EX": [square(20, 20, lesion="EX")], "SE": []},
        [square(2, 2), square(40, 40, lesion="SE")],
        SHAPE,
    )
    assert counted.mean_ap_over_images(0.5) == 0.5
    assert counted.average_precision().tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(counted.average_precision("SE")).all()
    assert np.isnan(counted.mean_ap_over_images(0.5, "SE"))
    assert (counted.images("SE"), counted.with_lesions("SE")) == (1, 0)


def test_false_detections_where_no_lesion_is_lower_coco_s_figure_alone() -> None:
    counted = MeanAveragePrecision()
    counted.add({"MA": [square(2, 2)]}, [square(2, 2, score=0.5)], SHAPE)
    counted.add({"MA": []}, [square(2, 2, score=0.9)], SHAPE)
    assert counted.mean_ap_over_images(0.5) == 1.0
    assert counted.average_precision("MA")[1] == pytest.approx(0.5)


def test_no_detection_is_nothing_found_rather_than_nothing_known() -> None:
    counted = MeanAveragePrecision()
    counted.add({"MA": [square(2, 2)]}, [], SHAPE)
    assert counted.mean_ap_over_images(0.35) == 0
    assert counted.average_precision().tolist() == [0, 0, 0]
    assert counted.curve(0.5, "MA").scores.shape == (0,)


def test_recall_is_told_apart_by_the_diameter_of_the_lesion() -> None:
    # Squares of 3, 10 and 20 px have the areas of discs of 3.4, 11.3 and 22.6 px; one fills all.
    truth = [square(0, 0, 3), square(5, 0, 3), square(10, 0, 10), square(10, 30, 20)]
    huge = LesionObject("MA", 1.0, 0, 0, np.ones(SHAPE, np.bool_))
    counted = MeanAveragePrecision()
    counted.add({"MA": truth}, [square(0, 0, 3), square(10, 30, 20)], SHAPE)
    counted.add({"MA": [huge]}, [huge], SHAPE)
    assert size_names() == ("< 8 px", "8–16 px", "16–32 px", "≥ 32 px")
    assert SIZE_BOUNDS == (8, 16, 32)
    assert counted.lesions_by_size("MA").tolist() == [2, 1, 1, 1]
    assert counted.recall_by_size(0.5, "MA").tolist() == [0.5, 0, 1, 1]


def test_a_size_without_lesions_has_no_recall() -> None:
    counted = MeanAveragePrecision()
    counted.add({"MA": [square(0, 0, 3)]}, [square(0, 0, 3)], SHAPE)
    assert counted.recall_by_size(0.5, "MA")[0] == 1
    assert np.isnan(counted.recall_by_size(0.5, "MA")[1:]).all()


def test_only_the_surest_detections_count() -> None:
    found = [square(2, 2, score=0.2), square(30, 30, score=0.9), square(40, 40, score=0.8)]
    few = match_objects([square(2, 2)], found, SHAPE, most=2)
    assert few.scores.tolist() == [0.9, 0.8]
    assert not few.hit.any()
    crowd = [square(2, 2, score=s) for s in np.linspace(0.1, 0.9, 400)]
    assert len(match_objects([square(2, 2)], crowd, SHAPE).scores) == 400


def test_weights_count_an_image_as_often_as_if_it_had_been_added_so() -> None:
    rng = np.random.default_rng(3)
    images = [random_image(rng) for _ in range(4)]
    weights = np.array([2, 0, 1, 3])
    once, often = MeanAveragePrecision(), MeanAveragePrecision()
    for image, times in zip(images, weights, strict=True):
        once.add(*image, SHAPE)
        for _ in range(times):
            often.add(*image, SHAPE)
    for level in MAIN_IOU_LEVELS:
        assert once.mean_ap_over_images(level, weights=weights) == pytest.approx(
            often.mean_ap_over_images(level)
        )
        assert once.recall(level, "EX", weights) == pytest.approx(often.recall(level, "EX"))
    assert once.average_precision(None, weights) == pytest.approx(
        often.average_precision(), abs=0.02
    )  # copies stand side by side here, and count as one step there
    nowhere = np.zeros(4, np.int64)
    assert np.isnan(once.average_precision("EX", nowhere)).all()
    assert np.isnan(once.mean_ap_over_images(0.5, weights=nowhere))


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_pycocotools_own_evaluation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(5)]
    counted = MeanAveragePrecision()
    for truth, found in images:
        counted.add(truth, found, SHAPE)

    told = pycocotools_told(images)

    precision = told["precision"][:, :, :, 0, 0].mean(axis=1)  # levels, classes
    for number, code in enumerate(("MA", "EX")):
        mine = counted.average_precision(code, levels=IOU_LEVELS)
        assert mine == pytest.approx(precision[:, number], abs=1e-12)
        for level in MAIN_IOU_LEVELS:
            recall = told["recall"][IOU_LEVELS.index(level), number, 1:, 0]
            by_size = np.nan_to_num(counted.recall_by_size(level, code), nan=-1)
            assert by_size == pytest.approx(recall)
    assert 0.05 < counted.average_precision()[0] < 0.95  # neither all found nor nothing


def test_hundreds_of_lesions_on_a_large_photograph_need_little_memory_and_no_printing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = (2848, 4288)
    rng = np.random.default_rng(0)
    places = rng.integers(0, (2800, 4200), (500, 2))
    truth = [square(int(row), int(col), 20) for row, col in places]
    found = [
        square(int(r) + 2, int(c), 20, float(s))
        for (r, c), s in zip(places, rng.random(500), strict=True)
    ]
    tracemalloc.start()
    matched = match_objects(truth, found, shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert matched.hit[0].sum() >= 490
    assert peak < 50e6  # masks of the whole image would be 6 GB
    assert capsys.readouterr().out == ""


def random_image(
    rng: np.random.Generator,
) -> tuple[dict[str, list[LesionObject]], list[LesionObject]]:
    """Return lesions of two classes, and detections near some of them, at scores that differ."""
    truth: dict[str, list[LesionObject]] = {}
    found: list[LesionObject] = []
    for code in ("MA", "EX"):
        truth[code] = []
        for _ in range(int(rng.integers(1, 12))):
            side = int(rng.integers(2, 24))
            row, col = int(rng.integers(2, 34)), int(rng.integers(2, 54))
            truth[code].append(square(row, col, side, lesion=code))
            for _ in range(int(rng.integers(0, 3))):
                down, right = rng.integers(-2, 3, 2).tolist()
                found.append(square(row + down, col + right, side, float(rng.random()), code))
        found.append(square(50, 70, 5, float(rng.random()), code))
    return truth, found


def pycocotools_told(images: list[tuple[dict[str, list[LesionObject]], Any]]) -> dict[str, Any]:
    """Run the whole of pycocotools' evaluation, as its makers mean it to be run."""
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, (truth, found) in enumerate(images, start=1):
        for items, kept in (([*truth["MA"], *truth["EX"]], truths), (found, results)):
            for item in items:
                kept.append(
                    {
                        "id": len(kept) + 1,
                        "image_id": number,
                        "category_id": 1 if item.lesion == "MA" else 2,
                        "segmentation": {
                            "size": list(SHAPE),
                            "counts": encode_rle(item.mask, (item.row, item.col), SHAPE),
                        },
                        "area": int(item.mask.sum()),
                        "iscrowd": 0,
                        "score": item.score,
                    }
                )
    with contextlib.redirect_stdout(io.StringIO()):
        drawn = COCO()
        drawn.dataset = {
            "info": {},
            "images": [
                {"id": n, "height": SHAPE[0], "width": SHAPE[1]} for n in range(1, len(images) + 1)
            ],
            "categories": [{"id": 1, "name": "MA"}, {"id": 2, "name": "EX"}],
            "annotations": truths,
        }
        drawn.createIndex()
        judge = COCOeval(drawn, drawn.loadRes(results), "segm")
        judge.params.iouThrs = np.array(IOU_LEVELS)
        judge.params.maxDets = [1000]
        edges = [0.0, *(np.pi / 4 * bound**2 for bound in SIZE_BOUNDS), 1e12]
        judge.params.areaRng = [[0.0, 1e12], *map(list, pairwise(edges))]
        judge.params.areaRngLbl = ["all", *size_names()]
        judge.evaluate()
        judge.accumulate()
    told: dict[str, Any] = judge.eval
    return told
