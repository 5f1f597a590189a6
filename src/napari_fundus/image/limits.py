"""What is read as an image, and how much of it: the bounds that guard against made-up files."""

from __future__ import annotations

import struct
from pathlib import Path

from napari_fundus.errors import ImageTooLargeError

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif"),
        *(".webp", ".jp2", ".j2k", ".avif"),
    }
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
    RuntimeError,
    struct.error,
)
"""What Pillow raises for damaged files; its documentation names the first alone."""


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
