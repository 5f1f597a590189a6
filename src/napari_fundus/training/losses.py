"""Losses on maps of several classes, and on embeddings.

Classes and pixels that no expert looked at are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_EDGE = 1e-6
"""Keeps the arc cosine's gradient finite where two directions are the same."""


def dice_coefficient(
    probability: Tensor,
    target: Tensor,
    annotated: Tensor | None = None,
    *,
    unknown: Tensor | None = None,
    delta: float = 1.0,
    per_image: bool = False,
) -> Tensor:
    """Return (2|y∩ŷ| + δ) / (|y| + |ŷ| + δ), averaged over the classes.

    Sums run over the whole batch, so that patches without a lesion, whose own coefficient would be
    nearly 0 or 1 by the noise, count with the others (open in the paper).

    Parameters
    ----------
    probability
        Float, shape (B, K, H, W), values in [0, 1].
    target
        Same shape, 0 or 1.
    annotated
        Shape (B, K), 1 where an expert looked for the class in the image; None for everywhere.
    unknown
        Shape (B, 1, H, W), 1 at pixels that no expert looked at: they count for nothing. None for
        nowhere.
    delta
        Keeps the quotient finite, and 1 where there is nothing to find and nothing found.
    per_image
        Take the coefficient of every patch and class, and average these.

    Returns
    -------
    Tensor
        A scalar, float32; 1 where nothing is annotated.

    Notes
    -----
    Chudzik et al. 2018, the coefficient that is maximized.
    """
    import torch

    probability, target = probability.float(), target.float()
    known = torch.ones_like(probability[:, :, 0, 0]) if annotated is None else annotated.float()
    if unknown is not None:
        inside = 1 - unknown.float()
        probability, target = probability * inside, target * inside
        known = known * inside.amax(dim=(2, 3))
    both = (probability * target).sum(dim=(2, 3)) * known
    size = (probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))) * known
    if not per_image:
        both, size, known = both.sum(dim=0), size.sum(dim=0), known.amax(dim=0)
    coefficient = (2 * both + delta) / (size + delta)
    # Classes that are not annotated have coefficient 1; they are taken out of the mean.
    return 1 - ((1 - coefficient) * known).sum() / known.sum().clamp(min=1)


def dice_loss(
    probability: Tensor,
    target: Tensor,
    annotated: Tensor | None = None,
    *,
    unknown: Tensor | None = None,
    delta: float = 1.0,
    per_image: bool = False,
) -> Tensor:
    """Return 1 minus :func:`dice_coefficient`, to be minimized."""
    return 1 - dice_coefficient(
        probability, target, annotated, unknown=unknown, delta=delta, per_image=per_image
    )


def masked_bce_with_logits(
    logits: Tensor,
    target: Tensor,
    annotated: Tensor | None = None,
    *,
    unknown: Tensor | None = None,
    class_weights: Sequence[float] | None = None,
    positive_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the mean binary cross-entropy over the pixels of annotated classes.

    Parameters
    ----------
    logits
        Float, shape (B, K, H, W), before the sigmoid.
    target, annotated, unknown
        As in :func:`dice_coefficient`.
    class_weights
        One factor a class, on all its pixels.
    positive_weights
        One factor a class, on its lesion pixels only.

    Returns
    -------
    Tensor
        A scalar, float32; 0 where nothing is annotated.
    """
    import torch
    from torch.nn import functional

    def column(weights: Sequence[float]) -> Tensor:
        return torch.tensor(weights, device=logits.device).view(-1, 1, 1)

    loss = functional.binary_cross_entropy_with_logits(
        logits.float(),
        target.float(),
        pos_weight=None if positive_weights is None else column(positive_weights),
        reduction="none",
    )
    if class_weights is not None:
        loss = loss * column(class_weights)
    if unknown is not None:
        weight = 1 - unknown.float().expand_as(loss)
        if annotated is not None:
            weight = weight * annotated.float()[:, :, None, None]
        return (loss * weight).sum() / weight.sum().clamp(min=1)
    each = loss.mean(dim=(2, 3))
    known = torch.ones_like(each) if annotated is None else annotated.float()
    return (each * known).sum() / known.sum().clamp(min=1)


def bce_dice_loss(
    logits: Tensor,
    target: Tensor,
    annotated: Tensor | None = None,
    *,
    unknown: Tensor | None = None,
    bce_weight: float = 4.0,
    dice_weight: float = 1.0,
    class_weights: Sequence[float] | None = None,
    positive_weights: Sequence[float] | None = None,
    delta: float = 1.0,
) -> Tensor:
    """Return the weighted sum of :func:`masked_bce_with_logits` and :func:`dice_loss`.

    Parameters
    ----------
    bce_weight, dice_weight
        Factors of the two.
    logits, target, annotated, unknown, class_weights, positive_weights, delta
        As there.
    """
    entropy = masked_bce_with_logits(
        logits,
        target,
        annotated,
        unknown=unknown,
        class_weights=class_weights,
        positive_weights=positive_weights,
    )
    probability = logits.float().sigmoid()
    overlap = dice_loss(probability, target, annotated, unknown=unknown, delta=delta)
    return bce_weight * entropy + dice_weight * overlap


def angular_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the angle between vectors as a share of a right angle.

    Embeddings that are means of rectified maps have no negative component, so that the largest
    angle between two of them is a right one, and the distance lies in [0, 1].

    Parameters
    ----------
    first, second
        Float, shape (B, D).

    Returns
    -------
    Tensor
        float32, shape (B,); 2 for opposite directions.
    """
    from torch.nn.functional import cosine_similarity

    cosine = cosine_similarity(first.float(), second.float(), dim=1)
    return cosine.clamp(-1 + _EDGE, 1 - _EDGE).acos() * (2 / math.pi)


def triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 0.5
) -> Tensor:
    """Return the mean of max(0, d(a, p) − d(a, n) + margin) over the batch.

    Parameters
    ----------
    anchor, positive, negative
        Embeddings, float, shape (B, D): two of one class, and one of another.
    margin
        By how much the distances shall differ.

    Returns
    -------
    Tensor
        A scalar, float32.

    Notes
    -----
    Sarhan et al. 2019, arXiv:1904.12732, with margin 0.5 and "angular cosine distance", which is
    read as :func:`angular_distance` (open).
    """
    gap = angular_distance(anchor, positive) - angular_distance(anchor, negative)
    return (gap + margin).clamp(min=0).mean()
