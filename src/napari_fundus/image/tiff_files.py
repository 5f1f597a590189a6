"""The first page of a TIFF as a picture: tiled, planar, palette, 16 bits, CMYK, rotated."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import ImageBrokenError, ImageReadError, UnsupportedImageError
from napari_fundus.image.isolation import read_isolated
from napari_fundus.image.jpeg_markers import check_jpeg
from napari_fundus.image.limits import check_size
from napari_fundus.image.orientation import EXIF_ORIENTATION, upright

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""What TIFF and BigTIFF begin with."""

_PHOTOMETRIC = frozenset({0, 1, 2, 3, 4, 5})
"""TIFF photometric interpretations that we convert: grey (both ways), RGB, palette, mask, CMYK."""

_GREY = frozenset({0, 1})

_JPEG = frozenset({6, 7, 33007, 34892})
"""TIFF compressions whose decoder turns YCbCr into RGB by itself."""

_BOUNDED = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013})
"""Compressions that fill as many bytes as the TIFF's own header says: none, CCITT, LZW, Deflate,
PackBits, LZMA, Zstandard. JPEG's streams are compared with it first; all others (JPEG 2000, WebP,
PNG, LERC, JPEG XL, JPEG XR, older kinds of JPEG) unpack to whatever the stream in a tile claims."""

_STREAM = 7
"""The compression whose tiles are JPEG streams, with tables that they share."""


def read_tiff(
    content: bytes, path: Path, *, isolated: bool = False
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read a TIFF as `napari_fundus.image.read_pixels` does.

    Parameters
    ----------
    content
        Of the file.
    path
        For messages.
    isolated
        Whether this process is the one with limits, in which any compression is decoded.

    Raises
    ------
    ImageReadError
        As there.
    """
    import tifffile

    # What damaged TIFFs raise is not documented; this is the boundary where all of it is caught.
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            page = tiff.pages.first
            if not (isinstance(page.imagewidth, int) and isinstance(page.imagelength, int)):
                raise ImageBrokenError(f"{path} is damaged: its width or height is no number.")
            pixels_claimed = page.imagewidth * page.imagelength * max(page.imagedepth, 1)
            check_size(
                pixels_claimed,
                path,
                stored=len(content),
                # A single tile may claim more than the whole image.
                bytes_per_pixel=max(
                    page.nbytes, math.prod(page.chunks) * np.dtype(page.dtype).itemsize
                )
                / max(pixels_claimed, 1),
            )
            photometric = tifffile.PHOTOMETRIC(page.photometric)
            in_jpeg = photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression in _JPEG
            if photometric not in _PHOTOMETRIC and not in_jpeg:
                raise UnsupportedImageError(
                    f"{path} holds {photometric.name} colours; save it as RGB in another program."
                )
            if len(page.dataoffsets) < math.prod(page.chunked):
                raise ImageBrokenError(
                    f"{path} is damaged: it holds {len(page.dataoffsets)} of "
                    f"{math.prod(page.chunked)} strips or tiles. Copy it again from its source."
                )
            if page.compression == _STREAM:
                _check_streams(page, content, path)
            elif page.compression not in _BOUNDED and not isolated:
                return read_isolated(content, path, claimed=page.nbytes)
            pixels = page.asarray()
            tag = page.tags.get(EXIF_ORIENTATION)
            orientation = int(tag.value) if tag is not None else 1
            colormap = page.colormap if photometric == tifffile.PHOTOMETRIC.PALETTE else None
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            bits = page.bitspersample
    except ImageReadError:
        raise
    except Exception as error:
        raise ImageBrokenError(f"{path} is a damaged or unsupported TIFF: {error}.") from error
    if pixels.size == 0:
        raise ImageBrokenError(f"{path} is damaged: it holds no pixel.")
    if planar and pixels.ndim == 3 and pixels.shape[0] <= 5:
        pixels = np.moveaxis(pixels, 0, -1)
    if colormap is not None:
        pixels = _expand_palette(pixels, colormap, path)
    elif photometric in _GREY:
        inverted = photometric == tifffile.PHOTOMETRIC.MINISWHITE
        pixels = _stretch_grey(pixels, bits, path, inverted=inverted)
    elif photometric == tifffile.PHOTOMETRIC.SEPARATED:
        pixels = _cmyk_to_rgb(pixels, path)
    if pixels.ndim not in (2, 3):
        raise UnsupportedImageError(
            f"{path} holds an array of shape {pixels.shape}, not a picture."
        )
    return upright(pixels, orientation), {
        "format": "TIFF",
        "bits": int(bits) if isinstance(bits, int) else int(max(bits)),
        "rotated": orientation != 1,
    }


def _check_streams(page: Any, content: bytes, path: Path) -> None:
    """Compare the JPEG of each tile or strip with the tile's size, filled to whole blocks of 16."""
    height, width = (page.rowsperstrip, page.imagewidth)
    if page.is_tiled:
        height, width = page.tilelength, page.tilewidth
    filled = (-(-min(height, 1 << 16) // 16) * 16, -(-width // 16) * 16)
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        check_jpeg(content[start : start + count], path, at_most=filled)


def _expand_palette(
    pixels: npt.NDArray[Any], colormap: npt.NDArray[Any], path: Path
) -> npt.NDArray[np.uint8]:
    table = colormap.T
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.unsignedinteger):
        raise ImageBrokenError(f"{path} is damaged: its palette holds no colours.")
    if not np.issubdtype(pixels.dtype, np.unsignedinteger) or int(pixels.max()) >= len(table):
        raise ImageBrokenError(f"{path} is damaged: it points beyond its palette.")
    # Some writers store 8-bit palettes without the factor 257 that the standard demands.
    shift = 8 if int(table.max()) > 255 else 0
    return np.asarray((table >> shift).astype(np.uint8)[pixels])


def _stretch_grey(
    pixels: npt.NDArray[Any], bits: Any, path: Path, *, inverted: bool
) -> npt.NDArray[Any]:
    """Bring grey of 2 or 4 bits to the range of 8, and turn it where 0 means white."""
    if bits in (2, 4):
        pixels = pixels * np.uint8(255 // ((1 << bits) - 1))
    if not inverted:
        return pixels
    if pixels.dtype == np.bool_:
        return np.asarray(np.logical_not(pixels))
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise UnsupportedImageError(f"{path} holds {pixels.dtype} values of which 0 is white.")
    return np.asarray(~pixels)


def _cmyk_to_rgb(pixels: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if pixels.ndim != 3 or pixels.shape[2] < 4 or pixels.dtype not in (np.uint8, np.uint16):
        raise UnsupportedImageError(f"{path} holds CMYK data of shape {pixels.shape}.")
    peak = float(np.iinfo(pixels.dtype).max)
    ink = pixels[..., :3].astype(np.float32)
    key = pixels[..., 3:4].astype(np.float32)
    rgb = (peak - ink) * (peak - key) / peak
    return np.rint(rgb).astype(pixels.dtype)
