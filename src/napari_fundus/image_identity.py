"""Which photograph this is, by its content: an exact and a perceptual hash, whatever its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

MAX_DISTANCE = 48
"""Most bits of 256 in which the perceptual hashes of one photograph differ."""

_GRID = 64
_FIRST, _COUNT = 4, 16
"""Of the frequencies kept: lower ones show what all retinas share, higher ones are noise."""

_SIGMA = 3.0
"""Of the local mean and contrast that are taken away, in pixels of the grid."""

_DARK = 12
"""Grey level up to which a pixel is the camera's mask."""

_LEAST_LIT = 0.02
"""Least share of a row or column that is lit, where it belongs to the retina's box."""

_LEAST_CONTRAST = 0.5
"""Least deviation, in grey levels, of a picture that shows anything."""


Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
"""256 bits as hex; empty where not known."""


class ImageIdentity(BaseModel):
    """A photograph's name and the hashes of its content.

    Attributes
    ----------
    name
        For messages; it identifies nothing.
    sha256
        Hex SHA-256 of shape, dtype and pixels, see :func:`exact_hash`; empty where not known.
    perceptual
        Hex hash that copies of other sizes and codings share but for a few bits, see
        :func:`perceptual_hash`; empty where not known, or where the picture shows nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    sha256: Digest = ""
    perceptual: Digest = ""

    @property
    def known(self) -> bool:
        """Whether there is any hash."""
        return bool(self.sha256 or self.perceptual)

    def same_photograph(self, other: ImageIdentity | None) -> bool | None:
        """Say whether both are one photograph, maybe resized or encoded anew; None if unknown."""
        if other is None:
            return None
        if self.sha256 and self.sha256 == other.sha256:
            return True
        if self.perceptual and other.perceptual:
            return hash_distance(self.perceptual, other.perceptual) <= MAX_DISTANCE
        return False if self.sha256 and other.sha256 else None


class KnownImages:
    """Photographs among which one is looked up by its content.

    Parameters
    ----------
    images
        Those without a hash are left out.
    """

    def __init__(self, images: Iterable[ImageIdentity]) -> None:
        known = [image for image in images if image.known]
        self._exact = {image.sha256: image for image in reversed(known) if image.sha256}
        self._looks = [image for image in known if image.perceptual]
        hashes = b"".join(bytes.fromhex(image.perceptual) for image in self._looks)
        self._bits = np.frombuffer(hashes, np.uint64).reshape(-1, 4)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._exact or self._looks)

    def find(self, image: ImageIdentity | None) -> ImageIdentity | None:
        """Return the one that is `image`, or looks most like it and is a copy; None for none."""
        if image is None:
            return None
        if (same := self._exact.get(image.sha256)) is not None:
            return same
        if not image.perceptual or not self._looks:
            return None
        bits = np.frombuffer(bytes.fromhex(image.perceptual), np.uint64)
        distances = np.bitwise_count(self._bits ^ bits).sum(axis=1)
        nearest = int(distances.argmin())
        return self._looks[nearest] if distances[nearest] <= MAX_DISTANCE else None


def exact_hash(pixels: npt.NDArray[Any]) -> str:
    """Return the hex SHA-256 of shape, dtype and pixels."""
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """Return 256 bits, as hex, of how the retina looks: fine detail and brightness do not count.

    The green plane is cut to the bounding box of what the camera lit, so that borders do not count
    either, reduced to 64×64 px, and freed of uneven light: local mean and contrast are taken away.
    Its cosine transform's coefficients of low frequency are each above their median or not.

    Parameters
    ----------
    pixels
        uint8, shape (H, W, 3), red-green-blue.

    Returns
    -------
    str
        64 hex digits; empty where the picture shows nothing.

    References
    ----------
    .. [1] C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    import cv2

    box = _lit_box(pixels)
    if box is None:
        return ""
    patch = cv2.resize(pixels[box], (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    lit = (patch.max(axis=2) > _DARK).astype(np.float32)
    green = patch[..., 1].astype(np.float32) * lit
    weight = _blur(lit) + 1e-3
    flat = (green - _blur(green) / weight) * lit
    deviation = np.sqrt(_blur(flat**2) / weight)
    if float(deviation.max()) < _LEAST_CONTRAST:
        return ""
    flat /= deviation + _LEAST_CONTRAST
    kept = slice(_FIRST, _FIRST + _COUNT)
    low = cv2.dct(flat)[kept, kept]
    return np.packbits(low > np.median(low)).tobytes().hex()


def hash_distance(one: str, other: str) -> int:
    """Return how many bits of two perceptual hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _lit_box(pixels: npt.NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Return the rows and columns of what is lit; writing and specks beside it are too few."""
    import cv2

    step = max(max(pixels.shape[:2]) // 1024, 1)
    lit = cv2.medianBlur(pixels[::step, ::step].max(axis=2), 3) > _DARK
    edges = []
    for axis, length in ((1, pixels.shape[0]), (0, pixels.shape[1])):
        inside = np.flatnonzero(lit.mean(axis=axis) > _LEAST_LIT)
        if not len(inside):
            return None
        edges.append(slice(int(inside[0]) * step, min((int(inside[-1]) + 1) * step, length)))
    return edges[0], edges[1]


def _blur(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(plane, (0, 0), _SIGMA), np.float32)
