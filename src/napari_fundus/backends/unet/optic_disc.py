"""The optic disc from the U-Net's helper class: one fitted circle, and no exudate within it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.landmarks import disc_of_map
from napari_fundus.lesions import Lesion

BRIGHT_LESIONS: tuple[str, ...] = (Lesion.EX, Lesion.SE)
"""Classes that the bright disc is taken for."""

_THRESHOLDS = (0.5, 0.3, 0.15)
"""Tried one after the other, until a component has a disc's size and shape."""
_MARGIN = 1.1
"""The rim of the disc is bright as well: so much wider is the circle in which none is believed."""

Maps = dict[str, npt.NDArray[np.float32]]


def apply_optic_disc(maps: Maps, field_of_view: npt.NDArray[np.bool_], *, exclude: bool) -> Maps:
    """Return the maps with one whole optic disc, or none, and no bright lesion in it.

    Parameters
    ----------
    maps
        Class code to float32 (H, W); without ``"OD"`` they are returned as they are.
    field_of_view
        bool, shape (H, W).
    exclude
        Whether exudates are set to 0 inside the disc.

    Returns
    -------
    dict
        ``"OD"`` holds the mean probability inside the circle that fits the helper map best, and 0
        elsewhere; 0 everywhere where nothing has a disc's size and shape.
    """
    if Lesion.OD not in maps:
        return maps
    seen = maps[Lesion.OD]
    found = (disc_of_map(seen, threshold=t, field_of_view=field_of_view) for t in _THRESHOLDS)
    disc = next((d for d in found if d is not None and d.diameter), None)
    if disc is None:
        return {**maps, str(Lesion.OD): np.zeros_like(seen)}
    radius = (disc.diameter or 0) / 2
    circle = _circle(seen.shape, disc.row, disc.col, radius)
    # At least one half, so that the default threshold shows what was fitted at a lower one.
    sure = np.float32(max(float(seen[circle].mean()), 0.5)) if circle.any() else np.float32(0)
    settled = {**maps, str(Lesion.OD): np.where(circle, sure, np.float32(0))}
    if exclude:
        wide = _circle(seen.shape, disc.row, disc.col, _MARGIN * radius)
        for code in BRIGHT_LESIONS:
            if code in settled:
                settled[code] = np.where(wide, np.float32(0), settled[code])
    return settled


def _circle(shape: tuple[int, ...], row: float, col: float, radius: float) -> npt.NDArray[np.bool_]:
    drawn = np.zeros(shape, np.uint8)
    cv2.circle(drawn, (round(col), round(row)), max(round(radius), 1), 1, thickness=-1)
    return drawn > 0
