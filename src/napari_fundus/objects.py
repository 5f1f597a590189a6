"""Lesions as objects, each with its own small mask and score: what instance detectors find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LesionObject"]


@dataclass(frozen=True, eq=False)
class LesionObject:
    """One lesion, its mask kept in its box alone.

    Attributes
    ----------
    lesion
        Code of the class.
    score
        How sure the method is, in [0, 1]; 1 for a lesion that a person drew.
    row, col
        First row and column of the box, in pixels of the image that the objects are told of.
    mask
        bool, shape (h, w): the box; at least one pixel is set.
    """

    lesion: str
    score: float
    row: int
    col: int
    mask: npt.NDArray[np.bool_]
