"""The protocols that a report knows by name."""

from __future__ import annotations

from collections.abc import Mapping

from napari_fundus.evaluation.protocol import ReportCounter
from napari_fundus.evaluation.protocols.aupr import AuprCounter
from napari_fundus.evaluation.protocols.classification import ClassificationCounter
from napari_fundus.evaluation.protocols.froc import FrocCounter
from napari_fundus.evaluation.protocols.image import ImageCounter
from napari_fundus.evaluation.protocols.instances import InstancesCounter
from napari_fundus.evaluation.protocols.localization import LocalizationCounter
from napari_fundus.evaluation.protocols.overlap import OverlapCounter

__all__ = [
    "PROTOCOLS",
    "AuprCounter",
    "ClassificationCounter",
    "FrocCounter",
    "ImageCounter",
    "InstancesCounter",
    "LocalizationCounter",
    "OverlapCounter",
]

PROTOCOLS: Mapping[str, type[ReportCounter]] = {
    counter.name: counter
    for counter in (
        AuprCounter,
        FrocCounter,
        OverlapCounter,
        InstancesCounter,
        ImageCounter,
        ClassificationCounter,
        LocalizationCounter,
    )
}
"""Name on the command line to counter, in the order of the report."""
