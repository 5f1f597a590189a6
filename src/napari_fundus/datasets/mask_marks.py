"""What a decoded mask marks: its ground, what stands out of it, and the refusal of unclear masks.

The ground is what most of the pixels are, whatever its colour: a lesion never covers most of a
picture. Whatever differs from the ground is marked. Pixels after lossy compression are noisy, and
count from halfway between the ground and what differs most from it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.errors import DatasetError

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[Any]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in JPEG (ITU-R BT.601), whose colours alone are blurred more."""

_LEAST_CONTRAST = 16 / 255
"""Least contrast that is told from the noise of lossy compression, as a share of the range."""

_LUMA_CONTRAST = 48 / 255
"""Least contrast in luma from which on the colours are not looked at."""

_FULL_CONTRAST = 0.75
"""Contrast from which on noise does not move outlines that are drawn at half of it."""

_LARGEST_DISC = 0.2
"""Largest share of the retina that a disc may cover; an optic disc has 0.03, in close views more.
The retina itself may be that small in its picture."""

_REMEDY = "Save it as PNG with the lesions in white on black."


def find_marks(
    pixels: Pixels,
    name: str,
    *,
    lossy: bool = False,
    smooth: bool = False,
    palette: Pixels | None = None,
) -> Mask:
    """Return what a mask of lesions marks.

    Parameters
    ----------
    pixels
        As decoded: shape (H, W), or (H, W, C) of 2 or 4 channels with transparency or 3 without.
    name
        Of the file, for messages.
    lossy
        Whether the file's compression changes pixels.
    smooth
        Whether edges are known to be smoothed: they count from halfway, as for lossy files.
    palette
        For indices: the colour of each, shape (N, 4), red, green, blue and opacity.

    Returns
    -------
    marks
        bool, shape (H, W).

    Raises
    ------
    DatasetError
        It cannot be known what is marked: a picture of one colour that is not black, a picture
        without a ground, a mask turned inside out, noise without a clear mark.
    """
    if pixels.dtype.kind in "fc" and not np.isfinite(pixels).all():
        raise DatasetError(f"The mask {name} holds values that are not finite. {_REMEDY}")
    if pixels.ndim == 2:
        marks = _noisy_marks(pixels, name) if lossy else _grey_marks(pixels, name, palette)
    else:
        marks = _channel_marks(pixels, name, lossy=lossy)
    if smooth and not lossy and palette is None:
        marks &= _upper_half(pixels, marks)
    _refuse_unclear(marks, name)
    return marks


def _upper_half(pixels: Pixels, marks: Mask) -> Mask:
    """Return where pixels differ from the ground by more than half of what the marks do at most."""
    values = (pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)).astype(np.float32)
    distance = np.abs(values - values.flat[int(np.argmin(marks))])
    upper: Mask = distance > distance.max() / 2
    return upper


def _channel_marks(pixels: Pixels, name: str, *, lossy: bool) -> Mask:
    """Return what is marked by colour, by transparency, or by both."""
    colours, alpha = pixels, None
    if pixels.shape[2] in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1]
        if alpha.min() == alpha.max():
            alpha = None
    if alpha is not None:
        return _transparent_marks(colours, alpha, name, lossy=lossy)
    return _noisy_marks(colours, name) if lossy else _colour_marks(colours, name)


def _transparent_marks(colours: Pixels, alpha: Pixels, name: str, *, lossy: bool) -> Mask:
    """Return what is marked where the opacity differs from pixel to pixel.

    What is wholly transparent has no colour, whatever is stored there. Where the rest has one
    colour, the opacity marks; else the colours do, and what is transparent is cut away.
    """
    visible: Mask = alpha > 0
    seen = colours[visible]
    one_colour = bool(seen.size) and bool((seen == seen[0]).all())
    transparent = visible.size - int(np.count_nonzero(visible))
    if one_colour:
        return _differs(alpha, _commonest(alpha)) if not transparent else _minority(visible)
    keys = _packed(seen)
    ground, number = _commonest_with_count(keys)
    if transparent >= number and not lossy:
        return visible
    if lossy:
        if 2 * transparent > visible.size:
            half: Mask = alpha > int(alpha.max()) // 2
            return half
        filled = colours.copy()
        filled[~visible] = np.median(seen, axis=0).astype(colours.dtype)
        return _noisy_marks(filled, name)
    marks = np.zeros(visible.shape, np.bool_)
    marks[visible] = keys != ground
    return marks


def _minority(flags: Mask) -> Mask:
    return flags if 2 * np.count_nonzero(flags) <= flags.size else ~flags


def _grey_marks(values: Pixels, name: str, palette: Pixels | None = None) -> Mask:
    """Return what differs from the ground in grey values or indices."""
    ground = _commonest(values)
    marks = _differs(values, ground)
    if not marks.any():
        _refuse_plain(int(ground) if palette is not None else ground, name, palette)
        return marks
    if palette is not None:
        # A palette may hold one colour twice; one that holds nothing else says nothing.
        other = (palette != palette[int(ground)]).any(axis=1)[values[marks]]
        if other.any():
            marks[marks] = other
    elif values.dtype == np.uint8 and _looks_compressed(values[..., np.newaxis], marks):
        return _noisy_marks(values, name)
    return marks


def _colour_marks(colours: Pixels, name: str) -> Mask:
    """Return what differs from the ground in red, green or blue."""
    strongest = colours.max(axis=2)
    if 2 * np.count_nonzero(strongest) < strongest.size:
        return _grey_marks(strongest, name)
    keys = _packed(colours)
    ground = _commonest(keys)
    marks = _differs(keys, ground)
    if not marks.any():
        _refuse_plain(strongest.flat[0], name, None)
        return marks
    if colours.dtype == np.uint8 and _looks_compressed(colours, marks):
        return _noisy_marks(colours, name)
    return marks


def _refuse_plain(ground: Any, name: str, palette: Pixels | None) -> None:
    """Refuse a picture of one colour, which marks all or nothing, unless it is black."""
    black = ground == 0
    if palette is not None:
        dark = ~palette[:, :3].any(axis=1) | (palette[:, 3] == 0)
        black = bool(dark[ground]) and (ground == 0 or not dark[0])
    if not black:
        raise DatasetError(
            f"The mask {name} has one colour throughout, and it is not black: whether all of the "
            f"picture is marked or nothing of it cannot be known. {_REMEDY}"
        )


def _noisy_marks(pixels: Pixels, name: str) -> Mask:
    """Return what differs from the ground by more than half of the largest contrast."""
    colours = (pixels if pixels.ndim == 3 else pixels[..., np.newaxis]).astype(np.float32)
    if np.issubdtype(pixels.dtype, np.unsignedinteger):
        colours *= np.float32(1 / np.iinfo(pixels.dtype).max)
    ground = np.median(colours.reshape(-1, colours.shape[2]), axis=0)
    distance = np.abs(colours - ground).max(axis=2)
    if colours.shape[2] == 3:
        luma = np.abs((colours - ground) @ _LUMA)
        distance = luma if luma.max() >= _LUMA_CONTRAST else distance
    peak = float(distance.max())
    if peak < _LEAST_CONTRAST:
        if peak < _LEAST_CONTRAST / 4 and ground.max() < _LEAST_CONTRAST:
            return np.zeros(distance.shape, np.bool_)
        raise DatasetError(
            f"The mask {name} is compressed with loss, and nothing in it stands out of the noise: "
            f"what is marked cannot be known. {_REMEDY}"
        )
    if _has_plateau(distance, peak):
        raise DatasetError(
            f"The mask {name} is compressed with loss and holds several levels: which of them are "
            f"marked cannot be known. {_REMEDY}"
        )
    marks: Mask = distance > np.float32(peak / 2)
    unsure = np.count_nonzero((distance > 0.35 * peak) & (distance < 0.65 * peak))
    if peak < _FULL_CONTRAST and unsure > 0.04 * np.count_nonzero(marks):
        raise DatasetError(
            f"The mask {name} is compressed with loss so hard, for a mark of {peak:.0%} of full "
            f"white, that the outlines are lost. {_REMEDY}"
        )
    return marks


def _has_plateau(distance: npt.NDArray[np.float32], peak: float) -> bool:
    """Tell whether an area lies flat between the ground and the strongest mark."""
    between = (distance > 0.2 * peak) & (distance < 0.8 * peak)
    around = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(distance, around) - cv2.erode(distance, around) < 0.06 * peak
    whole = cv2.erode((between & flat).astype(np.uint8), around)
    return bool(whole.any())


def _looks_compressed(colours: npt.NDArray[np.uint8], marks: Mask) -> bool:
    """Tell whether pixels were compressed with loss before they came into a lossless file.

    Noise lies in several levels close to the ground, next to each other, and close to the marks.
    Smooth edges lie as much in between, and each of numbered lesions has one level.
    """
    ground = colours[np.unravel_index(int(np.argmin(marks)), marks.shape)].astype(np.int16)
    away = np.abs(colours[marks].astype(np.int16) - ground).max(axis=1)
    counts = np.bincount(away, minlength=256)
    peak = int(np.flatnonzero(counts)[-1])
    if peak < 32:
        return False
    low, high = peak // 4, peak - peak // 4
    faint, between, near = counts[1:low], counts[low:high], counts[high:peak]
    if np.count_nonzero(faint) < 2 or np.count_nonzero(near) < 2:
        return False
    if faint.sum() + near.sum() <= 4 * between.sum():
        return False
    distance = np.zeros(marks.shape, np.int16)
    distance[marks] = away
    left, right = distance[:, :-1], distance[:, 1:]
    pairs = (left > 0) & (left < low) & (right > 0) & (right < low)
    return bool(np.count_nonzero(pairs & (left != right)) > 0.3 * np.count_nonzero(pairs) > 0)


def _refuse_unclear(marks: Mask, name: str) -> None:
    """Refuse marks that no lesion has: of most of the picture or the retina, or all around it."""
    height, width = marks.shape
    number = int(np.count_nonzero(marks))
    edge = np.concatenate([marks[0], marks[-1], marks[1:-1, 0], marks[1:-1, -1]])
    corners = int(marks[[0, 0, -1, -1], [0, -1, 0, -1]].sum())
    # The retina is at least about the disc that the shorter side holds.
    retina = np.pi / 4 * min(height, width) ** 2
    if 2 * number >= marks.size:
        what = f"no colour of it covers more than half of the picture ({number / marks.size:.0%})"
    elif 2 * np.count_nonzero(edge) > edge.size or corners > 2:
        what = "it would mark what surrounds the retina"
    elif 2 * number > retina:
        what = f"it would mark {number / marks.size:.0%} of the picture, most of the retina"
    elif number > _LARGEST_DISC * retina and _is_round(marks):
        what = "it would mark a disc of the size of a retina"
    else:
        return
    raise DatasetError(
        f"The mask {name} is not used: {what}, as no lesion does. It may be turned inside out, or "
        f"show the field of view. {_REMEDY}"
    )


def _is_round(marks: Mask) -> bool:
    """Tell whether the largest outline, with what it encloses, is a disc."""
    outlines, _ = cv2.findContours(marks.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    _, radius = cv2.minEnclosingCircle(outline)
    area = cv2.contourArea(outline)
    return bool(area > 0.9 * np.pi * radius**2 and 2 * area > np.count_nonzero(marks))


def _packed(colours: Pixels) -> Pixels:
    """Return one number for each colour (last axis): equal ones for equal colours."""
    if colours.dtype.kind not in "ub" or colours.dtype.itemsize > 2:
        _, keys = np.unique(colours.reshape(-1, colours.shape[-1]), axis=0, return_inverse=True)
        return np.asarray(keys).reshape(colours.shape[:-1])
    keys = np.zeros(colours.shape[:-1], np.uint64)
    for channel in range(colours.shape[-1]):
        keys = keys << np.uint64(8 * colours.dtype.itemsize) | colours[..., channel]
    return keys


def _commonest(values: Pixels) -> Any:
    """Return the commonest value."""
    if 2 * np.count_nonzero(values) < values.size:
        return values.dtype.type(0)
    return _commonest_with_count(values)[0]


def _commonest_with_count(values: Pixels) -> tuple[Any, int]:
    found, counts = np.unique(values, return_counts=True)
    most = int(np.argmax(counts))
    return found[most], int(counts[most])


def _differs(values: Pixels, ground: Any) -> Mask:
    differing: Mask = values != ground
    return differing
