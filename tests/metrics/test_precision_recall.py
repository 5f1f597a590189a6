"""Precision-recall of pooled pixels: worked examples, and the exact area against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve

from napari_fundus.metrics import PixelHistogram, aupr
from napari_fundus.metrics.map_levels import dequantize_map, quantize_map


def random_maps(count: int = 3, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    truths = [rng.random((40, 50)) < 0.05 for _ in range(count)]
    maps = [np.clip(rng.normal(0.3 + 0.3 * t, 0.2), 0, 1).astype(np.float32) for t in truths]
    return maps, truths


def test_worked_example_by_hand() -> None:
    # Thresholds 0, .5, 1. Two true pixels (.6, .2), two others (.8, .1).
    counts = PixelHistogram((3,))
    counts.add(np.array([[0.6, 0.2, 0.8, 0.1]], np.float32), np.array([[1, 1, 0, 0]]))
    curve = counts.curve(3)
    np.testing.assert_allclose(curve.precision, [0.5, 0.5, 1.0])
    np.testing.assert_allclose(curve.recall, [1.0, 0.5, 0.0])
    # Trapezoids: .5 wide at mean .75, .5 wide at .5.
    assert curve.aupr == pytest.approx(0.625)
    np.testing.assert_allclose(curve.f1, [2 / 3, 0.5, 0.0])


@pytest.mark.parametrize("steps", [11, 33])
def test_grid_follows_the_formula_at_each_threshold(steps) -> None:
    maps, truths = random_maps()
    p, t = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in truths])
    precision, recall = [], []
    for k in range(steps):
        chosen = p >= np.float32(k / (steps - 1))
        hit = (chosen & t).sum()
        precision.append(hit / chosen.sum() if chosen.any() else 1.0)
        recall.append(hit / t.sum())
    expected = np.trapezoid(precision[::-1], recall[::-1])
    assert aupr(maps, truths, steps=steps) == pytest.approx(expected)


def test_pixels_on_a_threshold_count_as_positive() -> None:
    counts = PixelHistogram((11,))
    counts.add(np.float32([[0.7, 0.3]]), np.array([[1, 0]]))
    assert counts.curve(11).true_positives.tolist() == [1] * 8 + [0] * 3
    assert counts.curve(11).false_positives.tolist() == [1] * 4 + [0] * 7


def test_exact_area_equals_scikit_learn() -> None:
    maps, truths = random_maps()
    # On the grid of levels; ties within and between images.
    maps = [dequantize_map(quantize_map(np.round(m, 2))) for m in maps]
    p, t = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in truths])
    precision, recall, _ = precision_recall_curve(t, p)
    assert aupr(maps, truths, steps=None) == pytest.approx(auc(recall, precision))


def test_image_by_image_equals_all_at_once() -> None:
    maps, truths = random_maps()
    whole_map, whole_truth = np.concatenate(maps), np.concatenate(truths)
    for steps in (33, 11, None):
        assert aupr(maps, truths, steps=steps) == pytest.approx(
            aupr(whole_map, whole_truth, steps=steps)
        )


def test_weights_count_images_several_times() -> None:
    maps, truths = random_maps(2)
    counts = PixelHistogram()
    for p, t in zip(maps, truths, strict=True):
        counts.add(p, t)
    repeated = counts.curve(weights=np.array([3, 1])).aupr
    assert repeated == pytest.approx(aupr([maps[0]] * 3 + [maps[1]], [truths[0]] * 3 + [truths[1]]))


def test_perfect_map_has_area_one_and_no_truth_has_none() -> None:
    truth = np.zeros((5, 5), bool)
    truth[2, 2] = True
    assert aupr(truth * np.float32(0.99), truth) == 1.0
    assert math.isnan(aupr(np.zeros((5, 5), np.float32), np.zeros((5, 5), bool)))
    assert all(math.isnan(PixelHistogram().curve(steps).aupr) for steps in (33, 11, 0))


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_values_that_are_no_probabilities_are_refused(value) -> None:
    with pytest.raises(ValueError, match="lie in"):
        PixelHistogram().add(np.full((2, 2), value, np.float32), np.zeros((2, 2), bool))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        PixelHistogram().add(np.zeros((2, 3), np.float32), np.zeros((3, 2), bool))


def test_chosen_pixels_may_come_as_one_row() -> None:
    rng = np.random.default_rng(4)
    probability = rng.random((20, 30)).astype(np.float32)
    truth = rng.random((20, 30)) < probability
    assert aupr(probability.ravel(), truth.ravel()) == aupr(probability, truth)


def test_the_thresholds_of_the_bootstrap_give_the_exact_area_to_a_thousandth() -> None:
    maps, truths = random_maps()
    for small in (False, True):
        pixels = PixelHistogram((0,))
        for probability, truth in zip(maps, truths, strict=True):
            pixels.add(probability**6 / 50 if small else probability, truth)
        exact = pixels.curve(0).aupr
        assert pixels.curve(0, np.ones(3, np.int64)).aupr == pytest.approx(exact, abs=1e-3)


def test_each_image_gives_its_own_area() -> None:
    pixels = PixelHistogram((11,))
    for probability, truth in zip(*random_maps(), strict=True):
        assert pixels.add(probability, truth) == aupr(probability, truth)
