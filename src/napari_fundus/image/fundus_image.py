"""A fundus photograph in memory, of a file or of an array."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import ImageTooSmallError, UnsupportedImageError
from napari_fundus.image.limits import MIN_SIDE
from napari_fundus.image.pixels import read_pixels
from napari_fundus.image_identity import ImageIdentity, exact_hash, perceptual_hash


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
        if pixels.ndim == 3 and pixels.shape[2] not in (3, 4) and pixels.shape[0] in (3, 4):
            raise UnsupportedImageError(
                f"{name!r} has shape {pixels.shape}, with the channels first as it seems. A "
                "photograph has them last: give np.moveaxis(array, 0, -1)."
            )
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


def read_identity(path: str | Path) -> ImageIdentity:
    """Return which photograph a file holds; it is read again only when it has changed.

    Raises
    ------
    OSError, ImageReadError
        As :func:`read_image`.
    """
    path = Path(path)
    state = path.stat()
    return _identity(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1 << 17)
def _identity(path: Path, modified: int, size: int) -> ImageIdentity:
    del modified, size  # with others the file is read anew
    return read_image(path).identity
