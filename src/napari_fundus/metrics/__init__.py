"""Measures of the field by the protocols that papers use: arrays in, figures out."""

from __future__ import annotations

from napari_fundus.metrics.average_precision import MeanAveragePrecision
from napari_fundus.metrics.bootstrap import Interval, bootstrap_interval, bootstrap_intervals
from napari_fundus.metrics.calibration import (
    ReliabilityCurve,
    Temperature,
    brier_score,
    cross_fit_temperature,
    fit_temperature,
    reliability_curve,
    to_logits,
    top_class_confidence,
)
from napari_fundus.metrics.classification import (
    PUBLISHED_SENSITIVITY,
    PUBLISHED_SPECIFICITY,
    BinaryScores,
    GradePredictions,
    RocBand,
    RocCurve,
    RocPoint,
)
from napari_fundus.metrics.confusion import ConfusionMatrix
from napari_fundus.metrics.curves import Curve
from napari_fundus.metrics.froc import Froc
from napari_fundus.metrics.froc_curve import (
    CPM_POINTS,
    ROC_POINTS,
    FrocCurve,
    FrocSummary,
    OperatingPoint,
)
from napari_fundus.metrics.lesion_matching import (
    ClassMatch,
    LesionCounts,
    PixelOverlap,
    TrueLesions,
    lesion_counts,
    match_detections,
    match_with_truth,
    pixel_overlap,
)
from napari_fundus.metrics.localization import (
    LOCALIZATION_THRESHOLD,
    LOCALIZATION_THRESHOLDS,
    PUBLISHED_LOCALIZATION,
    LocalizationCounts,
    PublishedLocalization,
    WeakLocalization,
)
from napari_fundus.metrics.precision_recall import PixelHistogram, PrecisionRecallCurve, aupr
from napari_fundus.metrics.regions import normalize_heatmap

__all__ = [
    "CPM_POINTS",
    "LOCALIZATION_THRESHOLD",
    "LOCALIZATION_THRESHOLDS",
    "PUBLISHED_LOCALIZATION",
    "PUBLISHED_SENSITIVITY",
    "PUBLISHED_SPECIFICITY",
    "ROC_POINTS",
    "BinaryScores",
    "ClassMatch",
    "ConfusionMatrix",
    "Curve",
    "Froc",
    "FrocCurve",
    "FrocSummary",
    "GradePredictions",
    "Interval",
    "LesionCounts",
    "LocalizationCounts",
    "MeanAveragePrecision",
    "OperatingPoint",
    "PixelHistogram",
    "PixelOverlap",
    "PrecisionRecallCurve",
    "PublishedLocalization",
    "ReliabilityCurve",
    "RocBand",
    "RocCurve",
    "RocPoint",
    "Temperature",
    "TrueLesions",
    "WeakLocalization",
    "aupr",
    "bootstrap_interval",
    "bootstrap_intervals",
    "brier_score",
    "cross_fit_temperature",
    "fit_temperature",
    "lesion_counts",
    "match_detections",
    "match_with_truth",
    "normalize_heatmap",
    "pixel_overlap",
    "reliability_curve",
    "to_logits",
    "top_class_confidence",
]
