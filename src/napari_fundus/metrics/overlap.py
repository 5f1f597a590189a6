"""Agreement at one threshold: of pixels (Dice, IoU, …) and of lesions (found, false positives)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.metrics.precision_recall import PixelCounts
from napari_fundus.results.detections import Detections

__all__ = ["LesionCounts", "PixelOverlap", "compare_with_truth", "lesion_counts", "pixel_overlap"]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


@dataclass(frozen=True)
class PixelOverlap:
    """Counts of pixels; every ratio is NaN where it is 0/0. Add two to pool images."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def __add__(self, other: PixelOverlap) -> PixelOverlap:
        return PixelOverlap(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), the sensitivity of pixels."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN), the same as F1."""
        twice = 2 * self.true_positives
        return _ratio(twice, twice + self.false_positives + self.false_negatives)

    f1 = dice

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), the Jaccard index."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return _ratio(self.true_positives, union)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all; close to 1 whatever is found, since lesions are small."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class LesionCounts:
    """Counts of lesions, by the rules of FROC. Add two to pool images.

    Attributes
    ----------
    lesions
        True lesions: 8-connected components of the truth.
    found
        Those with at least one pixel covered.
    detections
        8-connected components of what was predicted.
    false_positives
        Those that touch no true lesion.
    """

    lesions: int
    found: int
    detections: int
    false_positives: int

    def __add__(self, other: LesionCounts) -> LesionCounts:
        return LesionCounts(
            self.lesions + other.lesions,
            self.found + other.found,
            self.detections + other.detections,
            self.false_positives + other.false_positives,
        )

    @property
    def missed(self) -> int:
        """True lesions that no pixel covers."""
        return self.lesions - self.found

    @property
    def sensitivity(self) -> float:
        """Found / lesions; NaN without lesions."""
        return _ratio(self.found, self.lesions)

    @property
    def precision(self) -> float:
        """Share of the detections that touch a lesion; NaN without detections."""
        return _ratio(self.detections - self.false_positives, self.detections)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision, 0 if one of them is 0 or undefined."""
        total = self.sensitivity + self.precision
        return 2 * self.sensitivity * self.precision / total if total > 0 else 0.0


def pixel_overlap(
    predicted: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    field_of_view: npt.NDArray[np.bool_] | None = None,
) -> PixelOverlap:
    """Count the pixels of two masks.

    Parameters
    ----------
    predicted, truth
        bool, or integer labels with 0 for background; shape (H, W).
    field_of_view
        bool, shape (H, W): pixels outside are left out.
    """
    predicted, truth = _masks(predicted, truth)
    if field_of_view is not None:
        predicted, truth = predicted[field_of_view], truth[field_of_view]
    both = int(np.count_nonzero(predicted & truth))
    given, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
    return PixelOverlap(both, given - both, true - both, predicted.size - given - true + both)


def lesion_counts(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> LesionCounts:
    """Count the lesions of two masks, each shape (H, W), bool or integer with 0 for background."""
    predicted, truth = _masks(predicted, truth)
    detections, detection = cv2.connectedComponents(predicted.view(np.uint8), connectivity=8)
    lesions, lesion = cv2.connectedComponents(truth.view(np.uint8), connectivity=8)
    both = predicted & truth
    touching = len(np.unique(detection[both]))
    return LesionCounts(
        lesions - 1, len(np.unique(lesion[both])), detections - 1, detections - 1 - touching
    )


def compare_with_truth(
    detections: Detections, masks: Mapping[str, npt.NDArray[Any]]
) -> pd.DataFrame:
    """Compare a result with what experts drew, class by class.

    Parameters
    ----------
    detections
        The result, at its own thresholds and minimum area.
    masks
        Class code to bool mask, shape (H, W). Only classes that were annotated: an empty mask means
        that experts looked and found none.

    Returns
    -------
    pandas.DataFrame
        One row a class that stands in both, in the detector's order: ``lesion``, ``lesions`` (drawn
        by experts), ``found``, ``false_positives``, ``sensitivity`` and ``precision`` (of lesions),
        ``dice`` (of pixels) and ``aupr`` (33 thresholds, all pixels of the image). Undefined ratios
        are NaN.
    """
    rows = []
    for code, probability in detections.probability.items():
        if code not in masks:
            continue
        truth, labels = masks[code], detections.labels[code]
        counts = lesion_counts(labels, truth)
        pixels = PixelCounts()
        pixels.add(probability, truth)
        rows.append(
            {
                "lesion": str(code),
                "lesions": counts.lesions,
                "found": counts.found,
                "false_positives": counts.false_positives,
                "sensitivity": counts.sensitivity,
                "precision": counts.precision,
                "dice": pixel_overlap(labels, truth).dice,
                "aupr": pixels.curve().aupr,
            }
        )
    columns = [
        "lesion", "lesions", "found", "false_positives",
        "sensitivity", "precision", "dice", "aupr",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _masks(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    predicted = np.ascontiguousarray(np.asarray(predicted) != 0)
    truth = np.ascontiguousarray(np.asarray(truth) != 0)
    if predicted.shape != truth.shape:
        raise ValueError(f"The prediction has shape {predicted.shape}, the truth {truth.shape}.")
    return predicted, truth
