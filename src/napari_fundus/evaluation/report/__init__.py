"""A report on detectors side by side: figures with intervals, curves, crops, provenance."""

from __future__ import annotations

from napari_fundus.evaluation.report.case import Case, Match, as_healthy, is_healthy
from napari_fundus.evaluation.report.contender import Contender
from napari_fundus.evaluation.report.curves import SetCurves, read_curves
from napari_fundus.evaluation.report.maps import MapCache
from napari_fundus.evaluation.report.markdown import to_markdown
from napari_fundus.evaluation.report.pixels import PixelHistogram
from napari_fundus.evaluation.report.protocol import (
    Figure,
    Figures,
    ImageRows,
    ReportCounter,
    Settings,
)
from napari_fundus.evaluation.report.protocols import PROTOCOLS
from napari_fundus.evaluation.report.published import PUBLISHED, Published
from napari_fundus.evaluation.report.results import (
    SCHEMA_VERSION,
    ImageRecord,
    Report,
    Source,
    Trial,
)
from napari_fundus.evaluation.report.run import evaluate
from napari_fundus.evaluation.report.selection import SPLITS, Selection, select_samples
from napari_fundus.evaluation.report.writing import check_folder, write_report

__all__ = [
    "PROTOCOLS",
    "PUBLISHED",
    "SCHEMA_VERSION",
    "SPLITS",
    "Case",
    "Contender",
    "Figure",
    "Figures",
    "ImageRecord",
    "ImageRows",
    "MapCache",
    "Match",
    "PixelHistogram",
    "Published",
    "Report",
    "ReportCounter",
    "Selection",
    "SetCurves",
    "Settings",
    "Source",
    "Trial",
    "as_healthy",
    "check_folder",
    "evaluate",
    "is_healthy",
    "read_curves",
    "select_samples",
    "to_markdown",
    "write_report",
]
