"""Lesions as objects, each with its own small mask and score: what instance detectors find."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["LesionObject", "objects_of_mask"]

_DILATION = np.ones((5, 5), np.uint8)


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


def objects_of_mask(
    mask: npt.NDArray[np.bool_], *, lesion: str, min_area: int = 1, dilations: int = 0
) -> list[LesionObject]:
    """Return the 8-connected components of a drawn mask, one object each, with score 1.

    Parameters
    ----------
    mask
        bool, shape (H, W).
    lesion
        Code of the class.
    min_area
        Components of fewer pixels are left out; dilated ones are measured as drawn, and one object
        stands for all drawn components that the dilation joins.
    dilations
        How often the mask is first dilated by a square of 5×5 pixels. The Mask R-CNN paper does so
        twice, which thickens every lesion by 4 px and joins those less than 9 px apart.

    Returns
    -------
    list of LesionObject
        Each mask is bool (h, w), an array of its own.
    """
    drawn = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    if min_area > 1:
        _, parts, sizes, _ = cv2.connectedComponentsWithStats(drawn, connectivity=8)
        drawn = drawn & (sizes[:, cv2.CC_STAT_AREA] >= min_area).astype(np.uint8)[parts]
    if dilations:
        drawn = cv2.dilate(drawn, _DILATION, iterations=dilations)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        drawn, connectivity=8, ltype=cv2.CV_32S
    )
    found = []
    for number in range(1, count):
        col, row, width, height = (int(value) for value in stats[number, :4])
        window = labels[row : row + height, col : col + width]
        found.append(LesionObject(str(lesion), 1.0, row, col, window == number))
    return found
