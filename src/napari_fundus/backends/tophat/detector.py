"""The top-hat detector: dark and bright spots that are too small or too short to be anatomy."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.backends.tophat.options import TopHatOptions
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.devices import Device
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.lesions import Lesion
from napari_fundus.monitor import Monitor

__all__ = ["TopHat"]

Float = npt.NDArray[np.float32]


class TopHat(Detector):
    """Dark and bright spots by top-hats with rotating lines, on the background-corrected green plane."""

    name: ClassVar[str] = "tophat"
    title: ClassVar[str] = "Top-hat (no weights)"
    summary: ClassVar[str] = "Mathematical morphology: dark dots and blobs, bright spots."
    lesions: ClassVar[tuple[str, ...]] = (Lesion.MA, Lesion.HE, Lesion.EX)
    licence: ClassVar[str] = "BSD-3-Clause"
    Options: ClassVar[type[DetectorOptions]] = TopHatOptions

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the maps of `image`; see `Detector.predict`."""
        fov = _field_of_view(image)
        box = cv2.boundingRect(fov.view(np.uint8))
        left, top, width, height = box
        monitor.step(0.1, "field of view")
        scale = min(4.0, options.working_diameter / max(width, height))
        size = max(round(width * scale), 8), max(round(height * scale), 8)
        crop = np.s_[top : top + height, left : left + width]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        green = cv2.resize(np.ascontiguousarray(image.rgb8[crop][..., 1]), size, interpolation=how)
        inside = cv2.resize(fov[crop].view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        diameter = max(size)
        contrast = _contrast(green.astype(np.float32), inside, diameter)
        monitor.step(0.3, "background")
        maps: dict[str, Float] = {}
        dark = np.maximum(-contrast, 0)
        small = _short(dark, options.microaneurysm_size * diameter)
        monitor.step(0.5, "microaneurysms")
        large = _short(dark, options.haemorrhage_size * diameter)
        monitor.step(0.7, "haemorrhages")
        found = {
            Lesion.MA: (small, 0.2),
            Lesion.HE: (np.maximum(large - small, 0), 0.25),
            Lesion.EX: (_short(np.maximum(contrast, 0), options.exudate_size * diameter), 0.3),
        }
        for lesion, (value, half) in found.items():
            score = (value / (value + np.float32(half))).astype(np.float32)
            whole = np.zeros(image.shape, np.float32)
            whole[crop] = cv2.resize(score, (width, height), interpolation=cv2.INTER_LINEAR)
            maps[lesion] = np.clip(whole, 0, 1)
            monitor.step(0.9, "maps")
        return Prediction(maps, field_of_view=fov)


def _field_of_view(image: FundusImage) -> npt.NDArray[np.bool_]:
    if image.given_field_of_view is not None:
        return image.given_field_of_view
    green = np.ascontiguousarray(image.rgb8[..., 0])
    if int(green.max()) - int(green.min()) < 10:
        raise NoFieldOfViewError(f"{image.name!r} is uniform; no illuminated disc was found.")
    level, _ = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((green > level / 2).view(np.uint8))
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _contrast(green: Float, inside: npt.NDArray[np.bool_], diameter: int) -> Float:
    """Return (green - background) / background, 0 outside and near the rim."""
    sigma = diameter / 40
    weight = inside.astype(np.float32)
    mean = cv2.GaussianBlur(green * weight, (0, 0), sigma)
    mean /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    margin = 2 * round(diameter * 0.008) + 1
    core = cv2.erode(
        inside.view(np.uint8), np.ones((margin, margin), np.uint8), borderValue=0
    ).astype(np.float32)
    return np.asarray((green - mean) / np.maximum(mean, 4) * core, np.float32)


def _short(value: Float, length: float) -> Float:
    """Return the part of `value` that no line of `length` px at any angle fits into."""
    reach = max(round(length / 2), 1)
    longest = np.zeros_like(value)
    for angle in np.arange(12) * np.pi / 12:
        line = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        row, col = round(reach * np.sin(angle)), round(reach * np.cos(angle))
        cv2.line(line, (reach - col, reach - row), (reach + col, reach + row), 1)
        np.maximum(longest, cv2.morphologyEx(value, cv2.MORPH_OPEN, line), out=longest)
    return value - longest
