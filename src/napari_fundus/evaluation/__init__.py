"""Reports on detectors side by side: figures with intervals, curves, crops, provenance."""

from __future__ import annotations

from napari_fundus.evaluation.agreement import Agreement, compare, match_lesions
from napari_fundus.evaluation.assessment import Assessment, assess
from napari_fundus.evaluation.candidate import Candidate
from napari_fundus.evaluation.dataset_curves import DatasetCurves, read_curves
from napari_fundus.evaluation.map_cache import MapCache
from napari_fundus.evaluation.markdown import to_markdown
from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    ImageRows,
    MetricTable,
    MetricValue,
    PlotContext,
)
from napari_fundus.evaluation.protocols.case import Case, as_healthy, is_healthy
from napari_fundus.evaluation.protocols.discovery import (
    DEFAULT_PROTOCOLS,
    discover_protocols,
    find_protocols,
    get_protocol,
)
from napari_fundus.evaluation.protocols.published import PUBLISHED, PublishedMetric
from napari_fundus.evaluation.results import (
    SCHEMA_VERSION,
    CandidateResult,
    ImageRecord,
    Report,
    ReportSource,
)
from napari_fundus.evaluation.run import evaluate_dataset
from napari_fundus.evaluation.selection import SPLITS, Selection, select_samples
from napari_fundus.evaluation.write_report import check_report_folder, write_report
from napari_fundus.metrics.precision_recall import PixelHistogram

__all__ = [
    "DEFAULT_PROTOCOLS",
    "PUBLISHED",
    "SCHEMA_VERSION",
    "SPLITS",
    "Agreement",
    "Assessment",
    "Candidate",
    "CandidateResult",
    "Case",
    "DatasetCurves",
    "EvaluationProtocol",
    "EvaluationSettings",
    "ImageRecord",
    "ImageRows",
    "MapCache",
    "MetricTable",
    "MetricValue",
    "PixelHistogram",
    "PlotContext",
    "PublishedMetric",
    "Report",
    "ReportSource",
    "Selection",
    "as_healthy",
    "assess",
    "check_report_folder",
    "compare",
    "discover_protocols",
    "evaluate_dataset",
    "find_protocols",
    "get_protocol",
    "is_healthy",
    "match_lesions",
    "read_curves",
    "select_samples",
    "to_markdown",
    "write_report",
]
