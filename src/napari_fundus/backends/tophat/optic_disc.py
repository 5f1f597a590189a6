"""Where the optic disc is: a bright round patch on which the large vessels meet."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.backends.tophat.filters import (
    Mask,
    Plane,
    ellipse,
    rotating_line_opening,
    smooth,
)

_SIDE = 240
"""Diameter, in pixels, at which the search is made: the optic disc is then about 36 px wide."""

_RADIUS = 0.07
"""Typical radius of the optic disc in diameters of the field of view."""


def find_optic_disc(rgb: npt.NDArray[Any], inside: Mask, diameter: float) -> tuple[float, float]:
    """Return row and column of the optic disc's centre.

    Brightness alone would be misled by large exudates, vessels alone by haemorrhages: the score is
    the product of the contrast of a disc to the ring around it and the amount of vessel in it.

    Parameters
    ----------
    rgb
        uint8, shape (H, W, 3).
    inside
        bool, shape (H, W): field of view.
    diameter
        Diameter of the retinal disc in pixels.
    """
    share = min(1.0, _SIDE / diameter)
    size = tuple(max(round(side * share), 8) for side in inside.shape[::-1])
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    across = diameter * share
    radius = _RADIUS * across
    bright = smooth(small[..., 0] / 3 + small[..., 1], 0.15 * radius)

    wide = _ring_mean(bright, weight, 2.5 * radius)
    near = _ring_mean(bright, weight, 0.8 * radius)
    contrast = np.maximum(near - wide, 0) / np.maximum(wide, 10)
    green = smooth(small[..., 1], 0.8)
    dark = np.maximum(cv2.morphologyEx(green, cv2.MORPH_CLOSE, ellipse(0.035 * across)) - green, 0)
    vessels = rotating_line_opening(dark, 0.05 * across, angles=12) / np.maximum(wide, 10)
    meeting = smooth(np.asarray(vessels * weight, np.float32), 0.9 * radius)
    # The field of view's rim is bright by reflexes in many cameras, and never holds the centre.
    margin = cv2.erode((weight > 0.5).astype(np.uint8), ellipse(0.04 * across), borderValue=0)
    score = contrast * (meeting + 0.2 * float(meeting.max(initial=0)) + 1e-9) * margin
    row, col = np.unravel_index(int(np.argmax(score)), score.shape)
    return (float(row) + 0.5) / share - 0.5, (float(col) + 0.5) / share - 0.5


def _ring_mean(plane: Plane, weight: npt.NDArray[Any], sigma: float) -> Plane:
    mean = smooth(plane * weight, sigma) / np.maximum(smooth(weight, sigma), 1e-3)
    return np.asarray(mean, np.float32)
