"""Pixel figures of a validation: the same as those of the evaluation, however it is batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fundus.metrics.precision_recall import PixelHistogram, count_pixels, pixel_metrics


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((4, 20, 20)) < 0.1
    probability = np.clip(rng.random((4, 20, 20)) * 0.6 + 0.3 * truth, 0, 1).astype(np.float32)
    # Some exactly at a threshold, and at both ends.
    probability[0, 0, :4] = 0, 0.5, 1, 31 / 32
    return probability, truth


def test_aupr_is_that_of_the_evaluation(maps) -> None:
    probability, truth = maps
    counts = PixelHistogram()
    for one, true in zip(probability, truth, strict=True):
        counts.add(one, true)
    sums = count_pixels(torch.from_numpy(probability), torch.from_numpy(truth))
    found = pixel_metrics({name: float(value) for name, value in sums.items()})
    assert found["aupr"] == counts.curve().aupr
    assert found["average_precision"] == counts.curve().average_precision


def test_dice_precision_and_recall_are_at_one_half(maps) -> None:
    probability, truth = maps
    sums = count_pixels(torch.from_numpy(probability), torch.from_numpy(truth))
    found = pixel_metrics({name: float(value) for name, value in sums.items()})
    above = probability >= 0.5
    both = (above & truth).sum()
    assert found["dice"] == pytest.approx(2 * both / (above.sum() + truth.sum()))
    assert found["precision"] == pytest.approx(both / above.sum())
    assert found["recall"] == pytest.approx(both / truth.sum())


def test_sums_of_parts_add_up_and_weights_count(maps) -> None:
    probability, truth = (torch.from_numpy(array) for array in maps)
    whole = count_pixels(probability, truth)
    halves = [count_pixels(probability[part], truth[part]) for part in (slice(2), slice(2, None))]
    for name, value in whole.items():
        assert float(value) == float(halves[0][name] + halves[1][name])
    weight = torch.ones_like(probability)
    weight[2:] = 0
    assert count_pixels(probability, truth, weight) == halves[0]


def test_without_a_lesion_aupr_is_not_a_number() -> None:
    nothing = torch.zeros(2, 5)
    found = pixel_metrics({k: float(v) for k, v in count_pixels(nothing, nothing).items()})
    assert np.isnan(found["aupr"])
    assert np.isnan(found["average_precision"])
    assert np.isnan(found["dice"])


def test_a_map_that_finds_nothing_has_no_average_precision() -> None:
    """The trapezoids of the challenge give it 0.5, which would make it the best epoch."""
    truth = torch.zeros(1000)
    truth[:10] = 1
    found = pixel_metrics(
        {k: float(v) for k, v in count_pixels(torch.full((1000,), 0.01), truth).items()}
    )
    assert found["aupr"] == pytest.approx(0.505)
    assert found["average_precision"] == pytest.approx(0.01)


def test_average_precision_is_a_sum_of_steps() -> None:
    truth = torch.tensor([1, 0, 1, 0])
    found = pixel_metrics(
        {k: float(v) for k, v in count_pixels(torch.tensor([0.9, 0.7, 0.5, 0.1]), truth).items()}
    )
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
