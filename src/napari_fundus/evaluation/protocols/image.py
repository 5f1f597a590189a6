"""The protocol ``image``: whether a whole image has lesions of a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from napari_fundus.datasets import Sample
from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
)
from napari_fundus.evaluation.protocols.case import Case, is_healthy
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.classification import BinaryScores
from napari_fundus.results.detections import Detections


class ImageProtocol(EvaluationProtocol):
    """Whether an image has lesions of a class at all; healthy images count."""

    name: ClassVar[str] = "image"
    title: ClassVar[str] = "Whole images: is a class present"
    method: ClassVar[str] = (
        "An image is positive for a class if it has a lesion of it. Its score is the largest "
        "probability in its map, for the area below the ROC curve (AUC); at the detector's "
        "threshold and minimum area it is called positive if anything is detected. Healthy images "
        "count as negative."
    )
    headings: ClassVar[Mapping[str, str]] = {"auc": "AUC"}

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        self._seen: defaultdict[str, list[tuple[bool, bool, float]]] = defaultdict(list)
        self._groups: defaultdict[str, list[str | None]] = defaultdict(list)

    @classmethod
    def counts(cls, sample: Sample, lesions: Sequence[str]) -> bool:
        """Count annotated and healthy images."""
        return is_healthy(sample) or super().counts(sample, lesions)

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image."""
        for code in (*case.annotated, *case.absent):
            if code not in detections.probability:
                continue
            counts = case.match(detections, code).lesions
            highest = float(detections.probability[code].max())
            self._seen[code].append((counts.lesions > 0, counts.detections > 0, highest))
            self._groups[code].append(case.sample.group)
            self._rows[case.sample.id, code] = {"highest_probability": highest}

    def metrics(self) -> MetricTable:
        """Return sensitivity, specificity and AUC with intervals."""
        return {c: self._metrics(c) for c in self.settings.lesions if c in self._seen}

    def _metrics(self, code: str) -> dict[str, MetricValue]:
        truth, called, score = (np.asarray(part) for part in zip(*self._seen[code], strict=True))
        ranked, at_threshold = BinaryScores(truth, score), BinaryScores(truth, called)

        def read(weights: ImageWeights) -> dict[str, float]:
            table = at_threshold.confusion(0.5, weights)
            return {
                "auc": ranked.roc(weights).auc,
                "sensitivity": table.sensitivity,
                "specificity": table.specificity,
                "accuracy": table.accuracy,
            }

        return {
            "images": len(truth),
            "with it": int(truth.sum()),
            **self.bootstrap(read, len(truth), self._groups[code]),
        }
