"""Metrics of the field, by the protocols that papers use; arrays only, nothing of files."""

from __future__ import annotations

from napari_fundus.evaluation.bootstrap import Interval, bootstrap_interval, bootstrap_intervals
from napari_fundus.evaluation.calibration import (
    Reliability,
    Temperature,
    brier_score,
    cross_fitted,
    fit_temperature,
    logits_of,
    reliability,
    top_class,
)
from napari_fundus.evaluation.classification import (
    PUBLISHED_SENSITIVITY,
    PUBLISHED_SPECIFICITY,
    BinaryScores,
    GradedImages,
    RocBand,
    RocCurve,
    RocPoint,
)
from napari_fundus.evaluation.confusion import Confusion
from napari_fundus.evaluation.froc import Froc
from napari_fundus.evaluation.froc_curve import (
    CPM_POINTS,
    ROC_POINTS,
    FrocCurve,
    FrocSummary,
    OperatingPoint,
)
from napari_fundus.evaluation.localization import (
    LOCALIZATION_THRESHOLD,
    LOCALIZATION_THRESHOLDS,
    PUBLISHED_LOCALIZATION,
    LocalizationCounts,
    PublishedLocalization,
    WeakLocalization,
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
from napari_fundus.evaluation.regions import normalized

__all__ = [
    "CPM_POINTS",
    "LOCALIZATION_THRESHOLD",
    "LOCALIZATION_THRESHOLDS",
    "PUBLISHED_LOCALIZATION",
    "PUBLISHED_SENSITIVITY",
    "PUBLISHED_SPECIFICITY",
    "ROC_POINTS",
    "BinaryScores",
    "Confusion",
    "ExactPixelCounts",
    "Froc",
    "FrocCurve",
    "FrocSummary",
    "GradedImages",
    "Interval",
    "LesionCounts",
    "LocalizationCounts",
    "OperatingPoint",
    "PixelCounts",
    "PixelOverlap",
    "PrecisionRecallCurve",
    "PublishedLocalization",
    "Reliability",
    "RocBand",
    "RocCurve",
    "RocPoint",
    "Temperature",
    "WeakLocalization",
    "aupr",
    "bootstrap_interval",
    "bootstrap_intervals",
    "brier_score",
    "compare_with_truth",
    "cross_fitted",
    "fit_temperature",
    "lesion_counts",
    "logits_of",
    "normalized",
    "pixel_overlap",
    "reliability",
    "top_class",
]
