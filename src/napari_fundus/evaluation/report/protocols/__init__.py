"""The protocols that a report knows by name."""

from __future__ import annotations

from collections.abc import Mapping

from napari_fundus.evaluation.report.protocol import ReportCounter
from napari_fundus.evaluation.report.protocols.aupr import AuprCounter
from napari_fundus.evaluation.report.protocols.classification import ClassificationCounter
from napari_fundus.evaluation.report.protocols.froc import FrocCounter
from napari_fundus.evaluation.report.protocols.image import ImageCounter
from napari_fundus.evaluation.report.protocols.instances import InstancesCounter
from napari_fundus.evaluation.report.protocols.localization import LocalizationCounter
from napari_fundus.evaluation.report.protocols.overlap import OverlapCounter

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
