"""The three contrasts that make lesions: dark dots, dark blobs, bright spots."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from napari_fundus.backends.tophat.filters import (
    LocalContrast,
    Mask,
    Plane,
    ellipse,
    local_contrast,
    opening,
    rotating_line_opening,
    smooth,
)
from napari_fundus.backends.tophat.options import TopHatOptions
from napari_fundus.runtime.progress import Monitor

# In diameters of the disc: neighbourhood of the noise, and smoothing of the two kinds of spots.
_NOISE_SIGMA = 0.05
_DOT_SIGMA = 0.0013
_SPOT_SIGMA = 0.0011

_BLOB_DIAMETER = 700
"""Diameter, in pixels, at which blobs are looked for: they have no finer detail."""


@dataclass(frozen=True, eq=False)
class WorkingPlane:
    """What the contrasts are computed from.

    Attributes
    ----------
    green
        float32, shape (H, W): grey levels, the surround filled.
    inside
        bool, shape (H, W): where lesions are looked for; neither rim nor optic disc.
    diameter
        Of the retinal disc, in pixels.
    """

    green: Plane
    inside: Mask
    diameter: float

    def local(self, window: float) -> LocalContrast:
        """Return the contrast to the median of a window of so many pixels."""
        reach = _NOISE_SIGMA * self.diameter
        return local_contrast(self.green, self.inside, window=window, reach=reach)


def microaneurysm_contrast(
    work: WorkingPlane, options: TopHatOptions, *, monitor: Monitor
) -> Plane:
    """Return the contrast of dark dots: float32, shape (H, W), at least 0.

    The top-hat with rotating lines removes vessels; times the share of the darkness that it left,
    which is near 1 in a dot on its own and small on a vessel's uneven side.
    """
    size = options.microaneurysm_size * work.diameter
    dark = np.maximum(-work.local(4.5 * size).relative(), 0)
    dark = smooth(dark, _DOT_SIGMA * work.diameter)
    monitor.step(0.2, "background")
    lines = rotating_line_opening(
        dark, size, angles=12, inside=work.inside, monitor=monitor.part(0.2, 1.0)
    )
    dots = np.maximum(dark - lines, 0)
    return np.asarray(dots * dots / np.maximum(dark, 0.05), np.float32)


def haemorrhage_contrast(work: WorkingPlane, options: TopHatOptions, *, monitor: Monitor) -> Plane:
    """Return the contrast of dark blobs: float32, shape (H, W), at least 0.

    Lines that are longer than a haemorrhage take out vessels; what is left must hold a disc. The
    wide disc says where there is a blob, the narrow one where its border runs: the contrast is
    their geometric mean.
    """
    window = 1.7 * options.haemorrhage_size * work.diameter
    dark = np.maximum(-work.local(window).relative(), 0)
    dark = smooth(dark, _SPOT_SIGMA * work.diameter)
    share = min(1.0, _BLOB_DIAMETER / work.diameter)
    size = tuple(max(round(side * share), 1) for side in dark.shape[::-1])
    small = cv2.resize(dark, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(work.inside.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    monitor.step(0.2, "background")

    length = options.haemorrhage_size * work.diameter * share
    width = options.haemorrhage_width * work.diameter * share
    lines = rotating_line_opening(
        small, length, angles=16, inside=inside, monitor=monitor.part(0.2, 0.9)
    )
    blobs = np.maximum(small - lines, 0)
    wide = cv2.morphologyEx(blobs, cv2.MORPH_OPEN, ellipse(width))
    narrow = cv2.morphologyEx(blobs, cv2.MORPH_OPEN, ellipse(width / 2))
    near = cv2.dilate(wide, ellipse(width))
    both = np.sqrt(np.maximum(narrow * near, 0))
    monitor.step(1.0, "blobs")
    return np.asarray(
        cv2.resize(both, dark.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
    )


def exudate_contrast(work: WorkingPlane, options: TopHatOptions, *, monitor: Monitor) -> Plane:
    """Return the contrast of bright spots: float32, shape (H, W), at least 0.

    A top-hat with a disc, on the brightness in units of the local noise.
    """
    size = options.exudate_size * work.diameter
    bright = np.maximum(work.local(1.4 * size).per_noise(), 0)
    bright = smooth(bright, _SPOT_SIGMA * work.diameter)
    monitor.step(0.5, "background")
    wide = opening(bright, size)
    monitor.step(1.0, "bright spots")
    return np.asarray(bright - wide, np.float32)
