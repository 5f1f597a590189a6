"""Files that Pillow decodes, of formats on a list, and PNGs of 16 bits, which it would cut to 8."""

from __future__ import annotations

import io
import struct
import warnings
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import ImageBrokenError, ImageTooLargeError, NotAnImageError
from napari_fundus.image.isolation import read_isolated
from napari_fundus.image.jpeg_markers import check_jpeg
from napari_fundus.image.limits import PILLOW_ERRORS, check_size
from napari_fundus.image.orientation import EXIF_ORIENTATION, upright
from napari_fundus.runtime.files import check_is_file

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "PPM", "GIF", "WEBP", "JPEG2000", "AVIF")
"""What Pillow may read. Others of its formats start programs (PostScript) or are no photographs."""

_ISOLATED = frozenset({"JPEG2000", "AVIF"})
"""Formats whose decoders take the sizes of an inner stream, whatever the file's header says."""


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    """Return those of `_FORMATS` that the installed Pillow knows: AVIF is new in 11.3."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def open_pillow(source: Path | IO[bytes]) -> Image.Image:
    """Open a picture of a format on the list; the only door to Pillow's readers.

    Parameters
    ----------
    source
        A file, or what is open already. Only its header is read.

    Raises
    ------
    PIL.UnidentifiedImageError
        It is of no format on the list.
    NotAFileError
        It is a pipe, device or folder.
    """
    from PIL import Image

    if isinstance(source, Path):
        check_is_file(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=_formats())


def read_pillow(
    content: bytes, path: Path, *, isolated: bool = False
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read a picture as `napari_fundus.image.read_pixels` does.

    Parameters
    ----------
    content
        Of the file.
    path
        For messages.
    isolated
        Whether this process is the one with limits, in which any format is decoded.

    Raises
    ------
    ImageReadError
        As there.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = open_pillow(io.BytesIO(content))
    except UnidentifiedImageError:
        raise NotAnImageError(
            f"{path} is not an image that is read: its content is none of JPEG, PNG, TIFF, BMP, "
            "PPM, GIF, WebP, JPEG 2000, AVIF."
        ) from None
    except Image.DecompressionBombError:
        raise ImageTooLargeError(
            f"{path} claims more pixels than are read in one image (decompression bomb?)."
        ) from None
    except PILLOW_ERRORS as error:
        raise ImageBrokenError(f"{path} is damaged: {error}.") from error
    check_size(image.width * image.height, path, stored=len(content))
    if image.format in _ISOLATED and not isolated:
        return read_isolated(content, path, claimed=4 * image.width * image.height)
    if image.format in ("JPEG", "MPO"):
        check_jpeg(content, path)
    info: dict[str, Any] = {"format": image.format, "bits": 8}
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        info["rotated"] = orientation != 1
        # In place: it would copy an image that stands upright too.
        ImageOps.exif_transpose(image, in_place=True)
        pixels = pillow_pixels(image)
        info["bits"] = 16 if pixels.dtype == np.uint16 else 8
        return pixels, info
    except PILLOW_ERRORS as error:
        raise ImageBrokenError(
            f"{path} is damaged or truncated: {error}. Copy it again from its source."
        ) from error


def pillow_pixels(image: Image.Image) -> npt.NDArray[Any]:
    """Return a picture's colours or greys, its palette expanded: shape (H, W) or (H, W, 3 or 4)."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("1", "LA", "La"):
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA", "F"):
        image = image.convert("RGB")
    return np.asarray(image)


def read_png16(content: bytes, path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read a PNG of 16 bits a channel, which Pillow would cut to 8; see :func:`read_pillow`."""
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
    return upright(pixels, orientation), {
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
                return int(exif.get(EXIF_ORIENTATION, 1))
            except (OSError, SyntaxError, ValueError, TypeError, struct.error):
                return 1
        start += length + 12
    return 1
