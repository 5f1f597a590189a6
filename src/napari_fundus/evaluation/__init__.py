"""Metrics of the field, by the protocols that papers use; arrays only, nothing of files."""

from __future__ import annotations

from napari_fundus.evaluation.bootstrap import Interval, bootstrap_interval
from napari_fundus.evaluation.froc import Froc
from napari_fundus.evaluation.froc_curve import (
    CPM_POINTS,
    ROC_POINTS,
    FrocCurve,
    FrocSummary,
    OperatingPoint,
)
from napari_fundus.evaluation.overlap import (
    LesionCounts,
    PixelOverlap,
    compare_with_truth,
    lesion_counts,
    pixel_overlap,
)
from napari_fundus.evaluation.precision_recall import (
    ExactPixelCounts,
    PixelCounts,
    PrecisionRecallCurve,
    aupr,
)

__all__ = [
    "CPM_POINTS",
    "ROC_POINTS",
    "ExactPixelCounts",
    "Froc",
    "FrocCurve",
    "FrocSummary",
    "Interval",
    "LesionCounts",
    "OperatingPoint",
    "PixelCounts",
    "PixelOverlap",
    "PrecisionRecallCurve",
    "aupr",
    "bootstrap_interval",
    "compare_with_truth",
    "lesion_counts",
    "pixel_overlap",
]
