"""Pixel figures of a validation, gathered batch by batch on the device: AUPR, Dice, precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["THRESHOLD_COUNT", "count_pixels", "pixel_metrics"]

THRESHOLD_COUNT = 33
"""Thresholds 0, 1/32, …, 1, as in the IDRiD challenge."""


def count_pixels(
    probability: Tensor, target: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the pixels at or above each threshold, as figures that add up over batches.

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
    """
    import torch

    weight = torch.ones_like(probability, dtype=torch.float32) if weight is None else weight.float()
    # Times 32 is exact in binary, so that the level tells all thresholds that are reached. Sums
    # of comparisons, since a weighted histogram is not repeatable on a GPU.
    levels = (probability.float() * (THRESHOLD_COUNT - 1)).floor()
    hit = weight * target.float()
    sums: dict[str, Tensor] = {}
    for number in range(THRESHOLD_COUNT):
        reached = (levels >= number).float()
        sums[f"found_{number:02}"] = (reached * weight).sum()
        sums[f"hits_{number:02}"] = (reached * hit).sum()
    return sums


def pixel_metrics(sums: Mapping[str, float], *, threshold: float = 0.5) -> dict[str, float]:
    """Return areas over the 33 thresholds; Dice, precision and recall at one of them.

    Parameters
    ----------
    sums
        Of :func:`count_pixels`, added up.
    threshold
        Of the last three; the next lower of the thresholds is taken.

    Returns
    -------
    dict
        ``aupr`` (trapezoids, as in the challenge), ``average_precision`` (steps), ``dice``,
        ``precision``, ``recall``; the areas and recall are NaN without any lesion pixel. Precision
        is 1 where nothing is found.

    Notes
    -----
    A map that never exceeds 1/32 has an AUPR of 0.5: one trapezoid from precision 1 at recall 0 to
    precision 0 at recall 1. So the best epoch is told by the average precision, which is near 0
    for it.

    Examples
    --------
    >>> import torch
    >>> sums = count_pixels(torch.tensor([0.9, 0.6, 0.1]), torch.tensor([1, 1, 0]))
    >>> {name: round(value, 3) for name, value in pixel_metrics(sums).items()}
    {'aupr': 1.0, 'average_precision': 1.0, 'dice': 1.0, 'precision': 1.0, 'recall': 1.0}
    """
    found = np.array([float(sums[f"found_{number:02}"]) for number in range(THRESHOLD_COUNT)])
    hits = np.array([float(sums[f"hits_{number:02}"]) for number in range(THRESHOLD_COUNT)])
    lesion = hits[0]
    precision = np.divide(hits, found, out=np.ones(THRESHOLD_COUNT), where=found > 0)
    recall = hits / lesion if lesion > 0 else np.full(THRESHOLD_COUNT, np.nan)
    at = int(threshold * (THRESHOLD_COUNT - 1))
    dice = 2 * hits[at] / (found[at] + lesion) if found[at] + lesion > 0 else 1.0
    return {
        "aupr": float(np.trapezoid(precision[::-1], recall[::-1])),
        "average_precision": float(precision @ -np.diff(recall, append=0.0)),
        "dice": float(dice),
        "precision": float(precision[at]),
        "recall": float(recall[at]),
    }
