"""Protocols of evaluation: one file each, what they share, and the discovery of plugins' ones."""

from __future__ import annotations

from napari_fundus.evaluation.protocols.aupr import AuprProtocol
from napari_fundus.evaluation.protocols.classification import ClassificationProtocol
from napari_fundus.evaluation.protocols.froc import FrocProtocol
from napari_fundus.evaluation.protocols.image import ImageProtocol
from napari_fundus.evaluation.protocols.instances import InstancesProtocol
from napari_fundus.evaluation.protocols.localization import LocalizationProtocol
from napari_fundus.evaluation.protocols.overlap import OverlapProtocol

__all__ = [
    "AuprProtocol",
    "ClassificationProtocol",
    "FrocProtocol",
    "ImageProtocol",
    "InstancesProtocol",
    "LocalizationProtocol",
    "OverlapProtocol",
]
