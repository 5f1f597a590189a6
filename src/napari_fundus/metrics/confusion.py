"""Images by true and predicted class: accuracy, precision, recall, F1 and kappa."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ratios = npt.NDArray[np.float64]


def _safe_divide(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Ratios:
    """Divide; NaN where it is 0/0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan).astype(np.float64)


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How many images of each class were predicted as which class.

    Every ratio is NaN where it is 0/0. For two classes, class 1 is the one looked for.

    Attributes
    ----------
    counts
        int64, shape (K, K): true class by row, predicted class by column.

    Examples
    --------
    >>> grades = ConfusionMatrix.of([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], classes=3)
    >>> grades.accuracy, round(grades.kappa(), 3)
    (0.6, 0.286)
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        truth: npt.ArrayLike,
        predicted: npt.ArrayLike,
        *,
        classes: int,
        weights: npt.NDArray[np.int64] | None = None,
    ) -> ConfusionMatrix:
        """Count images.

        Parameters
        ----------
        truth, predicted
            Integers from 0 to `classes` - 1 (or bool), shape (N,).
        classes
            Number of classes: 5 for grades of retinopathy, 2 for yes or no.
        weights
            How often each image counts, shape (N,): for the bootstrap. None counts each once.
        """
        true, found = np.asarray(truth), np.asarray(predicted)
        if true.shape != found.shape or true.ndim != 1:
            raise ValueError(f"The truth has shape {true.shape}, the prediction {found.shape}.")
        for values in (true, found):
            if values.dtype.kind not in "biu":
                raise ValueError(f"Classes are whole numbers, not {values.dtype}.")
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < classes:
                raise ValueError(f"Classes lie from 0 to {classes - 1}.")
        pair = true.astype(np.int64) * classes + found.astype(np.int64)
        counts = np.bincount(pair, weights, minlength=classes**2)
        return cls(counts.reshape(classes, classes).astype(np.int64))

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of images predicted as their own class."""
        return float(_safe_divide(np.trace(self.counts), self.counts.sum()))

    @property
    def precision(self) -> Ratios:
        """Of the images predicted as each class, the share that is of it; shape (K,)."""
        return _safe_divide(np.diag(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> Ratios:
        """Of the images of each class, the share predicted as it; shape (K,)."""
        return _safe_divide(np.diag(self.counts), self.counts.sum(axis=1))

    @property
    def f1(self) -> Ratios:
        """Harmonic mean of precision and recall of each class, 2 TP / (2 TP + FP + FN)."""
        return _safe_divide(
            2 * np.diag(self.counts), self.counts.sum(axis=0) + self.counts.sum(axis=1)
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur, in the truth or in the prediction."""
        f1 = self.f1[~np.isnan(self.f1)]
        return float(f1.mean()) if len(f1) else float("nan")

    @property
    def sensitivity(self) -> float:
        """Of two classes: share of the images of class 1 that are predicted as it."""
        return float(self._require_binary().recall[1])

    @property
    def specificity(self) -> float:
        """Of two classes: share of the images of class 0 that are predicted as it."""
        return float(self._require_binary().recall[0])

    def kappa(self, power: int = 2) -> float:
        """Cohen's kappa: agreement beyond chance, 1 at best, 0 by chance.

        Parameters
        ----------
        power
            A mistake weighs by the distance of the classes to this power: 2 is the quadratic kappa
            of the grading challenges, 1 the linear one; 0 weighs all mistakes alike.

        Returns
        -------
        float
            NaN where all images are of, and predicted as, the same class.

        References
        ----------
        Cohen J.: Weighted kappa. Psychological Bulletin 70(4), 1968, 213–220.
        """
        if not self.images:
            return float("nan")
        distance = np.abs(np.subtract.outer(np.arange(len(self.counts)), range(len(self.counts))))
        # 0 ** 0 is 1, but the diagonal is no mistake.
        weight = np.where(distance > 0, distance.astype(np.float64) ** power, 0.0)
        predicted, true = self.counts.sum(axis=0), self.counts.sum(axis=1)
        by_chance = float((weight * np.outer(true, predicted)).sum()) / self.images
        seen = float((weight * self.counts).sum())
        return 1 - seen / by_chance if by_chance else float("nan")

    def _require_binary(self) -> ConfusionMatrix:
        if len(self.counts) != 2:
            raise ValueError(f"This needs 2 classes, but there are {len(self.counts)}.")
        return self
