"""Pictures that were stored turned or mirrored, set upright."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

EXIF_ORIENTATION = 274
"""Number of the tag, in EXIF and in TIFF."""


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn and mirror as the orientation tag (TIFF 6.0, tag 274; EXIF 2.3) says."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
