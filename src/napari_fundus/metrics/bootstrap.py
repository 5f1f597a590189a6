"""Percentile bootstrap over images: how far a figure would move with other images."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ImageWeights = npt.NDArray[np.int64]
"""How often each image counts in a resample, shape (images,)."""


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval.

    Attributes
    ----------
    estimate
        The statistic of all images, each counted once.
    low, high
        Ends of the interval.
    level
        Its coverage, e.g. 0.95.
    resamples
        Resamples in which the statistic was defined (not NaN); the interval is theirs.
    """

    estimate: float
    low: float
    high: float
    level: float
    resamples: int

    def __str__(self) -> str:
        """Return e.g. ``.512 (.470–.551)``."""
        return f"{_short(self.estimate)} ({_short(self.low)}–{_short(self.high)})"


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".removeprefix("0")


def bootstrap_interval(
    statistic: Callable[[ImageWeights], float],
    count: int,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Return `statistic` of `count` images and its percentile interval.

    Parameters
    ----------
    statistic
        Takes how often each image counts (int64, shape (count,)) and returns the metric; NaN where
        it is undefined, e.g. because no lesion was drawn. `PixelHistogram.curve` and `Froc.curve`
        take such weights, so that no map is read again.
    count
        Number of images.
    level
        Coverage of the interval.
    resamples
        How often `count` images are drawn with replacement.
    seed
        Of the random numbers; the same seed gives the same interval.
    groups
        One an image: images of one group, such as those of one eye, are drawn together, since they
        tell less than as many eyes would. None in it is a group of its own.

    References
    ----------
    Efron B., Tibshirani R.: An Introduction to the Bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> values = np.array([0.2, 0.4, 0.6])
    >>> mean = lambda weights: float(np.average(values, weights=weights))
    >>> interval = bootstrap_interval(mean, 3, resamples=200)
    >>> round(interval.estimate, 3), 0.2 <= interval.low < interval.high <= 0.6
    (0.4, True)
    """
    return bootstrap_intervals(
        lambda weights: {"": statistic(weights)},
        count,
        level=level,
        resamples=resamples,
        seed=seed,
        groups=groups,
    )[""]


def bootstrap_intervals(
    statistics: Callable[[ImageWeights], Mapping[str, float]],
    count: int,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, Interval]:
    """Return several figures of `count` images, each with its interval, from the same resamples.

    Parameters
    ----------
    statistics
        As for `bootstrap_interval`, but returns all figures by name: what they have in common, such
        as a curve, is computed once a resample.
    count, level, resamples, seed, groups
        As for `bootstrap_interval`.
    """
    if count < 1:
        raise ValueError("A bootstrap needs at least one image.")
    if not 0 < level < 1:
        raise ValueError(f"The level lies between 0 and 1, not {level}.")
    estimates = statistics(np.ones(count, np.int64))
    drawn = resampled_weights(count, resamples=resamples, seed=seed, groups=groups)
    rows = [statistics(weights) for weights in drawn]
    return {
        name: _interval(value, np.array([row[name] for row in rows], np.float64), level)
        for name, value in estimates.items()
    }


def _interval(estimate: float, values: npt.NDArray[np.float64], level: float) -> Interval:
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(estimate, math.nan, math.nan, level, 0)
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(estimate, float(low), float(high), level, len(values))


def resampled_weights(
    count: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> npt.NDArray[np.int64]:
    """Return how often each of `count` images counts in each resample.

    Returns
    -------
    weights
        int64, shape (resamples, count). As many groups are drawn as there are; the number of images
        in a resample varies with their sizes.
    """
    if groups is not None and len(groups) != count:
        raise ValueError(f"{len(groups)} groups are given for {count} images.")
    numbers = group_numbers(count, groups)
    distinct = int(numbers.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(distinct, np.full(distinct, 1 / distinct), size=resamples)
    return np.asarray(drawn[:, numbers], np.int64)


def group_numbers(count: int, groups: Sequence[Hashable] | None = None) -> npt.NDArray[np.int64]:
    """Return the number of each image's group from 0, int64, shape (count,).

    Without groups, or where an image's is None, the image is a group of its own.
    """
    names = range(count) if groups is None else groups
    keys = [("alone", index) if name is None else name for index, name in enumerate(names)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)
