"""Precision and recall of pixels pooled over images at 33, 11 or all thresholds, and their AUPR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.map_levels import (
    QUANTIZATION_LEVELS,
    check_map,
    level_values,
    quantize_map,
)

if TYPE_CHECKING:
    from torch import Tensor

Counts = npt.NDArray[np.int64]

CHALLENGE_THRESHOLDS = 33
"""Thresholds 0, 1/32, …, 1, as in the IDRiD challenge."""

_ALL_THRESHOLDS = 0
"""Stands for the thresholds at which images are kept apart for the bootstrap of the exact area."""


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Counts of pixels at each threshold, and what follows from them.

    A pixel is predicted positive where its probability is at least the threshold.

    Attributes
    ----------
    thresholds
        float64, shape (T,), ascending.
    true_positives, false_positives
        Shape (T,): int64, or float64 where pixels have weights.
    positives
        True lesion pixels.
    protocol
        How the thresholds were chosen, for reports.
    """

    thresholds: npt.NDArray[np.float64]
    true_positives: npt.NDArray[Any]
    false_positives: npt.NDArray[Any]
    positives: float
    protocol: str

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """TP / (TP + FP), shape (T,); 1 where nothing is predicted."""
        return _divide(self.true_positives, self.true_positives + self.false_positives, 1.0)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """TP / (TP + FN), shape (T,); NaN where no pixel is a true one."""
        if self.positives == 0:
            return np.full(len(self.thresholds), np.nan)
        return np.asarray(self.true_positives / self.positives)

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """Harmonic mean of precision and recall (Dice of the pooled pixels), shape (T,)."""
        predicted = self.true_positives + self.false_positives
        return _divide(2 * self.true_positives, predicted + self.positives, np.nan)

    @property
    def aupr(self) -> float:
        """Area below precision over recall by the trapezoid rule; NaN without true pixels."""
        if self.positives == 0:
            return float("nan")
        # Thresholds ascend, so recall falls: reversed, it is sorted, and points of equal recall
        # stand in the order in which the curve passes them.
        return float(np.trapezoid(self.precision[::-1], self.recall[::-1]))

    @property
    def average_precision(self) -> float:
        """Area below precision over recall as a sum of steps; NaN without true pixels.

        A map that never exceeds 1/32 has an AUPR of 0.5 (one trapezoid from precision 1 at recall 0
        to precision 0 at recall 1) and an average precision near 0.
        """
        return float(self.precision @ -np.diff(self.recall, append=0.0))


def _divide(
    part: npt.NDArray[Any], whole: npt.NDArray[Any], otherwise: float
) -> npt.NDArray[np.float64]:
    ratio: npt.NDArray[np.float64] = np.full(len(whole), otherwise)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


class PixelHistogram:
    """Pools the pixels of many images on the grid of levels, one image at a time.

    Values are rounded down to multiples of 1/64000, among which are all usual thresholds, so that
    two histograms an image are enough. All images together leave two numbers a level, each image
    two a threshold.

    Parameters
    ----------
    steps
        Numbers of thresholds equally spaced from 0 to 1: 33 as in the IDRiD challenge
        (0, 1/32, …, 1); 11 gives 0, 0.1, …, 1; 0 stands for every threshold.

    References
    ----------
    Porwal P. et al.: IDRiD: Diabetic Retinopathy – Segmentation and Grading Challenge. Medical
    Image Analysis 59, 2020, 101561.

    Examples
    --------
    >>> pixels = PixelHistogram((33,))
    >>> pixels.add(np.float32([[0.9, 0.1], [0.6, 0.0]]), np.array([[True, False], [True, False]]))
    1.0
    >>> pixels.curve().aupr
    1.0
    """

    def __init__(self, steps: tuple[int, ...] = (33, 11, 0)) -> None:
        self._spaced = {n: _threshold_levels(n) for n in (*steps, CHALLENGE_THRESHOLDS)}
        self._positive: dict[int, list[Counts]] = {n: [] for n in self._spaced}
        self._negative: dict[int, list[Counts]] = {n: [] for n in self._spaced}
        self._pooled = np.zeros((2, QUANTIZATION_LEVELS + 1), np.int64)
        self._images = 0

    def __len__(self) -> int:
        return self._images

    def add(self, probability: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
        """Count one image, and return its own AUPR at 33 thresholds.

        Parameters
        ----------
        probability
            Values in [0, 1], any shape.
        truth
            bool (or 0 and other), the same shape.
        """
        truth = np.asarray(truth) != 0
        probability = check_map(probability, truth.shape)
        levels = quantize_map(probability)
        everything = np.bincount(levels.ravel(), minlength=QUANTIZATION_LEVELS + 1)
        positive = np.bincount(levels[truth], minlength=QUANTIZATION_LEVELS + 1)
        self._pooled += np.stack([positive, everything - positive])
        for which, counted in (
            (self._positive, positive),
            (self._negative, everything - positive),
        ):
            at_least = np.cumsum(counted[::-1])[::-1]
            for number, edges in self._spaced.items():
                which[number].append(at_least[edges])
        self._images += 1
        last = self._positive[CHALLENGE_THRESHOLDS][-1], self._negative[CHALLENGE_THRESHOLDS][-1]
        return self._curve(CHALLENGE_THRESHOLDS, *last).aupr

    def curve(
        self, steps: int = CHALLENGE_THRESHOLDS, weights: Counts | None = None
    ) -> PrecisionRecallCurve:
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
        nothing = np.zeros((0, len(self._spaced[steps])), np.int64)
        positive, negative = (
            times @ np.stack(counted[steps]) if len(self) else nothing.sum(axis=0)
            for counted in (self._positive, self._negative)
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


def aupr(
    probabilities: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    truths: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    *,
    steps: int | None = CHALLENGE_THRESHOLDS,
) -> float:
    """Return the area below the precision-recall curve of pooled pixels.

    Parameters
    ----------
    probabilities, truths
        One map (H, W), or its chosen pixels (N,), and the truth of the same shape; or an iterable
        of each, in the same order.
    steps
        Number of equally spaced thresholds: 33 (the IDRiD challenge) or 11; None for the area over
        every threshold (multiples of 1/64000).

    Returns
    -------
    float
        In [0, 1]; NaN if there is no true pixel.
    """
    pixels = PixelHistogram((steps or _ALL_THRESHOLDS,))
    if isinstance(probabilities, np.ndarray) and probabilities.ndim <= 2:
        # Chosen pixels are one row; as an iterable, each would be an image.
        probabilities, truths = [probabilities], [np.asarray(truths)]
    for probability, truth in zip(probabilities, truths, strict=True):
        pixels.add(probability, truth)
    return pixels.curve(steps or _ALL_THRESHOLDS).aupr


def count_pixels(
    probability: Tensor, target: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """Count, on their device, the pixels at or above each of the challenge's thresholds.

    Parameters
    ----------
    probability
        Float, values in [0, 1], any shape.
    target
        Same shape, 0 or 1.
    weight
        Same shape: how much each pixel counts; 0 outside the field of view. None: 1 everywhere.

    Returns
    -------
    dict
        ``found_NN`` and ``hits_NN``: pixels, and lesion pixels, at or above threshold number NN.
        Sums of several batches are those of all their pixels.
    """
    import torch

    weight = torch.ones_like(probability, dtype=torch.float32) if weight is None else weight.float()
    # Times 32 is exact in binary: a level says which thresholds are reached. Sums of comparisons,
    # since a weighted histogram is not repeatable on a GPU.
    levels = (probability.float() * (CHALLENGE_THRESHOLDS - 1)).floor()
    hit = weight * target.float()
    sums: dict[str, Tensor] = {}
    for number in range(CHALLENGE_THRESHOLDS):
        reached = (levels >= number).float()
        sums[f"found_{number:02}"] = (reached * weight).sum()
        sums[f"hits_{number:02}"] = (reached * hit).sum()
    return sums


def pixel_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of pixels counted by :func:`count_pixels`.

    Returns
    -------
    dict
        ``aupr`` (trapezoids, as in the challenge), ``average_precision`` (steps), and at threshold
        1/2 ``dice``, ``precision``, ``recall``; NaN without any lesion pixel. Precision is 1 where
        nothing is found.

    Examples
    --------
    >>> import torch
    >>> sums = count_pixels(torch.tensor([0.9, 0.6, 0.1]), torch.tensor([1, 1, 0]))
    >>> {name: round(value, 3) for name, value in pixel_metrics(sums).items()}
    {'aupr': 1.0, 'average_precision': 1.0, 'dice': 1.0, 'precision': 1.0, 'recall': 1.0}
    """
    hits, found = (
        np.array([float(sums[f"{kind}_{number:02}"]) for number in range(CHALLENGE_THRESHOLDS)])
        for kind in ("hits", "found")
    )
    thresholds = np.linspace(0, 1, CHALLENGE_THRESHOLDS)
    curve = PrecisionRecallCurve(thresholds, hits, found - hits, hits[0], "pixels with weights")
    half = CHALLENGE_THRESHOLDS // 2
    return {
        "aupr": curve.aupr,
        "average_precision": curve.average_precision,
        "dice": float(curve.f1[half]),
        "precision": float(curve.precision[half]),
        "recall": float(curve.recall[half]),
    }
