"""The protocols that a report knows by name."""

from __future__ import annotations

from collections.abc import Mapping

from napari_fundus.evaluation.protocols.aupr import AuprProtocol
from napari_fundus.evaluation.protocols.base import EvaluationProtocol
from napari_fundus.evaluation.protocols.classification import ClassificationProtocol
from napari_fundus.evaluation.protocols.froc import FrocProtocol
from napari_fundus.evaluation.protocols.image import ImageProtocol
from napari_fundus.evaluation.protocols.instances import InstancesProtocol
from napari_fundus.evaluation.protocols.localization import LocalizationProtocol
from napari_fundus.evaluation.protocols.overlap import OverlapProtocol

__all__ = [
    "PROTOCOLS",
    "AuprProtocol",
    "ClassificationProtocol",
    "FrocProtocol",
    "ImageProtocol",
    "InstancesProtocol",
    "LocalizationProtocol",
    "OverlapProtocol",
]

PROTOCOLS: Mapping[str, type[EvaluationProtocol]] = {
    counter.name: counter
    for counter in (
        AuprProtocol,
        FrocProtocol,
        OverlapProtocol,
        InstancesProtocol,
        ImageProtocol,
        ClassificationProtocol,
        LocalizationProtocol,
    )
}
"""Name on the command line to counter, in the order of the report."""
