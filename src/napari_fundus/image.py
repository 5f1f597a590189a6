"""A fundus photograph in memory, and the reading of one from any file that cameras write."""

from __future__ import annotations

import io
import math
import struct
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import (
    EmptyFileError,
    ImageBrokenError,
    ImageReadError,
    ImageTooLargeError,
    ImageTooSmallError,
    NotAnImageError,
    UnsupportedImageError,
)
from napari_fundus.image_identity import ImageIdentity, exact_hash, perceptual_hash

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".webp"}
)
"""Lower-case suffixes of the files that a folder is searched for; content decides, not the name."""

MIN_SIDE = 64
"""Least height and width in pixels; the smallest published fundus images are about 500 px wide."""

MAX_PIXELS = 400_000_000
"""Most pixels decoded: a guard against decompression bombs, beside Pillow's own (179 million)."""

MAX_BYTES = 3 * MAX_PIXELS
"""Most bytes that the pixels of one image may take in memory, before they are made 8 or 16 bits."""

_PLAUSIBLE_PIXELS = 1 << 24
_PIXELS_PER_BYTE = 10_000
"""Larger images that claim more pixels than this for each byte of their file are refused: decoders
take their time to fill them. A blank mask of 1 bit has 8,256 in a PNG, a photograph under 100."""

PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
)
"""What Pillow raises for damaged files; its documentation names the first alone."""

_EXIF_ORIENTATION = 274

_PHOTOMETRIC = frozenset({0, 1, 2, 3, 4, 5})
"""TIFF photometric interpretations that we convert: grey (both ways), RGB, palette, mask, CMYK."""

_GREY = frozenset({0, 1})

_JPEG = frozenset({6, 7, 33007, 34892})
"""TIFF compressions whose decoder turns YCbCr into RGB by itself."""


@dataclass(frozen=True, eq=False)
class FundusImage:
    """One photograph: its pixels, and where it came from.

    Attributes
    ----------
    pixels
        uint8 or uint16, shape (H, W, 3), red-green-blue, read-only. Grey images are repeated
        three times; transparency is dropped.
    name
        Name for people and file names: the file's stem or the layer's name.
    path
        The file it was read from, if any.
    given_field_of_view
        bool, shape (H, W): the disc as the data set or the user gives it, if they do.
    metadata
        What the file says of itself (format, bit depth, whether it was grey or rotated).
    """

    pixels: npt.NDArray[Any]
    name: str = "image"
    path: Path | None = None
    given_field_of_view: npt.NDArray[np.bool_] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        view = self.pixels.view()
        view.flags.writeable = False
        object.__setattr__(self, "pixels", view)
        fov = self.given_field_of_view
        if fov is not None and fov.shape != self.shape:
            raise UnsupportedImageError(
                f"The field of view of {self.name!r} has shape {fov.shape}, the image {self.shape}."
            )

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        name: str = "image",
        path: Path | None = None,
        field_of_view: npt.NDArray[np.bool_] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> FundusImage:
        """Make an image of any array that shows a photograph.

        Parameters
        ----------
        array
            Shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); any integer or bool dtype, or float
            with values in [0, 1] (or [0, 255]). Anything that `numpy.asarray` takes, dask arrays
            included.
        name, path, field_of_view, metadata
            As the attributes.

        Raises
        ------
        UnsupportedImageError
            The array is not two-dimensional with 1, 3 or 4 channels, or not of real numbers.
        ImageTooSmallError
            A side is shorter than `MIN_SIDE`.
        """
        pixels = np.asarray(array)
        info = dict(metadata or {})
        if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
            pixels = pixels[..., 0]
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
            raise UnsupportedImageError(
                f"{name!r} has shape {pixels.shape}; a photograph has (height, width) or "
                "(height, width, 3 or 4 channels)."
            )
        if min(pixels.shape[:2]) < MIN_SIDE:
            raise ImageTooSmallError(
                f"{name!r} is {pixels.shape[1]}x{pixels.shape[0]} px; at least "
                f"{MIN_SIDE}x{MIN_SIDE} px are needed."
            )
        info.setdefault("grey", pixels.ndim == 2)
        info.setdefault("dtype", str(pixels.dtype))
        pixels = _to_unsigned(pixels, name)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
        return cls(
            np.ascontiguousarray(pixels[..., :3]),
            name=name,
            path=path,
            given_field_of_view=field_of_view,
            metadata=info,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def rgb8(self) -> npt.NDArray[np.uint8]:
        """The pixels as uint8, shape (H, W, 3), read-only.

        16-bit images are scaled by the smallest range of 8, 10, 12, 14 or 16 bits that holds their
        maximum, since many cameras write 12 bits into 16.
        """
        if self.pixels.dtype == np.uint8:
            return self.pixels
        peak = int(self.pixels.max())
        bits = next(b for b in (8, 10, 12, 14, 16) if peak < 1 << b)
        scaled: npt.NDArray[np.uint8] = (self.pixels >> (bits - 8)).astype(np.uint8)
        scaled.flags.writeable = False
        return scaled

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of shape, dtype and pixels: identifies an image whatever its name."""
        return exact_hash(self.pixels)

    @cached_property
    def identity(self) -> ImageIdentity:
        """Which photograph this is, by its content; copies of other sizes and codings match."""
        return ImageIdentity(
            name=self.name, sha256=self.sha256, perceptual=perceptual_hash(self.rgb8)
        )


def _to_unsigned(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return `pixels` as uint8 or uint16, without loss where the values allow it."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(pixels.dtype, np.integer):
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > np.iinfo(np.uint16).max:
            raise UnsupportedImageError(
                f"{name!r} has values from {low} to {high}; expected 0 to 65535."
            )
        return pixels.astype(np.uint8 if high <= 255 else np.uint16)
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise UnsupportedImageError(f"{name!r} holds values that are not finite.")
        low_f, high_f = float(pixels.min()), float(pixels.max())
        if low_f < 0 or high_f > 255:
            raise UnsupportedImageError(
                f"{name!r} has values from {low_f:g} to {high_f:g}; floating-point images must "
                "lie in [0, 1] or [0, 255]."
            )
        scale = 255.0 if high_f <= 1 else 1.0
        return np.rint(pixels * scale).astype(np.uint8)
    raise UnsupportedImageError(f"{name!r} has pixels of type {pixels.dtype}, not real numbers.")


def read_image(path: str | Path) -> FundusImage:
    """Read a photograph from a JPEG, PNG, TIFF, BMP, PPM, GIF or WebP file.

    The content decides, not the suffix. 8 and 16 bits, grey, palette, CMYK, RGBA, tiled and planar
    files are understood; EXIF and TIFF orientation is applied.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImageReadError
        A subclass says what is wrong: empty, no image, damaged, too small, too large.
    """
    path = Path(path)
    pixels, info = read_pixels(path)
    return FundusImage.from_array(pixels, name=path.stem, path=path, metadata=info)


def read_pixels(path: str | Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read the array of a file, upright, without any demand on its size.

    Data sets use it for masks too. Palettes are expanded: see `datasets.masks` for label images.

    Returns
    -------
    pixels
        Shape (H, W), (H, W, 3) or (H, W, 4).
    info
        ``format``, ``rotated`` and ``bits``.

    Raises
    ------
    ImageReadError
        As :func:`read_image`.
    """
    path = Path(path)
    if path.is_dir():
        raise NotAnImageError(f"{path} is a folder, not an image file.")
    content = path.read_bytes()
    if not content:
        raise EmptyFileError(f"{path} is empty (0 bytes).")
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _read_tiff(content, path)
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10":
        return _read_png16(content, path)
    return _read_pillow(content, path)


def check_size(pixels: int, path: Path, *, stored: int, bytes_per_pixel: float = 3) -> None:
    """Raise `ImageTooLargeError` for what claims too many pixels, at all or for its file's bytes.

    Parameters
    ----------
    pixels
        As the header claims.
    path
        For the message.
    stored
        Bytes of the file.
    bytes_per_pixel
        In memory, all channels together.
    """
    size = pixels * bytes_per_pixel / 1e9
    if pixels > MAX_PIXELS or 1e9 * size > MAX_BYTES:
        raise ImageTooLargeError(
            f"{path} claims {pixels / 1e6:.0f} million pixels, {size:.1f} GB; at "
            f"most {MAX_PIXELS / 1e6:.0f} million ({MAX_BYTES / 1e9:.1f} GB) are read."
        )
    if pixels > max(_PLAUSIBLE_PIXELS, _PIXELS_PER_BYTE * stored):
        raise ImageTooLargeError(
            f"{path} claims {pixels / 1e6:.0f} million pixels in {stored:,} bytes: it is damaged, "
            "or made to exhaust the reader. Copy it again from its source."
        )


def _read_pillow(content: bytes, path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise NotAnImageError(
            f"{path} is not an image: its content is none of JPEG, PNG, TIFF, BMP, PPM, GIF, WebP."
        ) from None
    except Image.DecompressionBombError:
        raise ImageTooLargeError(
            f"{path} claims more pixels than are read in one image (decompression bomb?)."
        ) from None
    except PILLOW_ERRORS as error:
        raise ImageBrokenError(f"{path} is damaged: {error}.") from error
    check_size(image.width * image.height, path, stored=len(content))
    info: dict[str, Any] = {"format": image.format, "bits": 8}
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        info["rotated"] = orientation != 1
        # In place: it would copy an image that stands upright too.
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("I;16", "I;16B", "I;16L", "I"):
            info["bits"] = 16
            return np.asarray(image).astype(np.uint16), info
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode in ("1", "LA", "La"):
            image = image.convert("L")
        elif image.mode not in ("L", "RGB", "RGBA"):
            image = image.convert("RGB")
        return np.asarray(image), info
    except PILLOW_ERRORS as error:
        raise ImageBrokenError(
            f"{path} is damaged or truncated: {error}. Copy it again from its source."
        ) from error


def _read_png16(content: bytes, path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read a PNG of 16 bits a channel, which Pillow would cut to 8."""
    import imagecodecs

    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    check_size(width * height, path, stored=len(content), bytes_per_pixel=6)
    try:
        pixels = imagecodecs.png_decode(content)
    except (imagecodecs.PngError, ValueError, RuntimeError) as error:
        raise ImageBrokenError(f"{path} is damaged or truncated: {error}.") from error
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., 0]
    orientation = _png_orientation(content)
    return _upright(pixels, orientation), {
        "format": "PNG",
        "bits": 16,
        "rotated": orientation != 1,
    }


def _png_orientation(content: bytes) -> int:
    """Return the EXIF orientation of a PNG (its chunk eXIf), 1 where it has none."""
    from PIL import Image

    start = 8
    while start + 8 <= len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(content[start + 8 : start + 8 + length])
                return int(exif.get(_EXIF_ORIENTATION, 1))
            except (OSError, SyntaxError, ValueError, TypeError, struct.error):
                return 1
        start += length + 12
    return 1


def _read_tiff(content: bytes, path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read the first page of a TIFF: tiled, planar, palette, 16 bits, CMYK, rotated."""
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
            pixels = page.asarray()
            tag = page.tags.get(_EXIF_ORIENTATION)
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
    return _upright(pixels, orientation), {
        "format": "TIFF",
        "bits": int(bits) if isinstance(bits, int) else int(max(bits)),
        "rotated": orientation != 1,
    }


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


def _upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn and mirror as the orientation tag (TIFF 6.0, tag 274; EXIF 2.3) says."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
