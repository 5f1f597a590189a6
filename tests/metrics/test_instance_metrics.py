"""Average precision of objects from counts that add up: a worked example, and its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_fundus.metrics.coco_matching import count_instances, instance_metrics
from napari_fundus.results.objects import LesionObject


def square(row: int, col: int, *, side: int = 10, score: float = 1.0) -> LesionObject:
    return LesionObject("MA", score, row, col, np.ones((side, side), np.bool_))


def counted(found: list[LesionObject], truth: list[LesionObject], *, weight: float = 1.0):
    return count_instances(truth, found, (128, 128), weight=weight)


def test_overlap_is_that_of_the_masks_not_of_the_boxes() -> None:
    lower, upper = np.tri(10, dtype=np.bool_), ~np.tri(10, dtype=np.bool_)
    objects = [LesionObject("MA", 1, 3, 4, mask) for mask in (lower, upper)]
    assert instance_metrics(counted(objects[:1], objects[1:]))["ap35"] == 0
    assert instance_metrics(counted(objects, objects[1:]))["ap35"] == 0.5  # one of two is right


def test_average_precision_of_a_worked_example() -> None:
    """Sorted by score: hit, miss, hit; a third lesion is never found.

    Precision at the hits is 1 and 2/3, each worth a third of the recall: (1 + 2/3) / 3.
    """
    truth = [square(0, 0), square(0, 50), square(0, 100)]
    found = [
        square(0, 2, score=0.9),  # shares 80 of 120 px
        square(60, 60, score=0.7),
        square(1, 50, score=0.5),
    ]
    metrics = instance_metrics(counted(found, truth))
    assert metrics["ap35"] == pytest.approx((1 + 2 / 3) / 3)
    assert metrics["ap50"] == pytest.approx((1 + 2 / 3) / 3)


def test_an_overlap_between_the_two_limits_counts_for_the_lower_alone() -> None:
    sums = counted([square(0, 4)], [square(0, 0)])  # 60 of 140 px: .43
    assert instance_metrics(sums) == {"ap35": 1.0, "ap50": 0.0}


def test_a_lesion_is_found_once_however_many_claim_it() -> None:
    sums = counted([square(0, 0, score=0.9), square(0, 0, score=0.8)], [square(0, 0)])
    assert (sums["hit_35_45"], sums["miss_35_40"]) == (1, 1)


def test_counts_of_pictures_add_up_with_their_weights() -> None:
    one = counted([square(0, 0, score=0.9)], [square(0, 0)], weight=1)
    other = counted([square(50, 50, score=0.95)], [square(0, 0)], weight=3)
    both = {n: one.get(n, 0) + other.get(n, 0) for n in one.keys() | other.keys()}
    # Three misses are surer than the one hit among four lesions.
    assert instance_metrics(both)["ap35"] == pytest.approx(0.25 * 0.25)


def test_without_any_lesion_there_is_no_figure_and_without_any_find_it_is_zero() -> None:
    assert math.isnan(instance_metrics(counted([square(0, 0)], []))["ap35"])
    assert instance_metrics(counted([], [square(0, 0)]))["ap35"] == 0
