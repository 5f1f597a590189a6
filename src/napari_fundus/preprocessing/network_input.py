"""From a prepared photograph to the network's input: the same in training and detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing.recipe import PreprocessedImage

if TYPE_CHECKING:
    from torch import Tensor

INPUT_FILL = 0.0
"""What lies outside the field of view, and outside the picture, in the network's units."""

PIXEL_MEAN = 128
"""Grey level that becomes 0."""

PIXEL_STD = 64
"""Grey levels that become 1."""


def to_network_input(prepared: PreprocessedImage) -> npt.NDArray[np.float32]:
    """Return the network's input: float32, shape (P, h, w).

    Grey levels v become (v − 128)/64, since an enhanced picture lies around 128; standardized ones
    stay as they are. Outside the field of view is the neutral grey, so that the disc's rim is no
    edge.
    """
    pixels = prepared.pixels
    planes = np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32)
    if pixels.dtype == np.uint8:
        planes = (planes - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
    planes[:, ~prepared.field_of_view] = INPUT_FILL
    return np.ascontiguousarray(planes)


def normalize_pixels(pixels: Tensor) -> Tensor:
    """Return grey levels in the network's units, as :func:`to_network_input` does: float32."""
    return (pixels.float() - PIXEL_MEAN) / PIXEL_STD


def denormalize_pixels(planes: Tensor) -> Tensor:
    """Return the network's units as grey levels again, to be looked at: uint8."""
    return (planes * PIXEL_STD + PIXEL_MEAN).round().clamp(0, 255).byte()
