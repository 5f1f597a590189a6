"""Reading of mask files: what counts as drawn in palette, grey, colour and transparent images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import DatasetError, ImageBrokenError
from napari_fundus.image import PILLOW_ERRORS, check_size, read_pixels

_LOSSY = frozenset({"JPEG", "WEBP", "MPO"})
_EXIF_ORIENTATION = 274


def image_shape(path: Path) -> tuple[int, int]:
    """Return height and width in pixels of an image file as shown upright, from its header.

    Raises
    ------
    ImageReadError
        The file cannot be read as an image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        # Pillow knows fewer kinds of TIFF than our own reader, which also words the errors.
        pixels = read_pixels(path)[0]
        return pixels.shape[0], pixels.shape[1]
    return (width, height) if turned else (height, width)


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """Read a mask file: True where something is drawn.

    Whatever is above 0 counts: the index in palette images (the palette says nothing), the grey
    value, or the maximum over the first three channels, never transparency. Files with lossy
    compression have noise around 0, and count from the middle of their range.

    Parameters
    ----------
    path
        The file.
    shape
        Height and width that the mask must have.

    Returns
    -------
    mask
        bool, shape (H, W).

    Raises
    ------
    DatasetError
        The file is gone, or not of the `shape` asked for.
    ImageReadError
        It cannot be read as an image.
    """
    try:
        indices = _palette_indices(path)
        values, info = (
            (indices, {"format": "palette"}) if indices is not None else read_pixels(path)
        )
    except FileNotFoundError:
        raise DatasetError(f"The mask {path} is missing.") from None
    drawn: npt.NDArray[np.bool_] = _flat(values) > (127 if info["format"] in _LOSSY else 0)
    return _of_shape(drawn, shape, path)


def read_grey(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """Read the grey values of an image as shown, palettes expanded: unsigned, shape (H, W).

    Colour images give the maximum over their first three channels. Raises as :func:`read_mask`.
    """
    try:
        values = read_pixels(path)[0]
    except FileNotFoundError:
        raise DatasetError(f"The mask {path} is missing.") from None
    return _of_shape(_flat(values), shape, path)


def _flat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[..., :3].max(axis=2) if values.ndim == 3 else values


def _of_shape(
    mask: npt.NDArray[Any], shape: tuple[int, int] | None, path: Path
) -> npt.NDArray[Any]:
    if shape is not None and mask.shape != tuple(shape):
        raise DatasetError(
            f"The mask {path.name} has {mask.shape[1]}x{mask.shape[0]} px, its image "
            f"{shape[1]}x{shape[0]} px: they do not belong together, or one was resized."
        )
    return mask


def _palette_indices(path: Path) -> npt.NDArray[Any] | None:
    """Return the stored indices of a palette image, or None if it is of another kind."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode != "P":
                return None
            check_size(image.width * image.height, path, stored=path.stat().st_size)
            return np.asarray(image)
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:
        return None
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise ImageBrokenError(f"{path} is damaged or truncated: {error}.") from error
