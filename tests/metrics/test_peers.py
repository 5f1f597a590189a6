"""Figures against scikit-learn and MONAI on random examples, where all compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    jaccard_score,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from napari_fundus.metrics import Froc, PixelHistogram, pixel_overlap


def random_pair(seed: int, shape=(60, 70)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < rng.uniform(0.02, 0.4)
    values = np.clip(rng.normal(0.35 + 0.25 * truth, 0.2), 0, 1)
    return np.round(values, rng.integers(1, 4)).astype(np.float32), truth


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_recall_are_those_of_scikit_learn(seed) -> None:
    probability, truth = random_pair(seed)
    counts = PixelHistogram()
    counts.add(probability, truth)
    curve = counts.curve(0)
    precision, recall, thresholds = precision_recall_curve(truth.ravel(), probability.ravel())
    np.testing.assert_allclose(curve.precision, precision)
    np.testing.assert_allclose(curve.recall, recall)
    np.testing.assert_allclose(curve.thresholds[:-1], thresholds, atol=1e-6)
    # Average precision takes steps where AUPR takes trapezoids.
    expected = average_precision_score(truth.ravel(), probability.ravel())
    assert curve.average_precision == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_overlap_is_that_of_scikit_learn(seed) -> None:
    probability, truth = random_pair(seed)
    predicted = probability >= 0.5
    overlap = pixel_overlap(predicted, truth)
    flat = truth.ravel(), predicted.ravel()
    assert overlap.dice == overlap.f1 == pytest.approx(f1_score(*flat))
    assert overlap.iou == pytest.approx(jaccard_score(*flat))
    assert overlap.precision == pytest.approx(precision_score(*flat))
    assert overlap.recall == pytest.approx(recall_score(*flat))
    assert overlap.accuracy == pytest.approx(accuracy_score(*flat))


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_that_of_monai(seed) -> None:
    import torch
    from monai.metrics import compute_dice, compute_iou

    probability, truth = random_pair(seed)
    predicted = probability >= 0.5
    overlap = pixel_overlap(predicted, truth)
    given, true = (torch.from_numpy(m[np.newaxis, np.newaxis]) for m in (predicted, truth))
    assert overlap.dice == pytest.approx(float(compute_dice(given, true)))
    assert overlap.iou == pytest.approx(float(compute_iou(given, true)))


@pytest.mark.parametrize("seed", range(4))
def test_froc_of_single_pixels_is_that_of_monai(seed) -> None:
    from monai.metrics import compute_fp_tp_probs, compute_froc_curve_data, compute_froc_score

    rng = np.random.default_rng(seed)
    froc, false, true, lesions = Froc(), [], [], 0
    for _ in range(3):
        labels = np.zeros((90, 90), np.int32)
        for number in range(1, 7):
            row, col = rng.integers(0, 3), number % 3
            labels[30 * row + 5 : 30 * row + 20, 30 * col + 5 : 30 * col + 20] = number
        lesions += len(np.unique(labels)) - 1
        # Detections apart from each other: MONAI counts each, our rule each component.
        rows, cols = (3 * places for places in np.divmod(rng.choice(900, 25, replace=False), 30))
        values = rng.permutation(np.linspace(0.05, 0.95, 25)).astype(np.float32)
        probability = np.zeros(labels.shape, np.float32)
        probability[rows, cols] = values
        froc.add(probability, labels)
        found = compute_fp_tp_probs(values, rows, cols, labels)
        false.append(found[0])
        true.append(found[1])
    given = np.concatenate(false), np.concatenate(true)
    fpi, sensitivity = compute_froc_curve_data(*given, lesions, 3)
    curve = froc.curve(whole=True)
    ours = dict(zip(curve.fpi.round(6), curve.sensitivity, strict=True))
    # At equal false positives the last point of each curve is its best.
    theirs = dict(sorted(zip(np.round(fpi, 6), sensitivity, strict=True)))
    assert {k: pytest.approx(v) for k, v in theirs.items() if k in ours} == {
        k: ours[k] for k in theirs if k in ours
    }
    assert len(theirs.keys() & ours.keys()) > 10
    # MONAI interpolates between points, we take the best that is allowed.
    points = (1 / 4, 1 / 2, 1, 2, 4, 8)
    reached = [p for p in points if p <= fpi.max()]
    step = 1 / lesions + 1e-9
    for point in reached:
        score = compute_froc_score(fpi, sensitivity, (point,))
        assert abs(curve.at(point).sensitivity - score) <= 2 * step
