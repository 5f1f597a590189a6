"""The field of view: which pixels of a photograph show the retina, and which what surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing.fov_circle import fit_fov_circle
from napari_fundus.preprocessing.geometry import bounding_box
from napari_fundus.preprocessing.lit_regions import (
    LitRegion,
    all_filled,
    largest_filled,
    likeness_to_disc,
    lit_regions,
    measured,
    thresholds,
)
from napari_fundus.preprocessing.surround import Surround, fit_surround

_COARSE_SIDE = 400

_LEAST_EDGE = 0.35
"""Least step at the rim, as a share of the level inside; a vignette is far softer."""

_LEAST_SHAPE = 0.7
"""Least overlap (IoU) of the lit region with its circle, cut to the region's bounding box."""

_MUCH_LARGER = 1.3
"""Ratio of areas above which a darker region is not just the glow around a brighter one."""

_LEAST_SHARE = 0.05
"""Least share of the frame that a retina takes; a smaller one must look like a disc."""

_LEAST_SMALL = 0.002
"""Least share of the frame of such a small retina."""

_SMALL_SHAPE = 0.9
"""Least overlap of a small region, of one of two, or of one on a bright surround, with its disc."""

_LEAST_EVEN = 0.9
"""Least share of what lies outside the retina that is black, or of the surround's colour."""

_ON_SURROUND = 0.5
"""Least step at the rim, of levels of distance from a bright surround's colour."""

_GRAIN = 8.0
"""Most median deviation of such a surround from its fitted colour, in grey levels, smoothed."""

_DRAWN = 1.0
"""The same of a surround of a retina's colours; a retina's own is 3 or more."""

_LEAST_RED = 0.2
"""Least share of a retina's colours in a picture on such a surround, its black included."""

_WHOLE = 0.97
"""Share of the frame from which on a region is the frame."""

_ZOOM = 0.5
"""A retina whose box is smaller than this share of the frame is looked at again, enlarged."""

_BLACK = 30
"""Brightest channel of what counts as black around a small retina."""

_BAND = 64
"""Rows worked on at a time, so that they stay in the processor's cache."""

_TO_DO = "Check the file, or give the field of view as a mask."

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def find_field_of_view(image: FundusImage) -> Mask:
    """Return the pixels that show the retina: bool, shape (H, W).

    Otsu's threshold on the green plane, largest component, holes filled. Since a dark retina is
    itself split by that threshold, lower ones and the brightest plane are tried too, on a reduced
    copy; the region wins that has the sharpest edge and the shape nearest to a disc. Its rim is
    then found again at full size. Where the frame's border is bright and even, as of a scanned
    page, the same is done with the distance from its colour. A picture within the picture is
    searched for a disc in turn. Of two photographs side by side one is taken. A picture cropped
    inside the disc, with no surround, is field of view as a whole. A field of view that came with
    the image is returned as it is.

    Raises
    ------
    NoFieldOfViewError
        The picture is black, uniform or noise.
    """
    if image.given_field_of_view is not None:
        if not image.given_field_of_view.any():
            raise NoFieldOfViewError(
                f"The field of view given with {image.name!r} is empty. Draw or load another mask."
            )
        return image.given_field_of_view
    pixels = image.rgb8
    small, factor = reduce_picture(pixels)
    empty = _what_it_is_instead(small.max(axis=2))
    if empty == "noise":
        raise NoFieldOfViewError(f"{image.name!r} is noise: it shows no retina. {_TO_DO}")
    found = _search(pixels, small, factor, depth=0)
    # A retina in a hundredth of the frame leaves the rest black or uniform.
    if empty and found.all():
        raise NoFieldOfViewError(f"{image.name!r} is {empty}: it shows no retina. {_TO_DO}")
    return found


def reduce_picture(pixels: Pixels, side: int = _COARSE_SIDE) -> tuple[Pixels, float]:
    """Return the picture with a longer side of at most `side`, and the factor to the original's."""
    import cv2

    height, width = pixels.shape[:2]
    factor = max(max(height, width) / side, 1.0)
    size = (round(width / factor), round(height / factor))
    # Every few pixels are enough to average over, and far quicker to reach than all.
    skip = max(int(factor / 4), 1)
    small = cv2.resize(pixels[::skip, ::skip].copy(), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), factor


def _search(pixels: Pixels, small: Pixels, factor: float, *, depth: int) -> Mask:
    planes = (small[..., 1], small.max(axis=2))
    candidates = [
        region
        for index, plane in enumerate(planes)
        for region in lit_regions(plane, index, least=_LEAST_SMALL)
    ]
    best = _choose([region for region in candidates if region.share >= _LEAST_SHARE])
    plane_of: Callable[[Pixels], Pixels] = _brightest if best and best.plane else _green
    surround = None if best and _on_black(best, planes[1]) else fit_surround(small)
    if surround is not None and (found := _on_surround(small, surround)) is not None:
        best, plane_of = found, surround.distance
    elif best is None:
        best = _choose_small(candidates, planes[1]) or _one_of_several(candidates, planes)
        plane_of = _brightest if best and best.plane else _green
    if best is None:
        return np.ones(pixels.shape[:2], np.bool_)
    if depth < 3 and (inner := _look_closer(pixels, best, factor, depth=depth)) is not None:
        return inner
    return _refine(pixels, best, factor, plane_of)


def _look_closer(pixels: Pixels, best: LitRegion, factor: float, *, depth: int) -> Mask | None:
    """Search within a picture in the picture, or around a small disc; None where that is no use."""
    box = bounding_box(best.mask)
    if box is None:
        return None
    rows, cols = box
    height, width = best.mask.shape
    small = max((rows.stop - rows.start) / height, (cols.stop - cols.start) / width) < _ZOOM
    if not (best.rectangular or small):
        return None
    more = 2 if best.rectangular else 0.3 * (rows.stop - rows.start)
    # Beyond a picture's own rim nothing of the page may come in, around a disc some has to.
    grow = -more if best.rectangular else more
    top, left = (max(round((part.start - grow) * factor), 0) for part in (rows, cols))
    bottom, right = (round((part.stop + grow) * factor) for part in (rows, cols))
    part = pixels[top:bottom, left:right]
    if min(part.shape[:2]) < 32:
        return None
    inside = _search(part, *reduce_picture(part), depth=depth + 1)
    if inside.all():
        return None
    whole = np.zeros(pixels.shape[:2], np.bool_)
    whole[top:bottom, left:right] = inside
    return whole


def _disc_score(candidate: LitRegion) -> float:
    # A glow's rim is nearly as sharp as the disc's own, but ragged.
    return candidate.edge - 5 * (1 - candidate.shape)


def _choose(candidates: list[LitRegion]) -> LitRegion | None:
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


def _on_black(region: LitRegion, brightest: Pixels) -> bool:
    """Say whether what lies outside a region is black, and the region no picture in the picture."""
    outside = brightest[~region.mask]
    return not region.rectangular and bool((outside <= _BLACK).mean() >= _LEAST_EVEN)


def _choose_small(candidates: list[LitRegion], brightest: Pixels) -> LitRegion | None:
    """Return a disc that takes a small part of a black frame, or None."""
    usable = [
        c
        for c in candidates
        if c.share < _LEAST_SHARE
        and c.edge >= _LEAST_EDGE
        and c.shape >= _SMALL_SHAPE
        and _on_black(c, brightest)
    ]
    return max(usable, key=_disc_score, default=None)


def _one_of_several(candidates: list[LitRegion], planes: tuple[Pixels, ...]) -> LitRegion | None:
    """Return the part of a lit region that one disc explains, where discs touch each other."""
    found: list[LitRegion] = []
    for whole in candidates:
        if whole.edge < _LEAST_EDGE:
            continue
        disc = fit_fov_circle(whole.mask).mask(whole.mask.shape)
        one = whole.mask & disc
        # The rest must be about as large: another photograph.
        if not 0.25 < (whole.mask & ~disc).sum() / max(one.sum(), 1) < 4:
            continue
        if likeness_to_disc(one) >= _SMALL_SHAPE:
            found.append(measured(one, planes[whole.plane], whole.plane, int(whole.threshold)))
    return max(found, key=lambda region: region.shape, default=None)


def _on_surround(small: Pixels, surround: Surround) -> LitRegion | None:
    """Return the disc, or the picture, that lies on an even bright ground; None for none."""
    distance = surround.distance(small)
    found: list[LitRegion] = []
    for threshold in thresholds(distance):
        lit = (distance > threshold).view(np.uint8)
        regions = [
            region
            for mask in all_filled(lit, opening=3, least=_LEAST_SMALL)
            if (region := measured(mask, distance, -1, threshold)).share < _WHOLE
            and region.edge >= _ON_SURROUND
            and (region.shape >= _SMALL_SHAPE or region.rectangular)
        ]
        inside = np.logical_or.reduce([region.mask for region in regions] or [lit > 1])
        if ((distance <= threshold) | _is_black(small))[~inside].mean() >= _LEAST_EVEN:
            found += regions
    best = max(found, key=_disc_score, default=None)
    return best if best and _is_ground(small, surround, best) else None


def _is_ground(small: Pixels, surround: Surround, region: LitRegion) -> bool:
    """Say whether a surround is even enough to be no retina around the optic disc or the fovea.

    Where retina and ground can be told apart by their colours, a scanned page may have its grain;
    else the ground must be as even as only a program draws it.
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    near = cv2.dilate(region.mask.view(np.uint8), kernel, iterations=4).view(np.bool_)
    ground = ~near & ~_is_black(small) & (surround.distance(small) <= region.threshold)
    smooth = np.asarray(cv2.blur(small, (5, 5)), np.uint8)
    uneven = surround.distance(smooth)[ground]
    if not uneven.size:
        return True
    told_by_colour = not _is_red(np.median(small[ground], axis=0)) and bool(
        _is_red(small[region.mask].T).mean() >= _LEAST_RED
    )
    return bool(np.median(uneven) <= (_GRAIN if told_by_colour else _DRAWN))


def _is_red(colour: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say which colours, channels first, are as red as a retina."""
    red, green, blue = colour.astype(np.float64)
    return np.asarray((red >= 1.15 * green) & (red >= 1.15 * blue))


def _is_black(small: Pixels) -> Mask:
    return np.asarray(small.max(axis=2) <= _BLACK)


def _what_it_is_instead(plane: Pixels) -> str:
    """Return what a reduced picture is that has no structure of a retina; empty where it has."""
    low, high = np.percentile(plane, (1, 99))
    if high < 6:
        return "black"
    if high - low < 4:
        return "uniform"
    centred = plane.astype(np.float64) - plane.mean()
    power = float((centred**2).mean())
    likeness = min(
        float((centred[1:] * centred[:-1]).mean()), float((centred[:, 1:] * centred[:, :-1]).mean())
    )
    # Neighbours in a photograph are alike; in noise they are not.
    return "noise" if likeness < 0.5 * power else ""


def _refine(
    pixels: Pixels, coarse: LitRegion, factor: float, plane_of: Callable[[Pixels], Pixels]
) -> Mask:
    """Find the rim of the `coarse` region again in the full picture, and mend bites out of it."""
    import cv2

    height, width = pixels.shape[:2]
    kernel = np.ones((3, 3), np.uint8)
    reach = 3
    image = coarse.mask.view(np.uint8)

    def enlarged(small: Any) -> Pixels:
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))

    core = enlarged(cv2.erode(image, kernel, iterations=reach, borderValue=1))
    hull = enlarged(cv2.dilate(image, kernel, iterations=reach))
    blur = 2 * int(factor / 3) + 1
    plane = np.asarray(cv2.blur(plane_of(pixels), (blur, blur)), np.uint8)
    lit = np.asarray(cv2.threshold(plane, coarse.threshold, 1, cv2.THRESH_BINARY)[1], np.uint8)
    mask = largest_filled((lit & hull) | core)
    if mask is None:
        return enlarged(image).view(np.bool_)
    if coarse.shape > 0.97:
        # The disc's own circle, a little shrunk, closes bites where the retina is black.
        box = bounding_box(mask) or np.s_[:, :]
        disc = fit_fov_circle(mask)
        shrunk = type(disc)(disc.centre_row, disc.centre_col, 0.985 * disc.radius)
        mask[box] |= shrunk.mask((height, width))[box]
    return mask


def _green(pixels: Pixels) -> Pixels:
    return pixels[..., 1].copy()


def _brightest(pixels: Pixels) -> Pixels:
    import cv2

    brightest = np.empty(pixels.shape[:2], np.uint8)
    # Band by band: whole planes would be fresh memory, which costs more than the arithmetic.
    for start in range(0, len(pixels), _BAND):
        red, green, blue = cv2.split(pixels[start : start + _BAND])
        cv2.max(cv2.max(red, green), blue, dst=brightest[start : start + _BAND])
    return brightest
