"""Histograms of levels give the figures of the plain counters, at every number of thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.evaluation import PixelHistogram
from napari_fundus.metrics import ExactPixelCounts, PixelCounts, aupr
from napari_fundus.metrics.quantization import dequantize_map, quantize_map


def random_maps(count: int = 4, *, small: bool = False):
    rng = np.random.default_rng(0)
    truths = [rng.random((40, 50)) < 0.05 for _ in range(count)]
    maps = [np.clip(rng.normal(0.3 + 0.3 * t, 0.2), 0, 1).astype(np.float32) for t in truths]
    return [m**6 / 50 for m in maps] if small else maps, truths


@pytest.mark.parametrize("steps", [33, 11])
def test_spaced_thresholds_give_the_same_counts(steps) -> None:
    plain, pixels = PixelCounts(steps), PixelHistogram((steps,))
    for probability, truth in zip(*random_maps(), strict=True):
        plain.add(probability, truth)
        pixels.add(probability, truth)
    for weights in (None, np.array([2, 0, 1, 1])):
        expected, got = plain.curve(weights), pixels.curve(steps, weights)
        np.testing.assert_array_equal(got.true_positives, expected.true_positives)
        np.testing.assert_array_equal(got.false_positives, expected.false_positives)
        assert got.aupr == expected.aupr


@pytest.mark.parametrize("small", [False, True])
def test_every_threshold_gives_the_same_area(small) -> None:
    plain, pixels = ExactPixelCounts(), PixelHistogram((0,))
    for probability, truth in zip(*random_maps(small=small), strict=True):
        plain.add(dequantize_map(quantize_map(probability)), truth)
        pixels.add(probability, truth)
    exact = pixels.curve(0).aupr
    assert exact == pytest.approx(plain.curve().aupr, abs=1e-12)
    # What the bootstrap takes in its place is the same but for a thousandth.
    assert pixels.curve(0, np.ones(4, np.int64)).aupr == pytest.approx(exact, abs=1e-3)


def test_each_image_gives_its_own_area() -> None:
    pixels = PixelHistogram((11,))
    for probability, truth in zip(*random_maps(), strict=True):
        assert pixels.add(probability, truth) == pytest.approx(aupr(probability, truth))
