"""Microaneurysms at two scales, fused, and refined by what they resemble."""

from __future__ import annotations

from napari_fundus.backends.multiscale.detector import Multiscale
from napari_fundus.backends.multiscale.options import MultiscaleOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["Multiscale", "MultiscaleOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [Multiscale]
