"""Losses on embeddings: what is alike shall lie closer together than what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["angular_distance", "triplet_loss"]

_EDGE = 1e-6
"""Keeps the arc cosine's gradient finite where two directions are the same."""


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
    import math

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
