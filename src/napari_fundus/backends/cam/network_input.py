"""From a prepared photograph to the network's input: the same in training and detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing import PreprocessedImage, Recipe

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_RECIPE = Recipe(
    crop="circle",
    resize="side",
    side=512,
    enhance=True,
    alpha=4,
    beta=-4,
    gamma=128,
    sigma=9,
    standardize=True,
)
"""Full circle at 512 px, as in the paper; less its local mean, and standardized."""

_GREY = 128
"""Byte that becomes 0."""

_STEPS = 20
"""Bytes to a standard deviation: ±6 of them fit."""

_SPREAD = 64
"""Grey levels that become 1, where the recipe does not standardize."""


def quantize_input(prepared: PreprocessedImage) -> npt.NDArray[np.uint8]:
    """Return what the network is shown, in bytes: uint8, shape (h, w, 3), 128 outside the disc.

    Standardized values are kept in steps of 1/20, from −6.4 to 6.35, in detection too: so that
    training may hold its images in memory and see just the same.
    """
    pixels = np.atleast_3d(prepared.pixels)
    if pixels.dtype != np.uint8:
        pixels = np.clip(np.rint(pixels * _STEPS + _GREY), 0, 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.where(prepared.field_of_view[..., np.newaxis], pixels, np.uint8(_GREY))


def normalize_input(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Return bytes, shape (N, 3, h, w), in the network's units: 0 outside the disc."""
    return (pixels.float() - _GREY) / (_STEPS if recipe.standardize else _SPREAD)


def dequantize_for_display(images: Tensor, recipe: Recipe) -> Tensor:
    """Return the network's units as bytes again, to be looked at."""
    return (
        (images * (_STEPS if recipe.standardize else _SPREAD) + _GREY).round().clamp(0, 255).byte()
    )


def resize_recipe(recipe: Recipe, side: int) -> Recipe:
    """Return the recipe at another side; its blur keeps its size in relation to the disc."""
    scale = side / recipe.side
    return recipe.model_copy(update={"side": side, "sigma": recipe.sigma * scale})
