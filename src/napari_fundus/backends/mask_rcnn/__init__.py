"""Lesions as objects, each with box, mask, class and score, by Mask R-CNN."""

from __future__ import annotations

from napari_fundus.backends.mask_rcnn.detector import MaskRCNN
from napari_fundus.backends.mask_rcnn.options import MaskRCNNOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["MaskRCNN", "MaskRCNNOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [MaskRCNN]
