"""Scores of whole images against a yes or no: ROC, operating points, figures with intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.bootstrap import (
    ImageWeights,
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    resampled_weights,
)
from napari_fundus.metrics.confusion import ConfusionMatrix

PUBLISHED_SENSITIVITY = 0.936
"""Sensitivity at which the specificity for referable retinopathy is published (DIARETDB1)."""

PUBLISHED_SPECIFICITY = 0.976
"""Specificity at which that sensitivity is published."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RocPoint:
    """What a threshold yields: images at or above it are called positive."""

    threshold: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Sensitivity and specificity at every threshold that makes a difference, the highest first.

    Attributes
    ----------
    thresholds
        float64, shape (T,), descending; the first is infinite: nothing is positive.
    sensitivity, specificity
        float64, shape (T,); NaN where no image is positive, or none negative.
    """

    thresholds: Floats
    sensitivity: Floats
    specificity: Floats

    @property
    def auc(self) -> float:
        """Area below the curve by the trapezoid rule: ties count one half."""
        return float(np.trapezoid(self.sensitivity, 1 - self.specificity))

    def at_sensitivity(self, least: float) -> RocPoint:
        """Return the point of highest specificity whose sensitivity is `least` or more."""
        # Rounding must not push a threshold that reaches it exactly below it.
        return self._best(self.sensitivity >= least - 1e-12, self.specificity)

    def at_specificity(self, least: float) -> RocPoint:
        """Return the point of highest sensitivity whose specificity is `least` or more."""
        return self._best(self.specificity >= least - 1e-12, self.sensitivity)

    def _best(self, allowed: npt.NDArray[np.bool_], value: Floats) -> RocPoint:
        if not allowed.any() or np.isnan(value).any():
            return RocPoint(float("nan"), float("nan"), float("nan"))
        index = int(np.argmax(np.where(allowed, value, -1)))
        return RocPoint(
            float(self.thresholds[index]),
            float(self.sensitivity[index]),
            float(self.specificity[index]),
        )


@dataclass(frozen=True, eq=False)
class RocBand:
    """Where the curve would lie with other images: an interval of sensitivity at each specificity.

    Attributes
    ----------
    specificity
        float64, shape (G,), ascending from 0 to 1.
    low, high
        float64, shape (G,): the interval's ends.
    level
        Coverage at each specificity, e.g. 0.95.
    """

    specificity: Floats
    low: Floats
    high: Floats
    level: float


class BinaryScores:
    """Scores of images whose truth is yes or no; sorted once for all resamples.

    Parameters
    ----------
    truth
        bool, shape (N,): e.g. whether the retinopathy is referable (grade 2 or above).
    score
        Shape (N,); the higher, the surer. Any finite values; probabilities lie in [0, 1].
    groups
        One an image: those of one eye are drawn together in the bootstrap. None draws images.

    Examples
    --------
    >>> scores = BinaryScores([False, False, True, True], [0.1, 0.4, 0.35, 0.8])
    >>> scores.roc().auc
    0.75
    >>> scores.confusion(0.5).sensitivity
    0.5
    """

    def __init__(
        self,
        truth: npt.ArrayLike,
        score: npt.ArrayLike,
        *,
        groups: Sequence[Hashable] | None = None,
    ) -> None:
        self.truth = np.asarray(truth, np.bool_)
        self.score = np.asarray(score, np.float64)
        self.groups = groups
        if self.truth.shape != self.score.shape or self.truth.ndim != 1:
            raise ValueError(f"{self.truth.shape} truths are given for {self.score.shape} scores.")
        if not np.isfinite(self.score).all():
            raise ValueError("Scores are finite.")

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def _order(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Images by falling score, and the last place of each run of equal scores."""
        order = np.argsort(-self.score, kind="stable")
        score = self.score[order]
        return order, np.flatnonzero(np.append(score[1:] != score[:-1], bool(len(score))))

    def roc(self, weights: ImageWeights | None = None) -> RocCurve:
        """Return the curve; `weights`, shape (N,), tell how often each image counts."""
        order, last = self._order
        times = np.ones(len(self), np.int64) if weights is None else weights
        yes = np.append(0, np.cumsum((times * self.truth)[order])[last])
        no = np.append(0, np.cumsum((times * ~self.truth)[order])[last])
        nothing = np.full(len(yes), np.nan)
        return RocCurve(
            np.append(np.inf, self.score[order][last]),
            yes / yes[-1] if yes[-1] else nothing,
            1 - no / no[-1] if no[-1] else nothing,
        )

    def confusion(self, threshold: float, weights: ImageWeights | None = None) -> ConfusionMatrix:
        """Return the table of images called positive at or above `threshold`."""
        return ConfusionMatrix.of(self.truth, self.score >= threshold, classes=2, weights=weights)

    def interval(
        self, statistic: Callable[[ImageWeights], float], *, resamples: int = 1000, seed: int = 0
    ) -> Interval:
        """Return the bootstrap interval of a `statistic` of these images' weights."""
        return bootstrap_interval(
            statistic, len(self), resamples=resamples, seed=seed, groups=self.groups
        )

    def metrics(
        self,
        threshold: float = 0.5,
        *,
        sensitivity: float = PUBLISHED_SENSITIVITY,
        specificity: float = PUBLISHED_SPECIFICITY,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Interval]:
        """Return the figures of a report, each with its interval.

        Parameters
        ----------
        threshold
            Images at or above it are called positive.
        sensitivity, specificity
            Operating points: the specificity at that sensitivity, and the other way round. Their
            thresholds are chosen on these same images, anew in each resample.
        resamples, seed
            Of the bootstrap.

        Returns
        -------
        dict
            ``auc``, ``accuracy``, ``sensitivity``, ``specificity``, ``precision``, ``f1``,
            ``kappa`` (of the two classes), ``specificity_at_sensitivity``,
            ``sensitivity_at_specificity``.
        """

        def metrics(weights: ImageWeights) -> dict[str, float]:
            curve, table = self.roc(weights), self.confusion(threshold, weights)
            return {
                "auc": curve.auc,
                "accuracy": table.accuracy,
                "sensitivity": table.sensitivity,
                "specificity": table.specificity,
                "precision": float(table.precision[1]),
                "f1": float(table.f1[1]),
                "kappa": table.kappa(),
                "specificity_at_sensitivity": curve.at_sensitivity(sensitivity).specificity,
                "sensitivity_at_specificity": curve.at_specificity(specificity).sensitivity,
            }

        return bootstrap_intervals(
            metrics, len(self), resamples=resamples, seed=seed, groups=self.groups
        )

    def band(self, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> RocBand:
        """Return the interval of sensitivity at each specificity, by the same bootstrap."""
        grid = np.linspace(0, 1, 101)
        drawn = resampled_weights(len(self), resamples=resamples, seed=seed, groups=self.groups)
        rows = []
        for weights in drawn:
            curve = self.roc(weights)
            if not np.isnan(curve.auc):
                rows.append(_sensitivity_at(curve, grid))
        if not rows:
            undefined = np.full(len(grid), np.nan)
            return RocBand(grid, undefined, undefined, level)
        tail = 50 * (1 - level)
        low, high = np.percentile(rows, [tail, 100 - tail], axis=0)
        return RocBand(grid, low, high, level)


def _sensitivity_at(curve: RocCurve, specificity: Floats) -> Floats:
    """Return the best sensitivity with at least each `specificity`, without interpolation."""
    # Specificity falls along the curve and sensitivity rises: the last point that is allowed.
    allowed = np.searchsorted(-curve.specificity, -specificity + 1e-12, side="right") - 1
    return curve.sensitivity[allowed]


@dataclass(frozen=True, eq=False)
class GradePredictions:
    """Images with a true and a predicted grade.

    Attributes
    ----------
    truth, predicted
        Integers from 0 to `classes` - 1, shape (N,).
    classes
        5 for the international grades of retinopathy.
    groups
        One an image, as for `BinaryScores`.
    """

    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    classes: int = 5
    groups: Sequence[Hashable] | None = None

    def confusion(self, weights: ImageWeights | None = None) -> ConfusionMatrix:
        """Return how many images of each grade were predicted as which."""
        return ConfusionMatrix.of(self.truth, self.predicted, classes=self.classes, weights=weights)

    def metrics(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """Return ``accuracy``, ``kappa`` (quadratic) and ``macro_f1``, each with its interval."""

        def metrics(weights: ImageWeights) -> dict[str, float]:
            table = self.confusion(weights)
            return {"accuracy": table.accuracy, "kappa": table.kappa(), "macro_f1": table.macro_f1}

        return bootstrap_intervals(
            metrics, len(self.truth), resamples=resamples, seed=seed, groups=self.groups
        )
