"""Precision-recall curves of pixels pooled over images, and the area below them (AUPR)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ExactPixelCounts", "PixelCounts", "PrecisionRecallCurve", "aupr"]

Counts = npt.NDArray[np.int64]
BoolMap = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Counts of pixels at each threshold, and what follows from them.

    A pixel is predicted positive where its probability is at least the threshold.

    Attributes
    ----------
    thresholds
        float64, shape (T,), ascending.
    true_positives, false_positives
        int64, shape (T,).
    positives
        True lesion pixels.
    protocol
        How the thresholds were chosen, for reports.
    """

    thresholds: npt.NDArray[np.float64]
    true_positives: Counts
    false_positives: Counts
    positives: int
    protocol: str

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """TP / (TP + FP), shape (T,); 1 where nothing is predicted."""
        predicted = self.true_positives + self.false_positives
        return np.where(predicted > 0, self.true_positives / np.maximum(predicted, 1), 1.0)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """TP / (TP + FN), shape (T,); NaN where no pixel is a true one."""
        if self.positives == 0:
            return np.full(len(self.thresholds), np.nan)
        return np.asarray(self.true_positives / self.positives)

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """Harmonic mean of precision and recall (Dice of the pooled pixels), shape (T,)."""
        predicted = self.true_positives + self.false_positives + self.positives
        return np.where(predicted > 0, 2 * self.true_positives / np.maximum(predicted, 1), np.nan)

    @property
    def aupr(self) -> float:
        """Area below precision over recall by the trapezoid rule; NaN without true pixels."""
        if self.positives == 0:
            return float("nan")
        # Thresholds ascend, so recall falls: reversed, it is sorted, and points of equal recall
        # stand in the order in which the curve passes them.
        return float(np.trapezoid(self.precision[::-1], self.recall[::-1]))


class PixelCounts:
    """Pools the pixels of many images at fixed thresholds, one image at a time.

    Memory does not grow with the images' size: each leaves two numbers a threshold.

    Parameters
    ----------
    steps
        Number of thresholds, equally spaced from 0 to 1: 33 as in the IDRiD challenge
        (0, 1/32, …, 1); 11 gives 0, 0.1, …, 1.

    References
    ----------
    Porwal P. et al.: IDRiD: Diabetic Retinopathy – Segmentation and Grading Challenge. Medical
    Image Analysis 59, 2020, 101561.

    Examples
    --------
    >>> counts = PixelCounts()
    >>> truth = np.array([[True, False], [True, False]])
    >>> counts.add(np.array([[0.9, 0.1], [0.6, 0.0]], np.float32), truth)
    >>> round(counts.curve().aupr, 3)
    1.0
    """

    def __init__(self, steps: int = 33) -> None:
        if steps < 2:
            raise ValueError(f"A curve needs at least 2 thresholds, not {steps}.")
        self.thresholds = np.linspace(0, 1, steps)
        self._positive: list[Counts] = []
        self._negative: list[Counts] = []

    def __len__(self) -> int:
        return len(self._positive)

    def add(
        self,
        probability: npt.NDArray[Any],
        truth: npt.NDArray[Any],
        field_of_view: BoolMap | None = None,
    ) -> None:
        """Count the pixels of one image.

        Parameters
        ----------
        probability
            Values in [0, 1], shape (H, W).
        truth
            bool (or 0 and other), shape (H, W).
        field_of_view
            bool, shape (H, W): pixels outside are left out. None counts the whole image, as the
            challenge does.
        """
        probability, truth = _checked(probability, truth, field_of_view)
        edges = self.thresholds.astype(np.float32)
        size = len(edges) + 1
        below = np.searchsorted(edges, probability, side="right")
        everything = np.bincount(below, minlength=size)
        positive = np.bincount(below[truth], minlength=size)
        self._positive.append(_at_least(positive))
        self._negative.append(_at_least(everything - positive))

    def extend(self, other: PixelCounts) -> None:
        """Add the images of `other`, counted elsewhere at the same thresholds, after one's own."""
        if len(other.thresholds) != len(self.thresholds):
            raise ValueError(
                f"The thresholds differ: {len(self.thresholds)} and {len(other.thresholds)}."
            )
        self._positive += other._positive
        self._negative += other._negative

    def curve(self, weights: npt.NDArray[np.int64] | None = None) -> PrecisionRecallCurve:
        """Return the curve of all images added.

        Parameters
        ----------
        weights
            How often each image counts, int64, shape (number of images,): for the bootstrap. None
            counts each once.
        """
        if not self._positive:
            zeros = np.zeros(len(self.thresholds), np.int64)
            return PrecisionRecallCurve(self.thresholds, zeros, zeros, 0, self.protocol)
        if weights is None:
            weights = np.ones(len(self), np.int64)
        positive = weights @ np.stack(self._positive)
        negative = weights @ np.stack(self._negative)
        # Every pixel is at or above threshold 0.
        return PrecisionRecallCurve(
            self.thresholds, positive, negative, int(positive[0]), self.protocol
        )

    @property
    def protocol(self) -> str:
        """How the thresholds were chosen, for reports."""
        return f"pixels pooled, {len(self.thresholds)} thresholds"


class ExactPixelCounts:
    """Pools the pixels of many images at every threshold that makes a difference.

    Memory grows with the number of different values in the maps: 20 bytes each.
    """

    protocol = "pixels pooled, every threshold"

    def __init__(self) -> None:
        self._values = np.empty(0, np.float32)
        self._positive = np.empty(0, np.int64)
        self._negative = np.empty(0, np.int64)

    def add(
        self,
        probability: npt.NDArray[Any],
        truth: npt.NDArray[Any],
        field_of_view: BoolMap | None = None,
    ) -> None:
        """Count the pixels of one image; parameters as `PixelCounts.add`."""
        probability, truth = _checked(probability, truth, field_of_view)
        values, where = np.unique(probability, return_inverse=True)
        positive = np.bincount(where[truth], minlength=len(values))
        negative = np.bincount(where, minlength=len(values)) - positive
        merged, place = np.unique(np.concatenate([self._values, values]), return_inverse=True)
        known = len(self._values)
        both = np.zeros((2, len(merged)), np.int64)
        both[:, place[:known]] = self._positive, self._negative
        both[:, place[known:]] += np.stack([positive, negative])
        self._values, (self._positive, self._negative) = merged, both

    def curve(self) -> PrecisionRecallCurve:
        """Return the curve; its last threshold is infinite: nothing predicted, precision 1."""
        thresholds = np.append(self._values.astype(np.float64), np.inf)
        positive = np.append(np.cumsum(self._positive[::-1])[::-1], 0)
        negative = np.append(np.cumsum(self._negative[::-1])[::-1], 0)
        return PrecisionRecallCurve(thresholds, positive, negative, int(positive[0]), self.protocol)


def aupr(
    probabilities: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    truths: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    *,
    steps: int | None = 33,
) -> float:
    """Return the area below the precision-recall curve of pooled pixels.

    Parameters
    ----------
    probabilities, truths
        One map (H, W), or its chosen pixels (N,), and the truth of the same shape; or an iterable
        of each, in the same order.
    steps
        Number of equally spaced thresholds: 33 (the IDRiD challenge) or 11; None for the exact
        area over every threshold.

    Returns
    -------
    float
        In [0, 1]; NaN if there is no true pixel.
    """
    counts = ExactPixelCounts() if steps is None else PixelCounts(steps)
    if isinstance(probabilities, np.ndarray) and probabilities.ndim <= 2:
        # Pixels already chosen come as one row; taken for an iterable, each would be an image.
        probabilities, truths = [probabilities], [np.asarray(truths)]
    for probability, truth in zip(probabilities, truths, strict=True):
        counts.add(probability, truth)
    return counts.curve().aupr


def _at_least(histogram: Counts) -> Counts:
    """Turn pixels between thresholds into pixels at or above each."""
    return np.cumsum(histogram[::-1])[::-1][1:].astype(np.int64)


def _checked(
    probability: npt.NDArray[Any], truth: npt.NDArray[Any], field_of_view: BoolMap | None
) -> tuple[npt.NDArray[np.float32], BoolMap]:
    """Return map and truth, flat, restricted to the field of view."""
    probability = np.asarray(probability, np.float32)
    truth = np.asarray(truth) != 0
    if probability.shape != truth.shape:
        raise ValueError(f"The map has shape {probability.shape}, the truth {truth.shape}.")
    if field_of_view is not None:
        if field_of_view.shape != truth.shape:
            raise ValueError(
                f"The field of view has shape {field_of_view.shape}, the truth {truth.shape}."
            )
        probability, truth = probability[field_of_view], truth[field_of_view]
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError("Probabilities lie in [0, 1] and are not NaN.")
    return probability.ravel(), truth.ravel()
