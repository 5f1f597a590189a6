"""Regions that stand out of what surrounds them, and how well each looks like a camera's disc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing.fov_circle import fit_fov_circle
from napari_fundus.preprocessing.geometry import bounding_box

_STEPS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.17, 0.12)
"""Parts of the way from the dark level to Otsu's threshold at which the disc's edge is sought."""

_GLOW = 6.0
"""Grey levels added to the level inside, so that the rim of a faint glow is no sharp edge."""

_RECTANGULAR = 0.97
"""Least share of its bounding box that a rectangle fills; a disc that is cut fills less."""


@dataclass(frozen=True)
class LitRegion:
    """A lit region of the reduced picture, and how well it looks like a camera's disc.

    Attributes
    ----------
    mask
        bool, shape (h, w).
    plane, threshold
        Index of the plane in which it is lit, and the level that it exceeds there.
    shape
        IoU with its fitted disc, both within the region's bounding box.
    edge
        Fall of the level across its rim, as a share of the level inside.
    """

    mask: npt.NDArray[np.bool_]
    plane: int
    threshold: float
    shape: float
    edge: float

    @property
    def share(self) -> float:
        """Share of the frame that it covers."""
        return float(self.mask.mean())

    @property
    def rectangular(self) -> bool:
        """Whether it fills its bounding box, and that is not the frame."""
        box = bounding_box(self.mask)
        if box is None or self.mask.mean() > _RECTANGULAR:
            return False
        return bool(self.mask[box].mean() > _RECTANGULAR)


def lit_regions(plane: npt.NDArray[np.uint8], index: int, *, least: float) -> list[LitRegion]:
    """Return the largest lit region at each threshold from Otsu's down to the dark level.

    Parameters
    ----------
    plane
        uint8, shape (h, w).
    index
        Goes into the result.
    least
        Least share of the frame that a region covers.
    """
    found: list[LitRegion] = []
    for threshold in thresholds(plane):
        mask = largest_filled((plane > threshold).view(np.uint8), opening=3)
        if mask is None or mask.mean() < least:
            continue
        found.append(measured(mask, plane, index, threshold))
    return found


def measured(
    mask: npt.NDArray[np.bool_], plane: npt.NDArray[np.uint8], index: int, threshold: int
) -> LitRegion:
    """Return a region with its likeness to a camera's disc."""
    return LitRegion(mask, index, float(threshold), likeness_to_disc(mask), _edge(plane, mask))


def thresholds(plane: npt.NDArray[np.uint8]) -> list[int]:
    """Return levels from Otsu's threshold down to the dark level, the highest first."""
    import cv2

    otsu, _ = cv2.threshold(plane, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = float(np.percentile(plane, 0.5))
    levels = (int(dark + step * (otsu - dark)) for step in _STEPS)
    return list(dict.fromkeys(level for level in levels if level > dark))


def largest_filled(lit: npt.NDArray[np.uint8], *, opening: int = 0) -> npt.NDArray[np.bool_] | None:
    """Return the largest component of `lit` without its holes, or None where nothing is lit."""
    import cv2

    contours = _contours(lit, opening)
    if not contours:
        return None
    return _filled(max(contours, key=cv2.contourArea), lit.shape)


def all_filled(
    lit: npt.NDArray[np.uint8], *, opening: int = 0, least: float
) -> list[npt.NDArray[np.bool_]]:
    """Return the components of `lit` without their holes, those that cover `least` of the frame."""
    import cv2

    contours = _contours(lit, opening)
    large = [c for c in contours if cv2.contourArea(c) >= least * lit.size]
    return [_filled(contour, lit.shape) for contour in large]


def _contours(lit: npt.NDArray[np.uint8], opening: int) -> list[npt.NDArray[np.int32]]:
    import cv2

    if opening:
        # Cuts off text that touches the disc, and thin bridges of glare.
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (opening, opening))
        lit = np.asarray(
            cv2.morphologyEx(lit, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8
        )
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(contour, np.int32) for contour in contours]


def _filled(contour: npt.NDArray[np.int32], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    import cv2

    filled = np.zeros(shape, np.uint8)
    cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
    return filled.view(np.bool_)


def likeness_to_disc(mask: npt.NDArray[np.bool_]) -> float:
    """Return the IoU of `mask` with its fitted disc, both within the mask's bounding box."""
    box = bounding_box(mask) or np.s_[:, :]
    disc = fit_fov_circle(mask).mask(mask.shape)[box]
    return float((mask[box] & disc).sum() / (mask[box] | disc).sum())


def _edge(plane: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> float:
    """Return the fall of `plane` across the rim of `mask`, as a share of the level inside."""
    import cv2

    image = mask.view(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    outer = cv2.dilate(image, kernel, iterations=4) - cv2.dilate(image, kernel, iterations=1)
    if int(outer.sum()) < 0.02 * np.sqrt(mask.size):
        return 0.0
    near = cv2.dilate(outer, kernel, iterations=7).view(np.bool_)
    inner = cv2.erode(image, kernel, iterations=1, borderValue=1).view(np.bool_) & near
    if not inner.any():
        return 0.0
    level = float(np.median(plane[inner]))
    return max(level - float(np.median(plane[outer.view(np.bool_)])), 0.0) / (level + _GLOW)
