"""The pixels of a file, whatever its format: the content decides who decodes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_fundus.errors import EmptyFileError, NotAFileError, NotAnImageError
from napari_fundus.image.pillow_files import read_pillow, read_png16
from napari_fundus.image.tiff_files import TIFF_MARKS, read_tiff
from napari_fundus.runtime.files import read_bytes


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
    try:
        content = read_bytes(path)
    except NotAFileError as error:
        raise NotAnImageError(str(error)) from None
    if not content:
        raise EmptyFileError(f"{path} is empty (0 bytes).")
    if content[:4] in TIFF_MARKS:
        return read_tiff(content, path)
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10":
        return read_png16(content, path)
    return read_pillow(content, path)
