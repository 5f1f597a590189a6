"""Maps of one picture at several scales, brought to the same size and made one."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

FusionMean = Literal["arithmetic", "geometric"]
"""How two maps become one."""

Float = npt.NDArray[np.float32]

_PROBABILITY_EPSILON = 1e-3
"""Probabilities nearer to 0 or 1 are taken as this near: odds of a thousand to one."""


def resize_map(values: Float, shape: tuple[int, int]) -> Float:
    """Return a map at another size, by linear interpolation.

    Parameters
    ----------
    values
        float32, shape (h, w).
    shape
        Height and width wanted. The picture's borders fall on each other.

    Returns
    -------
    ndarray
        float32, shape (H, W).
    """
    if values.shape == shape:
        return values
    resized = cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.float32, copy=False)


def fuse(first: Float, second: Float, mean: FusionMean = "arithmetic") -> Float:
    """Return the mean of two maps.

    Parameters
    ----------
    first, second
        float32 in [0, 1], of the same shape.
    mean
        The arithmetic mean asks for one scale that is sure, the geometric one for two that agree.

    Returns
    -------
    ndarray
        float32, same shape.

    Notes
    -----
    Sarhan et al. 2019, arXiv:1904.12732, compare both.
    """
    if first.shape != second.shape:
        raise ValueError(f"Maps of {first.shape} and {second.shape}: enlarge one of them first.")
    if mean == "geometric":
        root: Float = np.sqrt(first * second, dtype=np.float32)
        return root
    return (first + second) * np.float32(0.5)


def blend_log_odds(
    hypothesis: Float, judgement: Float, *, where: npt.NDArray[np.bool_], trust: float
) -> Float:
    """Return a map in which suspect places are judged by a second opinion.

    Parameters
    ----------
    hypothesis, judgement
        float32 in [0, 1], of the same shape.
    where
        bool, same shape: the suspect places. Elsewhere the hypothesis stands.
    trust
        Weight of the judgement's log odds against the hypothesis's, 0 to 1; 1 puts the judgement
        in its place, as in Sarhan et al. 2019, arXiv:1904.12732.

    Returns
    -------
    ndarray
        float32, same shape.
    """
    result = hypothesis.copy()
    if trust == 1:
        result[where] = judgement[where]
        return result
    odds, second = (
        logit(np.clip(values[where], _PROBABILITY_EPSILON, 1 - _PROBABILITY_EPSILON))
        for values in (hypothesis, judgement)
    )
    result[where] = expit(odds + np.float32(trust) * (second - odds))
    return result
