"""Several photographs in one picture: beside the one whose field of view was found, or joined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing.field_of_view import reduce_picture
from napari_fundus.preprocessing.geometry import bounding_box
from napari_fundus.preprocessing.lit_regions import all_filled, likeness_to_disc

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_OTHER_AREA = (0.3, 3.0)
"""Area of another photograph, in areas of the field of view."""

_OTHER_SHAPE = 0.8
"""Least overlap of another photograph with its disc, within its bounding box."""

_OTHER_COLOUR = 70.0
"""Grey levels by which its median colour may differ from the field of view's."""

_LIT = 0.4
"""Level above that of the surround at which it begins, in that of the field of view."""

_RECTANGULAR = 0.97
"""Least share of its bounding box that a rectangular field of view fills."""

_HUE = 0.12
"""Most difference in the shares of red, green and blue of two parts of one kind."""

_LEAST_LIGHT = 40
"""Least red of what is no black surround."""

_SEAM = 8.0
"""Least median step across a seam, in grey levels."""

_SEAM_RATIO = 3.5
"""The same, in steps across nine tenths of all other lines."""


def find_several(pixels: Pixels, field_of_view: Mask) -> str:
    """Return what to say of a picture that holds several photographs; empty for a single one.

    Parameters
    ----------
    pixels
        uint8, shape (H, W, 3).
    field_of_view
        bool, shape (H, W), of the one that is analysed.
    """
    import cv2

    small, _ = reduce_picture(pixels)
    size = small.shape[1], small.shape[0]
    field = np.asarray(
        cv2.resize(field_of_view.view(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8
    ).view(np.bool_)
    others = _others(small, field)
    if others:
        rest = "the other was" if len(others) == 1 else "the others were"
        return (
            f"The picture holds {len(others) + 1} photographs: the one {_place(field)} was "
            f"analysed, {rest} not. Cut the picture into one file each."
        )
    if _has_seam(small, field) or _beside_a_retina(small, field):
        return (
            "A straight seam runs through the picture: it may hold several photographs. Cut it "
            "into one file each."
        )
    return ""


def _others(small: Pixels, field: Mask) -> list[Mask]:
    """Return regions outside the field of view that look like it: discs of its size and colour."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    near = cv2.dilate(field.view(np.uint8), kernel, iterations=4).view(np.bool_)
    outside = ~near
    if outside.sum() < _OTHER_AREA[0] * field.sum():
        return []
    colour = np.median(small[field], axis=0)
    # The border belongs to the surround rather than to another photograph.
    edge = np.ones(field.shape, np.bool_)
    edge[4:-4, 4:-4] = False
    ground = np.median(small[outside & edge if (outside & edge).any() else outside], axis=0)
    if np.abs(ground - colour).max() < _SEAM:
        return []
    away = np.abs(small - ground).max(axis=2)
    lit = (away > _LIT * np.median(away[field])) & outside
    found = []
    for mask in all_filled(lit.view(np.uint8), opening=3, least=0.002):
        area = mask.sum() / field.sum()
        alike = np.abs(np.median(small[mask], axis=0) - colour).max() <= _OTHER_COLOUR
        if _OTHER_AREA[0] <= area <= _OTHER_AREA[1] and alike:
            found.append(mask)
    return [mask for mask in found if likeness_to_disc(mask) >= _OTHER_SHAPE]


def _beside_a_retina(small: Pixels, field: Mask) -> bool:
    """Say whether a rectangular field of view lies beside as much of the same colours."""
    box = bounding_box(field)
    outside = ~field
    if box is None or field[box].mean() < _RECTANGULAR or outside.mean() < 0.2:
        return False
    colour, other = (np.median(small[part], axis=0) for part in (field, outside))
    red = other[0] >= max(1.15 * max(other[1], other[2]), _LEAST_LIGHT)
    hues = colour / colour.sum(), other / other.sum()
    return bool(red and np.abs(hues[0] - hues[1]).max() <= _HUE)


def _has_seam(small: Pixels, field: Mask) -> bool:
    """Say whether a straight line parts the field of view, with a step along most of it."""
    levels = small.astype(np.int16)
    for axis in (0, 1):
        if axis:
            levels, field = levels.transpose(1, 0, 2), field.T
        step = np.abs(levels[:, 2:] - levels[:, :-2]).max(axis=2)
        both = field[:, 2:] & field[:, :-2]
        columns = np.flatnonzero(both.sum(axis=0) > 0.5 * both.sum(axis=0).max())
        if len(columns) < 20:
            continue
        medians = np.array([np.median(step[both[:, col], col]) for col in columns])
        middle = slice(len(columns) // 5, len(columns) - len(columns) // 5)
        usual = max(float(np.percentile(medians, 90)), 1.0)
        if medians[middle].max() >= max(_SEAM, _SEAM_RATIO * usual):
            return True
    return False


def _place(field: Mask) -> str:
    """Return where in the picture the field of view is, in words."""
    rows, cols = np.nonzero(field)
    row, col = rows.mean() / field.shape[0] - 0.5, cols.mean() / field.shape[1] - 0.5
    words = [
        word
        for word, there in (
            ("above", row < -0.1),
            ("below", row > 0.1),
            ("left", col < -0.1),
            ("right", col > 0.1),
        )
        if there
    ]
    return " ".join(words) or "in the middle"
