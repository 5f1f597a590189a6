"""The protocol ``overlap``: pixels and lesions at the detector's own threshold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple
from typing import ClassVar

import numpy as np

from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
)
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.lesion_matching import LesionCounts, PixelOverlap
from napari_fundus.results.detections import Detections


class OverlapProtocol(EvaluationProtocol):
    """What the detector's own threshold gives: pixels and lesions."""

    name: ClassVar[str] = "overlap"
    title: ClassVar[str] = "At the detector's threshold"
    method: ClassVar[str] = (
        "Labels at the detector's own threshold and minimum area, all annotated images pooled. "
        "Pixels: Dice (which is F1), IoU, precision, recall, accuracy. Lesions, by the rules of "
        "FROC: share found (sensitivity), share of the detections that touch a lesion (precision), "
        "F1, false positives an annotated image."
    )
    headings: ClassVar[Mapping[str, str]] = {
        "dice": "Dice = F1",
        "iou": "IoU",
        "lesion sensitivity": "lesions found",
        "lesion f1": "lesion F1",
        "fpi": "FPI",
    }

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        # A row an image: TP, FP, FN, TN of pixels; lesions, found, detections, false ones.
        self._counts: defaultdict[str, list[list[int]]] = defaultdict(list)
        self._groups: defaultdict[str, list[str | None]] = defaultdict(list)
        self._thresholds: dict[str, float] = {}

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image."""
        for code in case.annotated:
            if code not in detections.probability:
                continue
            match = case.match(detections, code)
            pixels, counts = match.pixels, match.lesions
            self._counts[code].append([*astuple(pixels), *astuple(counts)])
            self._groups[code].append(case.sample.group)
            self._thresholds[code] = detections.thresholds[code]
            self._rows[case.sample.id, code] = {
                "lesions": counts.lesions,
                "found": counts.found,
                "detections": counts.detections,
                "false_positives": counts.false_positives,
                "pixels_true_positive": pixels.true_positives,
                "pixels_false_positive": pixels.false_positives,
                "pixels_false_negative": pixels.false_negatives,
                "dice": pixels.dice,
                "iou": pixels.iou,
            }

    def metrics(self) -> MetricTable:
        """Return the ratios with intervals."""
        return {c: self._metrics(c) for c in self.settings.lesions if c in self._counts}

    def _metrics(self, code: str) -> dict[str, MetricValue]:
        table = np.asarray(self._counts[code], np.int64)

        def read(weights: ImageWeights) -> dict[str, float]:
            total = [int(number) for number in weights @ table]
            pixels, lesions = PixelOverlap(*total[:4]), LesionCounts(*total[4:])
            images = int(weights.sum())
            return {
                "dice": pixels.dice,
                "iou": pixels.iou,
                "precision": pixels.precision,
                "recall": pixels.recall,
                "accuracy": pixels.accuracy,
                "lesion sensitivity": lesions.sensitivity,
                "lesion precision": lesions.precision,
                "lesion f1": lesions.f1,
                "fpi": lesions.false_positives / images if images else float("nan"),
            }

        return {
            "images": len(table),
            "threshold": self._thresholds[code],
            "lesions": int(table[:, 4].sum()),
            **self.bootstrap(read, len(table), self._groups[code]),
        }
