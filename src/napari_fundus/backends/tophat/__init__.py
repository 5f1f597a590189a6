"""Lesions by mathematical morphology: no weights; the floor that trained methods must beat."""

from __future__ import annotations

from napari_fundus.backends.tophat.detector import TopHat
from napari_fundus.backends.tophat.options import TopHatOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["TopHat", "TopHatOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [TopHat]
