"""Local contrast and morphology with rotating lines, on a plane resized to the working size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.runtime.progress import Monitor

Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_LARGEST_WINDOW = 120

_LARGEST_ELLIPSE = 60


@dataclass(frozen=True, eq=False)
class LocalContrast:
    """A plane minus its background, and what to measure it by.

    Attributes
    ----------
    difference
        float32, shape (H, W): plane minus background in grey levels, 0 outside the field of view.
    background
        float32, shape (H, W): median of a window about each pixel.
    noise
        float32, shape (H, W): local root mean square of the difference, lesions clipped.
    """

    difference: Plane
    background: Plane
    noise: Plane

    def per_noise(self) -> Plane:
        """Return the difference in units of the noise about it."""
        return self.difference / self.noise

    def relative(self) -> Plane:
        """Return the difference by the geometric mean of noise and a tenth of the background.

        Shadow darkens lesions and noise alike, so a lesion there counts as much as in light; where
        the noise is next to nothing, a share of the brightness still has to be there.
        """
        unit = np.sqrt(self.noise * np.maximum(self.background, 10) / 10)
        return np.asarray(self.difference / unit, np.float32)


def fill_outside(plane: Plane, inside: Mask, sigma: float) -> Plane:
    """Return `plane` with the outside of the field of view replaced by the mean of the near inside.

    Without it the dark surround makes a bright rim at the edge of everything that is smoothed.
    """
    return np.asarray(np.where(inside, plane, _local_mean(plane, inside, sigma)), np.float32)


def local_contrast(plane: Plane, inside: Mask, *, window: float, reach: float) -> LocalContrast:
    """Subtract the background.

    Parameters
    ----------
    plane
        float32, shape (H, W), grey levels 0 to 255, its surround filled.
    inside
        bool, shape (H, W): field of view.
    window
        Side of the median's window in pixels; structures narrower than half of it stand out.
    reach
        Standard deviation, in pixels, of the neighbourhood that noise is estimated in.
    """
    # The background has no detail: at half size or less its median costs a quarter or less, and
    # OpenCV's takes no window of more than about 250 pixels.
    share = min(0.5, _LARGEST_WINDOW / max(window, 1))
    side = max(int(window * share), 1) | 1
    size = tuple(max(round(length * share), 1) for length in plane.shape[::-1])
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    grey = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    edge = min(side // 2, min(grey.shape) - 1)
    framed = cv2.copyMakeBorder(grey, edge, edge, edge, edge, cv2.BORDER_REFLECT_101)
    height, width = grey.shape
    median = cv2.medianBlur(framed, side)[edge : edge + height, edge : edge + width]
    # Smoothing takes away the steps of whole grey levels.
    background = smooth(median, max(side / 6, 0.8))
    background = np.asarray(
        cv2.resize(background, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
    )
    difference = np.where(inside, plane - background, np.float32(0))
    spread = 1.4826 * float(np.sqrt(np.median(difference[inside] ** 2))) if inside.any() else 0.0
    clipped = np.minimum(np.abs(difference), 4 * max(spread, 0.25)) ** 2
    # A quarter of a grey level: no photograph is better, drawings are.
    noise = np.sqrt(np.maximum(_local_mean(clipped, inside, reach), 0.0625))
    return LocalContrast(difference, background, noise.astype(np.float32))


def rotating_line_opening(
    plane: npt.NDArray[Any],
    length: float,
    *,
    angles: int,
    inside: Mask | None = None,
    monitor: Monitor | None = None,
) -> Plane:
    """Return the largest opening of `plane` with a line of `length` pixels at any of `angles`.

    What remains of a bright structure is what such a line fits into: all of a vessel, nothing of a
    spot shorter than the line. ``plane - rotating_line_opening(plane, …)`` is the top-hat that
    keeps spots.

    Parameters
    ----------
    plane
        float32, shape (H, W), at least 0.
    length
        Pixels.
    angles
        Number of directions, equally spaced over half a turn.
    inside
        bool, shape (H, W). Structures are taken to go on beyond it, so that a vessel which the
        rim cuts short is still a vessel; a spot that touches the rim is lost by this.
    monitor
        Takes a step after each angle.
    """
    longest = np.zeros(plane.shape, np.float32)
    if inside is not None:
        plane = np.where(inside, plane, np.float32(np.finfo(np.float32).max))
    for line in (monitor or Monitor()).track(_lines(length, angles), message="vessels"):
        np.maximum(longest, cv2.morphologyEx(plane, cv2.MORPH_OPEN, line), out=longest)
    return longest


def opening(plane: Plane, diameter: float) -> Plane:
    """Return the opening of `plane` with a disc of `diameter` pixels, never above `plane`.

    A large disc is approximated at a smaller size, so that the time does not grow with its area.
    """
    share = min(1.0, _LARGEST_ELLIPSE / max(diameter, 1))
    if share == 1:
        return np.asarray(cv2.morphologyEx(plane, cv2.MORPH_OPEN, ellipse(diameter)), np.float32)
    size = tuple(max(round(length * share), 1) for length in plane.shape[::-1])
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    opened = cv2.morphologyEx(small, cv2.MORPH_OPEN, ellipse(diameter * share))
    whole = cv2.resize(opened, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.minimum(whole, plane), np.float32)


def smooth(plane: npt.NDArray[Any], sigma: float) -> Plane:
    """Blur by a Gaussian; a `sigma` below a quarter of a pixel leaves the plane as it is."""
    if sigma < 0.25:
        return np.asarray(plane, np.float32)
    return np.asarray(cv2.GaussianBlur(np.asarray(plane, np.float32), (0, 0), sigma), np.float32)


def ellipse(diameter: float) -> npt.NDArray[np.uint8]:
    """Return a disc of about `diameter` pixels as a structuring element."""
    side = 2 * max(round(diameter / 2), 1) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _lines(length: float, angles: int) -> list[npt.NDArray[np.uint8]]:
    reach = max(round(length / 2), 1)
    lines = []
    for angle in np.arange(angles) * np.pi / angles:
        line = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        row, col = round(reach * np.sin(angle)), round(reach * np.cos(angle))
        cv2.line(line, (reach - col, reach - row), (reach + col, reach + row), 1)
        lines.append(line)
    return lines


def _local_mean(plane: Plane, inside: Mask, sigma: float) -> Plane:
    """Return the Gaussian mean over the field of view alone (normalized convolution)."""
    weight = inside.astype(np.float32)
    # A wide Gaussian has no detail: shrink so that it is a few pixels wide.
    share = min(1.0, 4.0 / max(sigma, 1e-6))
    size = tuple(max(round(side * share), 1) for side in plane.shape[::-1])
    shrunk = [
        smooth(cv2.resize(part, size, interpolation=cv2.INTER_AREA), sigma * share)
        for part in (plane * weight, weight)
    ]
    mean = shrunk[0] / np.maximum(shrunk[1], 1e-4)
    return np.asarray(
        cv2.resize(mean, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
    )
