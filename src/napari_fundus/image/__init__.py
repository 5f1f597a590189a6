"""A fundus photograph in memory, and the reading of one from any file that cameras write."""

from __future__ import annotations

from napari_fundus.image.fundus_image import FundusImage, read_identity, read_image
from napari_fundus.image.limits import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    MIN_SIDE,
    PILLOW_ERRORS,
    check_size,
)
from napari_fundus.image.pillow_files import open_pillow
from napari_fundus.image.pixels import read_pixels

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "PILLOW_ERRORS",
    "FundusImage",
    "check_size",
    "open_pillow",
    "read_identity",
    "read_image",
    "read_pixels",
]
