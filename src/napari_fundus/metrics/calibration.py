"""Whether a probability means what it says: reliability, calibration error, temperature scaling."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

from napari_fundus.metrics.bootstrap import group_numbers

Floats = npt.NDArray[np.float64]

TEMPERATURE_BOUNDS = (0.05, 20.0)
"""Bounds of a fitted temperature; images classified without a mistake would drive it to 0."""


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Share of true images in each bin of the predicted probability.

    Attributes
    ----------
    edges
        float64, shape (B + 1,), ascending: bounds of the bins.
    predicted
        float64, shape (B,): mean probability in each bin; NaN in an empty one.
    observed
        float64, shape (B,): share of true images in each bin; NaN in an empty one.
    counts
        int64, shape (B,): images in each bin.
    """

    edges: Floats
    predicted: Floats
    observed: Floats
    counts: npt.NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean |predicted - observed|, weighted by images."""
        filled = self.counts > 0
        if not filled.any():
            return float("nan")
        distance = np.abs(self.predicted[filled] - self.observed[filled])
        return float(np.average(distance, weights=self.counts[filled]))


def reliability_curve(
    probability: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    weights: npt.NDArray[np.int64] | None = None,
) -> ReliabilityCurve:
    """Compare predicted probabilities with the shares of true images.

    Parameters
    ----------
    probability
        Values in [0, 1], shape (N,).
    truth
        bool, shape (N,). For several classes, see `top_class_confidence`.
    bins
        Number of bins; each is open below and closed above, the first holds 0 too.
    strategy
        ``"uniform"``: bins of equal width; ``"quantile"``: of about equally many images.
    weights
        How often each image counts, shape (N,): for the bootstrap. The bins stay where they are.

    References
    ----------
    Naeini M. P. et al.: Obtaining well calibrated probabilities using Bayesian binning. AAAI, 2015,
    2901–2907.

    Examples
    --------
    >>> curve = reliability_curve([0.1, 0.1, 0.9, 0.9], [False, False, True, False], bins=2)
    >>> [round(float(x), 3) for x in curve.observed], round(curve.error, 3)
    ([0.0, 0.5], 0.25)
    """
    predicted, true = _checked(probability, truth)
    if bins < 1:
        raise ValueError(f"There is at least one bin, not {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile" and len(predicted):
        edges = np.quantile(predicted, edges)
    index = np.searchsorted(edges[1:-1], predicted, side="left")
    times = np.ones(len(predicted)) if weights is None else weights.astype(np.float64)
    counts = np.bincount(index, times, bins)
    size = np.where(counts > 0, counts, np.nan)
    return ReliabilityCurve(
        edges,
        np.bincount(index, times * predicted, bins) / size,
        np.bincount(index, times * true, bins) / size,
        counts.astype(np.int64),
    )


def brier_score(
    probability: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    weights: npt.NDArray[np.int64] | None = None,
) -> float:
    """Return the mean squared distance of probabilities from what came true.

    Parameters
    ----------
    probability
        Shape (N,) with a yes-or-no truth: 0 at best, 1 at worst. Or shape (N, K) with a class as
        truth: squares are summed over the classes, 2 at worst.
    truth
        bool, or class from 0 to K - 1; shape (N,).
    weights
        How often each image counts, shape (N,).

    References
    ----------
    Brier G. W.: Verification of forecasts expressed in terms of probability. Monthly Weather Review
    78(1), 1950, 1–3.
    """
    predicted = np.asarray(probability, np.float64)
    if predicted.ndim == 1:
        predicted, true = _checked(predicted, truth)
        squares = (predicted - true) ** 2
    else:
        squares = ((predicted - np.eye(predicted.shape[1])[np.asarray(truth)]) ** 2).sum(axis=1)
    if not len(squares) or (weights is not None and not weights.any()):
        return float("nan")
    return float(np.average(squares, weights=weights))


def top_class_confidence(
    probability: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return how sure the likeliest class was, and whether it came true, for `reliability_curve`.

    Parameters
    ----------
    probability
        Shape (N, K), rows that sum to 1.
    truth
        Class from 0 to K - 1, shape (N,).
    """
    predicted = np.asarray(probability, np.float64)
    return predicted.max(axis=1), predicted.argmax(axis=1) == np.asarray(truth)


def to_logits(probability: npt.ArrayLike) -> Floats:
    """Return log-odds of yes-or-no probabilities, shape (N,); 0 and 1 become ±27.6."""
    return np.asarray(logit(np.clip(np.asarray(probability, np.float64), 1e-12, 1 - 1e-12)))


@dataclass(frozen=True)
class Temperature:
    """One number by which logits are divided, so that probabilities mean what they say.

    It moves no image past another: ROC and, for several classes, the likeliest class stay.

    Attributes
    ----------
    value
        Above 1 where the classifier was too sure of itself, below 1 where not sure enough.
    loss_before, loss_after
        Mean negative log-likelihood (nats an image) of the images it was fitted on.
    at_bound
        Whether it ran into a bound of `TEMPERATURE_BOUNDS`: these images cannot settle it.
    """

    value: float
    loss_before: float
    loss_after: float
    at_bound: bool = False

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return probabilities: of yes, shape (N,), or of each class, shape (N, K), as `logits`."""
        scaled = np.asarray(logits, np.float64) / self.value
        return np.asarray(expit(scaled) if scaled.ndim == 1 else softmax(scaled, axis=1))


def fit_temperature(logits: npt.ArrayLike, truth: npt.ArrayLike) -> Temperature:
    """Fit the temperature at which the truth is likeliest.

    Fit it on images that are not measured on; the training images are too well known.

    Parameters
    ----------
    logits
        Log-odds of yes, shape (N,), or one value a class, shape (N, K).
    truth
        bool, or class from 0 to K - 1; shape (N,).

    References
    ----------
    Guo C. et al.: On calibration of modern neural networks. ICML, 2017, 1321–1330.

    Examples
    --------
    Eight of ten answers come true, but log-odds of 4 speak of 98 %:

    >>> fitted = fit_temperature([4.0] * 10, [True] * 8 + [False] * 2)
    >>> fitted.apply([4.0]).round(3)
    array([0.8])
    """
    values, true = np.asarray(logits, np.float64), np.asarray(truth)
    if not len(values) or len(values) != len(true):
        raise ValueError(f"{len(true)} truths are given for {len(values)} images.")
    if not np.isfinite(values).all():
        raise ValueError("Logits are finite.")

    def loss(temperature: float) -> float:
        return _loss(values / temperature, true)

    best = best_temperature(loss)
    at_bound = min(abs(np.log(best) - np.log(TEMPERATURE_BOUNDS))) < 1e-3
    return Temperature(best, loss(1.0), loss(best), bool(at_bound))


def best_temperature(loss: Callable[[float], float]) -> float:
    """Return the temperature within `TEMPERATURE_BOUNDS` at which a loss is least.

    Parameters
    ----------
    loss
        Temperature to mean negative log-likelihood of the logits divided by it.

    Examples
    --------
    >>> round(best_temperature(lambda temperature: (temperature - 2) ** 2), 3)
    2.0
    """
    # The loss is convex in 1/T, so it has one minimum in log T as well.
    bounds = tuple(np.log(TEMPERATURE_BOUNDS))
    best = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def cross_fit_temperature(
    logits: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return probabilities scaled by temperatures fitted on other images.

    Where no further images are at hand, this estimates what temperature scaling is worth without
    measuring it on the images that it was fitted on.

    Parameters
    ----------
    logits, truth
        As for `fit_temperature`.
    groups
        One an image: those of one group, such as one eye, share a fold. None in it is a group of
        its own.
    folds
        Number of parts; the temperature of each is fitted on all others.
    seed
        Of the parts.
    """
    values, true = np.asarray(logits, np.float64), np.asarray(truth)
    numbers = group_numbers(len(values), groups)
    distinct = int(numbers.max(initial=-1)) + 1
    if not 2 <= folds <= distinct:
        raise ValueError(f"{distinct} groups of images do not fill {folds} folds.")
    part_of = np.empty(distinct, np.int64)
    part_of[np.random.default_rng(seed).permutation(distinct)] = np.arange(distinct) % folds
    part = part_of[numbers]
    scaled = np.empty_like(values)
    for number in range(folds):
        here = part == number
        scaled[here] = fit_temperature(values[~here], true[~here]).apply(values[here])
    return scaled


def _loss(logits: Floats, truth: npt.NDArray[Any]) -> float:
    """Return the mean negative log-likelihood."""
    if logits.ndim == 1:
        # -log sigmoid(x) = log(1 + exp(-x)), which must not overflow.
        return float(np.logaddexp(0, np.where(truth, -logits, logits)).mean())
    chosen = np.take_along_axis(log_softmax(logits, axis=1), truth[:, np.newaxis], axis=1)
    return float(-chosen.mean())


def _checked(
    probability: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    predicted, true = np.asarray(probability, np.float64), np.asarray(truth, np.bool_)
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise ValueError(f"{true.shape} truths are given for {predicted.shape} probabilities.")
    if predicted.size and not (predicted.min() >= 0 and predicted.max() <= 1):
        raise ValueError("Probabilities lie in [0, 1] and are not NaN.")
    return predicted, true
