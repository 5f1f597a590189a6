"""Microaneurysms at two scales, fused, and refined by what they resemble."""

from __future__ import annotations

from napari_fundus.backends.multiscale.detector import Multiscale
from napari_fundus.backends.multiscale.embedding import (
    embed_points,
    nearest_neighbours,
    project_pca,
)
from napari_fundus.backends.multiscale.options import DEFAULT_CHECKPOINT, MultiscaleOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = [
    "DEFAULT_CHECKPOINT",
    "Multiscale",
    "MultiscaleOptions",
    "embed_points",
    "napari_fundus_detectors",
    "nearest_neighbours",
    "project_pca",
]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [Multiscale]
