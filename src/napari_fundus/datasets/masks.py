"""Reading of mask files: what counts as drawn in palette, grey, colour and transparent images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.mask_marks import find_marks
from napari_fundus.errors import DatasetError, ImageBrokenError, NotAFileError
from napari_fundus.image import PILLOW_ERRORS, check_size, open_pillow, read_pixels

_LOSSY = frozenset({"JPEG", "MPO"})
_LOSSY_IN_TIFF = frozenset({6, 7, 33007, 34892})
"""TIFF compressions that are JPEG."""

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
        with open_pillow(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        # Pillow knows fewer kinds of TIFF than our own reader, which also words the errors.
        pixels = read_pixels(path)[0]
        return pixels.shape[0], pixels.shape[1]
    return (width, height) if turned else (height, width)


def read_mask(
    path: Path, shape: tuple[int, int] | None = None, *, smooth: bool = False
) -> npt.NDArray[np.bool_]:
    """Read a mask of lesions or of the disc, however it was written: True where it marks.

    What most of the pixels are is the ground, and whatever differs from it is marked: in the colour
    shown, in the index of a palette, or in the opacity; of noisy pixels, what differs by more than
    half of the largest contrast. What leaves open what is marked is refused.

    Parameters
    ----------
    path
        The file.
    shape
        Height and width that the mask must have.
    smooth
        Whether edges are known to be smoothed, so that lossless files count from halfway too.

    Returns
    -------
    mask
        bool, shape (H, W).

    Raises
    ------
    DatasetError
        The file is gone, not of the `shape` asked for, or marks what no lesion covers: most of the
        picture or of the retina, all or nothing in another colour than black, or its surround.
    ImageReadError
        It cannot be read as an image.
    """
    pixels, palette, lossy = _decode(path)
    _of_shape(pixels, shape, path)
    return find_marks(pixels, path.name, lossy=lossy, smooth=smooth, palette=palette)


def read_levels(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """Read the numbers that a mask of several classes stores: unsigned, shape (H, W).

    The index in palette images, else the grey value, or the maximum over the first three channels.
    Raises as :func:`read_region`.
    """
    return _of_shape(_flat(_decode(path)[0]), shape, path)


def read_region(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """Read a mask whose writing is known: True where it is not black.

    The field of view, what a person has looked at, and masks that this package wrote may cover any
    part of the picture. Whatever is above 0 counts: the index in palette images, the grey value, or
    the maximum over the first three channels, never transparency. Files with lossy compression
    count from the middle of their range.

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
    pixels, _, lossy = _decode(path)
    marked: npt.NDArray[np.bool_] = _flat(pixels) > (127 if lossy else 0)
    return _of_shape(marked, shape, path)


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
    if values.ndim == 3 and values.shape[2] == 2:
        return values[..., 0]
    return values[..., :3].max(axis=2) if values.ndim == 3 else values


def _of_shape(
    mask: npt.NDArray[Any], shape: tuple[int, int] | None, path: Path
) -> npt.NDArray[Any]:
    if shape is not None and mask.shape[:2] != tuple(shape):
        raise DatasetError(
            f"The mask {path.name} has {mask.shape[1]}x{mask.shape[0]} px, its image "
            f"{shape[1]}x{shape[0]} px: they do not belong together, or one was resized."
        )
    return mask


def _decode(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None, bool]:
    """Return pixels with their transparency, the palette of indices, and whether there was loss."""
    try:
        stored = _indices_or_alpha(path)
        if isinstance(stored, tuple):
            return *stored, False
        pixels, info = read_pixels(path)
    except FileNotFoundError:
        raise DatasetError(f"The mask {path} is missing.") from None
    if stored is not None and pixels.shape in (stored.shape, (*stored.shape, 3)):
        scale = 257 if pixels.dtype == np.uint16 else 1
        pixels = np.dstack([pixels, stored.astype(pixels.dtype) * scale])
    return pixels, None, _is_lossy(path, info["format"])


def _is_lossy(path: Path, file_format: str) -> bool:
    """Tell whether the compression of a file changes its pixels."""
    if file_format == "WEBP":
        return not _is_lossless_webp(path.read_bytes())
    if file_format == "TIFF":
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            return tiff.pages.first.compression in _LOSSY_IN_TIFF
    return file_format in _LOSSY


def _is_lossless_webp(content: bytes) -> bool:
    """Look for the chunk that holds the pixels (RFC 9649): ``VP8L`` is lossless, ``VP8`` is not."""
    start = 12
    while start + 8 <= len(content):
        kind = content[start : start + 4]
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        start += 8 + length + length % 2
    return False


def _indices_or_alpha(
    path: Path,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None] | npt.NDArray[np.uint8] | None:
    """Return what `read_pixels` drops: indices with their palette, or the opacity of grey pixels.

    None stands for files of other kinds. Indices come with the colours, shape (N, 4), in which what
    is transparent is black.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with open_pillow(path) as image:
            # Pillow takes a byte for eight pixels where a BMP of bytes has black and white alone.
            wrong = (image.format, image.mode) == ("BMP", "1") and path.read_bytes()[28] == 8
            if image.mode not in ("P", "PA", "LA", "La") and not wrong:
                return None
            check_size(image.width * image.height, path, stored=path.stat().st_size)
            if wrong:
                return _two_greys_of_bmp(path), None
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode != "P":
                return np.asarray(image.convert("LA").getchannel("A"))
            return np.asarray(image), _colours(image)
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, NotAFileError):
        return None  # the reader of pixels says so
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise ImageBrokenError(f"{path} is damaged or truncated: {error}.") from error


def _two_greys_of_bmp(path: Path) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ImageBrokenError(f"{path} is damaged or truncated. Copy it again from its source.")
    return np.asarray(pixels, np.uint8)


def _colours(image: Any) -> npt.NDArray[np.uint8]:
    """Return the colour of each index of a palette image."""
    from PIL import Image

    line = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis], "P")
    line.putpalette(image.getpalette("RGB") or [])
    if "transparency" in image.info:
        line.info["transparency"] = image.info["transparency"]
    colours: npt.NDArray[np.uint8] = np.array(line.convert("RGBA"), np.uint8)[0]
    colours[colours[:, 3] == 0] = 0
    return colours
