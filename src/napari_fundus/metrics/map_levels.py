"""Maps on a grid of 64,001 levels that holds every threshold of the protocols."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTIZATION_LEVELS = 64_000
"""Levels are 0, 1/64000, …, 1: multiples of 1/32 (the challenge's thresholds) and of 1/1000."""


@cache
def level_values() -> npt.NDArray[np.float32]:
    """Return the value of each level: float32, shape (64001,), read-only."""
    values = (np.arange(QUANTIZATION_LEVELS + 1) / QUANTIZATION_LEVELS).astype(np.float32)
    values.flags.writeable = False
    return values


def quantize_map(probability: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Round a map down to the grid.

    Rounding down leaves each pixel on its side of every threshold that is a level: ``p >= t``
    holds before if and only if it holds after. So pixels and components counted at such thresholds
    are those of the map itself. Half precision would be coarser (4.9e-4 near 1, 1.6e-5 here).

    Parameters
    ----------
    probability
        Values in [0, 1], any shape.

    Examples
    --------
    >>> quantize_map(np.array([0, 0.3, 0.99999, 1], np.float32)).tolist()
    [0, 19200, 63999, 64000]
    """
    values = np.asarray(probability, np.float32)
    levels = np.minimum(
        values * np.float32(QUANTIZATION_LEVELS), np.float32(QUANTIZATION_LEVELS)
    ).astype(np.uint16)
    # The product is rounded, and may lie a level off.
    levels -= level_values()[levels] > values
    levels += level_values()[np.minimum(levels, QUANTIZATION_LEVELS - 1) + np.uint16(1)] <= values
    highest: npt.NDArray[np.uint16] = np.minimum(levels, np.uint16(QUANTIZATION_LEVELS))
    return highest


def dequantize_map(levels: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return the values of `levels`: float32, the same shape."""
    return level_values()[levels]


def check_map(probability: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a map of probability as float32; refuse another `shape` than that of the truth.

    Raises
    ------
    ValueError
        The shapes differ, or a value lies outside [0, 1] or is NaN.
    """
    probability = np.asarray(probability, np.float32)
    if probability.shape != shape:
        raise ValueError(f"The map has shape {probability.shape}, the truth {shape}.")
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError("Probabilities lie in [0, 1] and are not NaN.")
    return probability
