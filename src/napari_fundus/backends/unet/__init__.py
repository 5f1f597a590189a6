"""All four lesion classes, pixel by pixel, by a U-Net."""

from __future__ import annotations

from napari_fundus.backends.unet.detector import UNet
from napari_fundus.backends.unet.options import UNetOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["UNet", "UNetOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [UNet]
