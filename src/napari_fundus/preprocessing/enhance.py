"""Enhancement of local contrast: the image against its own blur, taken over the disc alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["blur_in_disc", "blur_in_disc_exact", "enhance", "enhance_exact"]

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_FINENESS = 5.0
"""Least standard deviation of the blur in reduced pixels: its error goes with the inverse square.

For a step of the full range (255 grey levels) the error of the blur is about
``255 · 0.242 / 24 / fineness²`` = 0.1 grey levels, 1 after the largest published weight, -10.
"""

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends."""

_BAND = 512
"""Rows worked on at a time, so that full-size float copies are never made."""


def enhance(
    pixels: Pixels,
    *,
    field_of_view: Mask,
    alpha: float,
    beta: float,
    gamma: float,
    sigma: float,
) -> Pixels:
    """Return ``alpha · I + beta · (G_sigma * I) + gamma``, 0 outside the field of view.

    The blur is a normalized convolution: it averages over the disc alone, so that no bright rim
    appears where the dark surround would pull the mean down. It is computed on a reduced copy (see
    :func:`blur_in_disc`); the result is within 1 grey level of :func:`enhance_exact`.

    Parameters
    ----------
    pixels
        uint8 or uint16, shape (H, W) or (H, W, C).
    field_of_view
        bool, shape (H, W).
    alpha, beta
        Weights of the image and of its blur.
    gamma
        Added grey level on the scale of 255; scaled by 257 for uint16.
    sigma
        Standard deviation of the Gaussian in pixels.

    Returns
    -------
    numpy.ndarray
        Of the dtype and shape of `pixels`, rounded and clipped to the dtype's range.

    References
    ----------
    Graham B.: Kaggle diabetic retinopathy detection competition report, 2015. Knutsson H., Westin
    C.-F.: Normalized and differential convolution, CVPR 1993, 515–523.
    """
    import cv2

    _check(pixels, field_of_view, sigma)
    offset = gamma * (257 if pixels.dtype == np.uint16 else 1)
    depth = cv2.CV_16U if pixels.dtype == np.uint16 else cv2.CV_8U
    mask = np.ascontiguousarray(field_of_view).view(np.uint8)
    reduced, factor = _reduced_blur(pixels, mask, sigma)
    result = np.zeros_like(pixels)
    for rows in _bands(pixels.shape[0], factor):
        blurred = _enlarge(reduced, factor, rows, pixels.shape[1])
        mixed = cv2.addWeighted(
            np.ascontiguousarray(pixels[rows]), alpha, blurred, beta, offset, dtype=depth
        )
        cv2.copyTo(mixed, mask[rows], result[rows])
    return result


def enhance_exact(
    pixels: Pixels,
    *,
    field_of_view: Mask,
    alpha: float,
    beta: float,
    gamma: float,
    sigma: float,
) -> Pixels:
    """Return what :func:`enhance` approximates, at full size in float64: the plain reference."""
    _check(pixels, field_of_view, sigma)
    offset = gamma * (257 if pixels.dtype == np.uint16 else 1)
    blurred = blur_in_disc_exact(pixels, field_of_view=field_of_view, sigma=sigma)
    mixed = np.rint(alpha * pixels.astype(np.float64) + beta * blurred + offset)
    mixed[~field_of_view] = 0
    return np.clip(mixed, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def blur_in_disc(
    pixels: Pixels, *, field_of_view: Mask, sigma: float
) -> npt.NDArray[np.float32]:
    """Return the Gaussian mean over the field of view around each pixel.

    The picture is averaged over squares of ``sigma / 5`` pixels, blurred there by a Gaussian
    that is narrower by what the averaging and the interpolation back already blur (variances add),
    and interpolated linearly. The time does not grow with sigma.

    Parameters
    ----------
    pixels
        Real numbers, shape (H, W) or (H, W, C).
    field_of_view
        bool, shape (H, W).
    sigma
        Standard deviation in pixels.

    Returns
    -------
    numpy.ndarray
        float32, of the shape of `pixels`. Far outside the field of view, where nothing is to be
        averaged, 0.
    """
    _check(pixels, field_of_view, sigma)
    mask = np.ascontiguousarray(field_of_view).view(np.uint8)
    reduced, factor = _reduced_blur(pixels, mask, sigma)
    result = np.empty(pixels.shape, np.float32)
    for rows in _bands(pixels.shape[0], factor):
        result[rows] = _enlarge(reduced, factor, rows, pixels.shape[1])
    return result


def blur_in_disc_exact(
    pixels: Pixels, *, field_of_view: Mask, sigma: float
) -> npt.NDArray[np.float64]:
    """Return what :func:`blur_in_disc` approximates, at full size in float64."""
    from scipy.ndimage import gaussian_filter

    mask = field_of_view.astype(np.float64)
    weight = gaussian_filter(mask, sigma, mode="constant", truncate=6)
    planes = pixels.reshape(*pixels.shape[:2], -1)
    blurred = np.stack(
        [
            gaussian_filter(planes[..., i] * mask, sigma, mode="constant", truncate=6)
            / np.maximum(weight, 1e-12)
            for i in range(planes.shape[2])
        ],
        axis=-1,
    )
    return blurred.reshape(pixels.shape)


def _check(pixels: Pixels, field_of_view: Mask, sigma: float) -> None:
    if pixels.shape[:2] != field_of_view.shape:
        raise ValueError(
            f"The field of view has shape {field_of_view.shape}, the image {pixels.shape[:2]}."
        )
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, not {sigma}.")


def _bands(height: int, factor: int) -> list[slice]:
    """Return the rows in bands whose starts are multiples of `factor`."""
    step = max(_BAND // factor, 1) * factor
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def _reduced_blur(
    pixels: Pixels, mask: npt.NDArray[np.uint8], sigma: float
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the mean over the disc on a reduced grid, and how many pixels one of its pixels is."""
    import cv2

    factor = max(int(sigma / _FINENESS), 1)
    total, weight = _reduce(pixels, mask, factor)
    # Averaging over squares has variance (f² - 1)/12; linear interpolation adds f²/6 on average.
    spent = (factor**2 - 1) / 12 + (factor**2 - 1) / 6
    narrow = math.sqrt(sigma**2 - spent) / factor
    side = 2 * math.ceil(_TRUNCATE * narrow) + 1
    total, weight = (
        cv2.GaussianBlur(plane, (side, side), narrow, borderType=cv2.BORDER_CONSTANT)
        for plane in (total, weight)
    )
    weight = np.maximum(weight, np.float32(1e-6))
    if total.ndim == 3:
        weight = weight[..., np.newaxis]
    return total / weight, factor


def _reduce(
    pixels: Pixels, mask: npt.NDArray[np.uint8], factor: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the means of masked picture and mask over squares; what leaves the frame is 0."""
    import cv2

    height, width = mask.shape
    rows, cols = -(-height // factor), -(-width // factor)
    total = np.empty((rows, cols, *pixels.shape[2:]), np.float32)
    weight = np.empty((rows, cols), np.float32)
    for band in _bands(height, factor):
        inside = np.ascontiguousarray(mask[band])
        picture = cv2.copyTo(np.ascontiguousarray(pixels[band]), inside)
        into = slice(band.start // factor, -(-band.stop // factor))
        below, beside = (into.stop - into.start) * factor - len(inside), cols * factor - width
        for source, target in ((picture, total), (inside, weight)):
            source = source.astype(np.float32)
            if below or beside:
                source = cv2.copyMakeBorder(source, 0, below, 0, beside, cv2.BORDER_CONSTANT)
            size = (cols, into.stop - into.start)
            target[into] = cv2.resize(source, size, interpolation=cv2.INTER_AREA).reshape(
                target[into].shape
            )
    return total, weight


def _enlarge(
    reduced: npt.NDArray[np.float32], factor: int, rows: slice, width: int
) -> npt.NDArray[np.float32]:
    """Return `rows` of the reduced picture at full size, by linear interpolation."""
    import cv2

    first, last = rows.start // factor, -(-rows.stop // factor)
    # One row more on either side, so that bands meet without a seam.
    above, below = min(first, 1), min(len(reduced) - last, 1)
    part = reduced[first - above : last + below]
    size = (part.shape[1] * factor, len(part) * factor)
    whole = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    start = above * factor
    return np.ascontiguousarray(whole[start : start + rows.stop - rows.start, :width])
