"""Metrics of the field, by the protocols that papers use; arrays only, nothing of files."""

from __future__ import annotations

from napari_fundus.evaluation.agreement import Agreement, compare, match_lesions
from napari_fundus.evaluation.assessment import Assessment, assess
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
from napari_fundus.evaluation.curves import Curve
from napari_fundus.evaluation.froc import Froc
from napari_fundus.evaluation.froc_curve import (
    CPM_POINTS,
    ROC_POINTS,
    FrocCurve,
    FrocSummary,
    OperatingPoint,
)
from napari_fundus.evaluation.instance_map import InstanceMap
from napari_fundus.evaluation.judgement import Judgement, TrueLesions, judge, judge_detections
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
    "Agreement",
    "Assessment",
    "BinaryScores",
    "Confusion",
    "Curve",
    "ExactPixelCounts",
    "Froc",
    "FrocCurve",
    "FrocSummary",
    "GradedImages",
    "InstanceMap",
    "Interval",
    "Judgement",
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
    "TrueLesions",
    "WeakLocalization",
    "assess",
    "aupr",
    "bootstrap_interval",
    "bootstrap_intervals",
    "brier_score",
    "compare",
    "compare_with_truth",
    "cross_fitted",
    "fit_temperature",
    "judge",
    "judge_detections",
    "lesion_counts",
    "logits_of",
    "match_lesions",
    "normalized",
    "pixel_overlap",
    "reliability",
    "top_class",
]
