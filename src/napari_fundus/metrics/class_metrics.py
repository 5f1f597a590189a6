"""Figures of a classifier on whole images: AUC, kappa, sensitivity, calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import TrainingError

__all__ = ["auc", "binary_metrics", "confusion_counts", "fit_temperature", "quadratic_kappa"]


def auc(score: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: how often a diseased image scores above a healthy one.

    Parameters
    ----------
    score
        Float, shape (N,); higher means diseased.
    truth
        0 or 1, shape (N,).

    Returns
    -------
    float
        Ties count half; NaN where only one class is there.

    Examples
    --------
    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    values = np.asarray(score, np.float64)
    positive = np.asarray(truth, np.bool_)
    diseased = int(positive.sum())
    healthy = len(positive) - diseased
    if not diseased or not healthy:
        return float("nan")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    # Mean rank of equal values, from 1.
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    surplus = float(rank[positive].sum()) - diseased * (diseased + 1) / 2
    return surplus / (diseased * healthy)


def confusion_counts(
    truth: npt.ArrayLike, found: npt.ArrayLike, classes: int
) -> npt.NDArray[np.int64]:
    """Return how often each class was found as each: shape (classes, classes), truth by row."""
    both = np.asarray(truth, np.int64) * classes + np.asarray(found, np.int64)
    return np.bincount(both, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def quadratic_kappa(truth: npt.ArrayLike, found: npt.ArrayLike, classes: int) -> float:
    """Return Cohen's kappa with quadratic weights.

    Parameters
    ----------
    truth, found
        Classes 0 to ``classes - 1``, shape (N,).
    classes
        Their number.

    Returns
    -------
    float
        1 where all agree, 0 as by chance; 0 too where neither varies, so that nothing is told.

    References
    ----------
    J. Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968.

    Examples
    --------
    >>> quadratic_kappa([0, 1, 2, 2], [0, 1, 2, 1], 3)
    0.8
    """
    table = confusion_counts(truth, found, classes).astype(np.float64)
    apart = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1)
    expected = float((apart * chance).sum())
    return 1 - float((apart * table).sum()) / expected if expected > 0 else 0.0


def binary_metrics(truth: npt.ArrayLike, found: npt.ArrayLike) -> dict[str, float]:
    """Return accuracy, sensitivity and specificity; NaN where there is nothing to find them on."""
    table = confusion_counts(truth, found, 2)
    healthy, diseased = table.sum(axis=1)
    return {
        "accuracy": float(np.trace(table) / table.sum()) if table.sum() else float("nan"),
        "sensitivity": float(table[1, 1] / diseased) if diseased else float("nan"),
        "specificity": float(table[0, 0] / healthy) if healthy else float("nan"),
    }


def fit_temperature(loss: Callable[[float], float], *, limit: float = 20.0) -> float:
    """Return the temperature that makes probabilities fit best.

    Parameters
    ----------
    loss
        Temperature to mean negative log-likelihood of the logits divided by it.
    limit
        The result lies between its inverse and it: on images that are told apart without error,
        the best temperature is 0.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML
    2017, section 4.2.

    Raises
    ------
    TrainingError
        The loss is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> logits, truth = np.array([6.0, 6.0, 6.0, 6.0]), np.array([1, 1, 1, 0])
    >>> def loss(temperature):
    ...     p = 1 / (1 + np.exp(-logits / temperature))
    ...     return float(-np.log(np.where(truth, p, 1 - p)).mean())
    >>> round(fit_temperature(loss), 2)  # where the mean probability is 3/4
    5.46
    """
    from scipy.optimize import minimize_scalar

    edge = float(np.log(limit))
    found = minimize_scalar(
        lambda log: loss(float(np.exp(log))), bounds=(-edge, edge), method="bounded"
    )
    if not np.isfinite(found.fun):
        raise TrainingError("The logits of the validation part are not finite.")
    return float(np.exp(found.x))
