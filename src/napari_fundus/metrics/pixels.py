"""Precision-recall of pooled pixels at 33, 11 and all thresholds, from one histogram an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.precision_recall import PrecisionRecallCurve
from napari_fundus.metrics.quantization import QUANTIZATION_LEVELS, level_values, quantize_map

__all__ = ["PixelHistogram"]

Counts = npt.NDArray[np.int64]

_ALL_THRESHOLDS = 0
"""Stands for the thresholds at which images are kept apart for the bootstrap of the exact area."""


class PixelHistogram:
    """Pools the pixels of many images on the grid of levels, one image at a time.

    The figures are those of `PixelCounts` and `ExactPixelCounts`, several times as fast: every
    threshold lies on the grid, so that two histograms an image hold all that is needed. All images
    together leave two numbers a level, each image two a threshold.

    Parameters
    ----------
    steps
        Numbers of thresholds equally spaced from 0 to 1; 0 stands for every threshold.

    Examples
    --------
    >>> pixels = PixelHistogram((33,))
    >>> pixels.add(np.float32([[0.9, 0.1], [0.6, 0.0]]), np.array([[True, False], [True, False]]))
    1.0
    >>> pixels.curve(33).aupr
    1.0
    """

    def __init__(self, steps: tuple[int, ...] = (33, 11, 0)) -> None:
        self._spaced = {n: _threshold_levels(n) for n in (*steps, 33)}
        self._positive: dict[int, list[Counts]] = {n: [] for n in self._spaced}
        self._negative: dict[int, list[Counts]] = {n: [] for n in self._spaced}
        self._pooled = np.zeros((2, QUANTIZATION_LEVELS + 1), np.int64)
        self._images = 0

    def __len__(self) -> int:
        return self._images

    def add(self, probability: npt.NDArray[Any], truth: npt.NDArray[np.bool_]) -> float:
        """Count one image, and return its own AUPR at 33 thresholds.

        Parameters
        ----------
        probability
            Values in [0, 1], shape (H, W).
        truth
            bool, shape (H, W).
        """
        levels = quantize_map(probability)
        everything = np.bincount(levels.ravel(), minlength=QUANTIZATION_LEVELS + 1)
        positive = np.bincount(levels[truth], minlength=QUANTIZATION_LEVELS + 1)
        self._pooled += np.stack([positive, everything - positive])
        for which, counted in (
            (self._positive, positive),
            (self._negative, everything - positive),
        ):
            at_least = np.cumsum(counted[::-1])[::-1]
            for number, places in self._spaced.items():
                which[number].append(at_least[places])
        self._images += 1
        return self._curve(33, self._positive[33][-1], self._negative[33][-1]).aupr

    def curve(self, steps: int, weights: Counts | None = None) -> PrecisionRecallCurve:
        """Return the curve of all images added.

        Parameters
        ----------
        steps
            Number of thresholds; 0 for every level that occurs, and a last, infinite one.
        weights
            How often each image counts, for the bootstrap; with `steps` 0 the curve is then that of
            some 1,200 thresholds, dense where values are small.
        """
        if steps == 0 and weights is None:
            used = np.flatnonzero(self._pooled.any(axis=0))
            positive, negative = (np.cumsum(c[::-1])[::-1][used] for c in self._pooled)
            return PrecisionRecallCurve(
                np.append(level_values()[used].astype(np.float64), np.inf),
                np.append(positive, 0),
                np.append(negative, 0),
                int(self._pooled[0].sum()),
                "pixels pooled, every threshold",
            )
        times = np.ones(len(self), np.int64) if weights is None else weights
        positive, negative = (
            times @ np.stack(counted[steps]) for counted in (self._positive, self._negative)
        )
        return self._curve(steps, positive, negative)

    def _curve(self, steps: int, positive: Counts, negative: Counts) -> PrecisionRecallCurve:
        thresholds = level_values()[self._spaced[steps]].astype(np.float64)
        if steps == _ALL_THRESHOLDS:
            thresholds = np.append(thresholds, np.inf)
            positive, negative = np.append(positive, 0), np.append(negative, 0)
        return PrecisionRecallCurve(
            thresholds,
            positive,
            negative,
            int(positive[0]),  # every pixel is at or above threshold 0
            f"pixels pooled, {steps or len(thresholds)} thresholds",
        )


def _threshold_levels(steps: int) -> npt.NDArray[np.intp]:
    """Return the levels of equally spaced thresholds, or of those that stand for all."""
    if steps != _ALL_THRESHOLDS:
        thresholds = np.linspace(0, 1, steps).astype(np.float32)
        return np.searchsorted(level_values(), thresholds, side="left")
    # Most pixels of most maps are near 0, where a step may hold a large share of the recall.
    spread = [
        np.arange(200),
        np.geomspace(200, QUANTIZATION_LEVELS, 600),
        np.linspace(0, QUANTIZATION_LEVELS, 501),
    ]
    return np.unique(np.rint(np.concatenate(spread)).astype(np.intp))
