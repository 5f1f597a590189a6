"""Builders of data sets in their original layouts, with tiny images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

SHAPE = (64, 96)

WriteImage = Callable[..., Path]
WriteMask = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Write a photograph of 64x96 px; each `seed` gives other bytes."""

    def write(path: Path, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_mask() -> WriteMask:
    """Write a mask of 64x96 px with a 2x3 lesion at each of `places` (row, column)."""

    def write(path: Path, *places: tuple[int, int], value: int = 255) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = blank(*places, value=value)
        if path.suffix == ".tif":
            write_palette_tiff(path, mask)
        else:
            Image.fromarray(mask).save(path)
        return path

    return write


def blank(*places: tuple[int, int], value: int = 255) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    for row, col in places:
        mask[row : row + 2, col : col + 3] = value
    return mask


def write_palette_tiff(path: Path, mask: npt.NDArray[Any]) -> None:
    """Write 0/1 indices with IDRiD's palette: 1 is red, the rest black."""
    colormap = np.zeros((3, 256), np.uint16)
    colormap[0, 1] = 65280
    tifffile.imwrite(
        path,
        (mask > 0).astype(np.uint8),
        photometric="palette",
        colormap=colormap,
        compression="lzw",
    )
