"""From logits to losses, probabilities and grades: what the outputs of a classifier mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from napari_fundus.backends.cam.architecture import GRADES, Target
from napari_fundus.errors import OptionsError

MIN_GRADES = {"any": 1, "referable": 2}
"""Least grade of any, and of referable, diabetic retinopathy."""


def positive_grade(target: Target) -> int:
    """Return the least grade that counts as diseased: what score and heat map speak of."""
    return MIN_GRADES["any"] if target == "any" else MIN_GRADES["referable"]


def target_classes(target: Target, grades: Tensor) -> Tensor:
    """Return what is distinguished: 0 and 1, or the grades themselves; int64, shape (N,)."""
    return (grades >= MIN_GRADES[target]).long() if target in MIN_GRADES else grades.long()


def classification_loss(
    target: Target, logits: Tensor, grades: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy.

    Parameters
    ----------
    target
        What the logits mean.
    logits
        Shape (N, K).
    grades
        0 to 4, shape (N,).
    weights
        Of each class that is distinguished: the mean is a weighted one; None: all alike.
    """
    classes = target_classes(target, grades)
    if target == "grades":
        each = F.cross_entropy(logits, classes, reduction="none")
    else:
        each = F.binary_cross_entropy_with_logits(
            logits, _ordinal_targets(target, grades).to(logits), reduction="none"
        ).mean(dim=1)
    if weights is None:
        return each.mean()
    weight = weights.to(each)[classes]
    return (weight * each).sum() / weight.sum()


def _ordinal_targets(target: Target, grades: Tensor) -> Tensor:
    """Return for each output whether the grade reaches its level: bool, shape (N, K)."""
    levels = [MIN_GRADES[target]] if target in MIN_GRADES else range(1, GRADES)
    return grades[:, None] >= torch.tensor(list(levels), device=grades.device)


def log_odds(target: Target, logits: Tensor, level: int) -> Tensor:
    """Return the log-odds of a grade of at least `level`, shape (N,).

    Raises
    ------
    OptionsError
        The classifier does not tell that level.
    """
    if target == "grades":
        return logits[:, level:].logsumexp(dim=1) - logits[:, :level].logsumexp(dim=1)
    if target == "ordinal":
        return logits[:, level - 1]
    if MIN_GRADES[target] != level:
        raise OptionsError(f"A classifier of {target!r} does not tell grade {level} and above.")
    return logits[:, 0]


def grade_probability(target: Target, logits: Tensor) -> Tensor | None:
    """Return the probability of each grade, shape (N, 5); None for a classifier of two classes.

    The steps of an ordinal classifier are made not to rise before differences are taken.
    """
    if target == "grades":
        return logits.softmax(dim=1)
    if target == "ordinal":
        reached = torch.sigmoid(logits).cummin(dim=1).values
        ends = reached.new_ones(len(reached), 1), reached.new_zeros(len(reached), 1)
        whole = torch.cat([ends[0], reached, ends[1]], dim=1)
        return whole[:, :-1] - whole[:, 1:]
    return None


def predicted_classes(target: Target, logits: Tensor) -> Tensor:
    """Return the class that is found: 0 or 1, or the grade; int64, shape (N,)."""
    if target == "grades":
        return logits.argmax(dim=1)
    if target == "ordinal":
        # As many levels as are reached one after the other.
        return (logits >= 0).long().cumprod(dim=1).sum(dim=1)
    return (logits[:, 0] >= 0).long()


def image_scores(target: Target, logits: Tensor) -> dict[str, float]:
    """Return the scores of one image, logits of shape (1, K), by name."""
    names = [target] if target in MIN_GRADES else list(MIN_GRADES)
    scores = {
        f"{name} DR": float(torch.sigmoid(log_odds(target, logits, MIN_GRADES[name])))
        for name in sorted(names, reverse=True)
    }
    grades = grade_probability(target, logits)
    if grades is not None:
        for grade, value in enumerate(grades[0].clamp(0, 1).tolist()):
            scores[f"grade {grade}"] = value
    return scores
