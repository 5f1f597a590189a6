"""The bootstrap interval: seeded, honest about undefined resamples, near the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_fundus.metrics import bootstrap_interval, bootstrap_intervals
from napari_fundus.metrics.bootstrap import Interval, _interval, resampled_weights


def weighted_mean(values):
    return lambda weights: float(np.average(values, weights=weights))


def test_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap_interval(weighted_mean(values), 400, resamples=2000)
    half = 1.96 * values.std() / 20
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_same_seed_same_interval_other_seed_another() -> None:
    statistic = weighted_mean(np.arange(30.0))
    first, again, other = (bootstrap_interval(statistic, 30, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_undefined_resamples_are_left_out_and_counted() -> None:
    # Only one of three images has a lesion: resamples without it have no figure.
    interval = bootstrap_interval(lambda w: 0.5 if w[0] else math.nan, 3, resamples=500)
    assert (interval.low, interval.high) == (0.5, 0.5)
    assert 0.5 * 500 < interval.resamples < 0.85 * 500
    nowhere = bootstrap_interval(lambda w: math.nan, 3)
    assert nowhere.resamples == 0
    assert str(nowhere) == "– (–––)"


def test_text_is_short() -> None:
    interval = bootstrap_interval(weighted_mean(np.full(4, 0.25)), 4)
    assert str(interval) == ".250 (.250–.250)"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval(weighted_mean(np.ones(1)), 0)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(weighted_mean(np.ones(1)), 1, level=95)


def test_several_figures_from_the_same_resamples_are_those_of_each_alone() -> None:
    values = np.random.default_rng(0).random(12)
    statistics = {"mean": weighted_mean(values), "square": weighted_mean(values**2)}
    together = bootstrap_intervals(
        lambda w: {name: statistic(w) for name, statistic in statistics.items()}, 12, resamples=50
    )
    alone = {n: bootstrap_interval(s, 12, resamples=50) for n, s in statistics.items()}
    assert together == alone


def test_images_of_one_group_are_drawn_together_and_the_others_alone() -> None:
    weights = resampled_weights(6, resamples=400, groups=["a", "b", "a", None, None, "b"])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 5])
    assert (weights[:, 3] != weights[:, 4]).any()
    # Four groups are drawn each time, so that the number of images varies.
    assert set(weights[:, [0, 1, 3, 4]].sum(axis=1)) == {4}
    assert set(weights.sum(axis=1)) > {6}


def test_two_images_of_each_eye_make_the_interval_wider_by_the_root_of_two() -> None:
    values = np.repeat(np.random.default_rng(0).normal(5, 2, 200), 2)
    eyes = [number // 2 for number in range(400)]
    widths = []
    for groups in (None, eyes):
        interval = bootstrap_interval(weighted_mean(values), 400, resamples=2000, groups=groups)
        widths.append(interval.high - interval.low)
    assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.08)


def test_the_ends_cut_off_half_of_what_is_not_covered_on_each_side() -> None:
    values = np.array([*range(101), np.nan])
    assert _interval(3.0, values, 0.5) == Interval(3.0, 25.0, 75.0, 0.5, 101)
    assert _interval(3.0, values, 0.875) == Interval(3.0, 6.25, 93.75, 0.875, 101)
