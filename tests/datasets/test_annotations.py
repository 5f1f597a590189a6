"""Counting and fusing of what experts drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets.annotations import (
    ConsensusMapTruth,
    Marking,
    MaskTruth,
    MultiExpertTruth,
    Point,
    PointsTruth,
    ShapesTruth,
)
from napari_fundus.datasets.shapes import Circle, Rectangle, rasterize

SHAPE = (64, 96)


def test_mask_counts_diagonal_neighbours_as_one_lesion(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 10] = mask[11, 11] = mask[30, 30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")

    assert MaskTruth(tmp_path / "mask.png").count(SHAPE) == 2


def test_overlapping_shapes_are_counted_one_by_one() -> None:
    truth = ShapesTruth((Circle(20, 20, 5), Circle(23, 20, 5), Circle(500, 20, 5)))

    assert truth.count(SHAPE) == 2
    assert truth.count_outside(SHAPE) == 1


def test_points_outside_are_left_out_and_told() -> None:
    truth = PointsTruth((Point(10, 20, 3), Point(-5, 20, 3), Point(10, 96, 3)))

    assert truth.count(SHAPE) == 1
    assert truth.count_outside(SHAPE) == 2
    assert truth.mask(SHAPE)[10, 20]


@pytest.mark.parametrize(
    ("confidences", "true"),
    [
        (("High", "High", "High", None), True),
        (("High", "Medium", "Medium", None), False),
        (("Medium", "Medium", "Medium", "Medium"), True),
        (("High", "High", "Low", "Medium"), True),
        (("High", "High", "Low", "Low"), False),
        (("High", "High", "Medium", "Low"), True),
        (("High", "High", None, None), False),
    ],
)
def test_fusion_is_true_where_the_mean_of_four_reaches_three_quarters(
    confidences: tuple[str | None, ...], true: bool
) -> None:
    """Weights are 1, 0.75 and 0.25; an expert who drew nothing counts as 0."""
    square = Rectangle(10, 10, 4, 4)
    experts = {
        str(number): () if level is None else (Marking(square, level),)  # type: ignore[arg-type]
        for number, level in enumerate(confidences)
    }
    weights = {"High": 1.0, "Medium": 0.75, "Low": 0.25, None: 0.0}

    truth = MultiExpertTruth(experts)

    mean = sum(weights[level] for level in confidences) / 4
    assert truth.mean_confidence(SHAPE)[12, 12] == pytest.approx(mean)
    assert bool(truth.mask(SHAPE).any()) is true
    assert truth.count(SHAPE) == int(true)


def test_overlapping_drawings_of_one_expert_count_once_with_the_surest() -> None:
    square = Rectangle(10, 10, 4, 4)
    truth = MultiExpertTruth({"01": (Marking(square, "Low"), Marking(square, "High")), "02": ()})

    assert truth.mean_confidence(SHAPE).max() == pytest.approx(0.5)
    assert rasterize((m.shape for m in truth.experts["01"]), SHAPE).sum() == 16
    assert not rasterize((m.shape for m in truth.experts["02"]), SHAPE).any()


@pytest.mark.parametrize(("grey", "true"), [(252, True), (189, True), (188, False), (126, False)])
def test_agreement_map_is_true_from_189_of_252_on(tmp_path: Path, grey: int, true: bool) -> None:
    Image.new("L", (96, 64), grey).save(tmp_path / "map.png")

    truth = ConsensusMapTruth(tmp_path / "map.png")

    assert bool(truth.mask(SHAPE).all()) is true
    assert truth.mean_confidence(SHAPE)[0, 0] == pytest.approx(grey / 252)
