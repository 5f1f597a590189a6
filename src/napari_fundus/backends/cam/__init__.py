"""Why does it say so? A classifier of whole images that shows where it looked."""

from __future__ import annotations

from napari_fundus.backends.cam.detector import Cam
from napari_fundus.backends.cam.options import CamOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["Cam", "CamOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [Cam]
