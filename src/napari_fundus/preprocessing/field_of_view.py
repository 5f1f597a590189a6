"""The field of view: which pixels of a photograph show the retina, and which the camera's mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing.fov_circle import fit_fov_circle
from napari_fundus.preprocessing.geometry import bounding_box

_COARSE_SIDE = 400
_STEPS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.17, 0.12)
"""Parts of the way from the dark level to Otsu's threshold at which the disc's edge is sought."""

_LEAST_EDGE = 0.35
"""Least step at the rim, as a share of the level inside; a vignette is far softer."""

_GLOW = 6.0
"""Grey levels added to the level inside, so that the rim of a faint glow is no sharp edge."""

_LEAST_SHAPE = 0.7
"""Least overlap (IoU) of the lit region with its circle, cut to the region's bounding box."""

_MUCH_LARGER = 1.3
"""Ratio of areas above which a darker region is not just the glow around a brighter one."""

_BAND = 64
"""Rows worked on at a time, so that they stay in the processor's cache."""

_TO_DO = "Check the file, or give the field of view as a mask."


@dataclass(frozen=True)
class _Candidate:
    """A lit region of the reduced picture, and how well it looks like a camera's disc."""

    mask: npt.NDArray[np.bool_]
    plane: int
    threshold: float
    shape: float
    edge: float


def find_field_of_view(image: FundusImage) -> npt.NDArray[np.bool_]:
    """Return the pixels that show the retina: bool, shape (H, W).

    Otsu's threshold on the green plane, largest component, holes filled. Since a dark retina is
    itself split by that threshold, lower ones and the brightest plane are tried too, on a reduced
    copy; the region wins that has the sharpest edge and the shape nearest to a disc. Its rim is
    then found again at full size. A picture cropped inside the disc, with no dark surround, is
    field of view as a whole. A field of view that came with the image is returned as it is.

    Raises
    ------
    NoFieldOfViewError
        The picture is black, uniform or noise.
    """
    import cv2

    if image.given_field_of_view is not None:
        if not image.given_field_of_view.any():
            raise NoFieldOfViewError(
                f"The field of view given with {image.name!r} is empty. Draw or load another mask."
            )
        return image.given_field_of_view
    pixels = image.rgb8
    factor = max(max(image.shape) / _COARSE_SIDE, 1.0)
    size = (round(image.shape[1] / factor), round(image.shape[0] / factor))
    # Every few pixels are enough to average over, and far quicker to reach than all.
    skip = max(int(factor / 4), 1)
    small = np.asarray(
        cv2.resize(pixels[::skip, ::skip].copy(), size, interpolation=cv2.INTER_AREA), np.uint8
    )
    planes = (small[..., 1], small.max(axis=2))
    _raise_if_empty(planes[1], image.name)
    candidates = [c for index, plane in enumerate(planes) for c in _candidates(plane, index)]
    best = _choose(candidates)
    if best is None:
        return np.ones(image.shape, np.bool_)
    return _refine(pixels, best, factor)


def _disc_score(candidate: _Candidate) -> float:
    # A glow's rim is nearly as sharp as the disc's own, but ragged.
    return candidate.edge - 5 * (1 - candidate.shape)


def _choose(candidates: list[_Candidate]) -> _Candidate | None:
    """Return the region most like a camera's disc, or None where the picture has no dark rim."""
    usable = [c for c in candidates if c.edge >= _LEAST_EDGE and c.shape >= _LEAST_SHAPE]
    best = max(usable, key=_disc_score, default=None)
    if best is None:
        return None
    # A region that is much larger and as round is the retina of which the best is the lit part;
    # a glow around the disc is only a little larger.
    larger = [
        c
        for c in usable
        if c.mask.mean() > _MUCH_LARGER * best.mask.mean() and c.shape > best.shape - 0.03
    ]
    return max(larger, key=_disc_score, default=best)


def _raise_if_empty(plane: npt.NDArray[np.uint8], name: str) -> None:
    """Raise where the reduced picture has no structure that a retina could be."""
    low, high = np.percentile(plane, (1, 99))
    if high < 6:
        raise NoFieldOfViewError(f"{name!r} is black: it shows no retina. {_TO_DO}")
    if high - low < 4:
        raise NoFieldOfViewError(f"{name!r} is uniform: it shows no retina. {_TO_DO}")
    centred = plane.astype(np.float64) - plane.mean()
    power = float((centred**2).mean())
    likeness = min(
        float((centred[1:] * centred[:-1]).mean()), float((centred[:, 1:] * centred[:, :-1]).mean())
    )
    # Neighbours in a photograph are alike; in noise they are not.
    if likeness < 0.5 * power:
        raise NoFieldOfViewError(f"{name!r} is noise: it shows no retina. {_TO_DO}")


def _candidates(plane: npt.NDArray[np.uint8], index: int) -> list[_Candidate]:
    """Return the lit region of `plane` at each threshold from Otsu's down to the dark level."""
    import cv2

    otsu, _ = cv2.threshold(plane, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = float(np.percentile(plane, 0.5))
    found: list[_Candidate] = []
    seen: set[int] = set()
    for step in _STEPS:
        threshold = int(dark + step * (otsu - dark))
        if threshold <= dark or threshold in seen:
            continue
        seen.add(threshold)
        mask = _largest_filled((plane > threshold).view(np.uint8), opening=3)
        if mask is None or mask.mean() < 0.05:
            continue
        found.append(
            _Candidate(mask, index, float(threshold), _likeness_to_disc(mask), _edge(plane, mask))
        )
    return found


def _largest_filled(
    lit: npt.NDArray[np.uint8], *, opening: int = 0
) -> npt.NDArray[np.bool_] | None:
    """Return the largest component of `lit` without its holes, or None where nothing is lit."""
    import cv2

    if opening:
        # Cuts off text that touches the disc, and thin bridges of glare.
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (opening, opening))
        lit = np.asarray(
            cv2.morphologyEx(lit, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8
        )
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    filled = np.zeros(lit.shape, np.uint8)
    cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.view(np.bool_)


def _likeness_to_disc(mask: npt.NDArray[np.bool_]) -> float:
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


def _refine(
    pixels: npt.NDArray[np.uint8], coarse: _Candidate, factor: float
) -> npt.NDArray[np.bool_]:
    """Find the rim of the `coarse` region again in the full picture, and mend bites out of it."""
    import cv2

    height, width = pixels.shape[:2]
    kernel = np.ones((3, 3), np.uint8)
    reach = 3
    image = coarse.mask.view(np.uint8)

    def enlarged(small: Any) -> npt.NDArray[np.uint8]:
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))

    core = enlarged(cv2.erode(image, kernel, iterations=reach, borderValue=1))
    hull = enlarged(cv2.dilate(image, kernel, iterations=reach))
    blur = 2 * int(factor / 3) + 1
    plane = pixels[..., 1].copy() if coarse.plane == 0 else _brightest(pixels)
    plane = np.asarray(cv2.blur(plane, (blur, blur)), np.uint8)
    lit = np.asarray(cv2.threshold(plane, coarse.threshold, 1, cv2.THRESH_BINARY)[1], np.uint8)
    mask = _largest_filled((lit & hull) | core)
    if mask is None:
        return enlarged(image).view(np.bool_)
    if coarse.shape > 0.97:
        # The disc's own circle, a little shrunk, closes bites where the retina is black.
        box = bounding_box(mask) or np.s_[:, :]
        disc = fit_fov_circle(mask)
        shrunk = type(disc)(disc.centre_row, disc.centre_col, 0.985 * disc.radius)
        mask[box] |= shrunk.mask((height, width))[box]
    return mask


def _brightest(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    import cv2

    brightest = np.empty(pixels.shape[:2], np.uint8)
    # Band by band: whole planes would be fresh memory, which costs more than the arithmetic.
    for start in range(0, len(pixels), _BAND):
        red, green, blue = cv2.split(pixels[start : start + _BAND])
        cv2.max(cv2.max(red, green), blue, dst=brightest[start : start + _BAND])
    return brightest
