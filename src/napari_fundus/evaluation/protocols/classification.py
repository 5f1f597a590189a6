"""The protocol ``classification``: scores of whole images against their grades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets import Sample
from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
)
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.calibration import (
    brier_score,
    cross_fit_temperature,
    reliability_curve,
    to_logits,
)
from napari_fundus.metrics.classification import (
    PUBLISHED_SENSITIVITY,
    PUBLISHED_SPECIFICITY,
    BinaryScores,
    GradePredictions,
)
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = {"referable DR": 2, "any DR": 1}
"""Names of a classifier's scores to the least grade that is positive."""

_GRADES = tuple(f"grade {number}" for number in range(5))
_THRESHOLD = 0.5
_FOLDS = 5


class ClassificationProtocol(EvaluationProtocol):
    """Scores of whole images against the grade of retinopathy."""

    name: ClassVar[str] = "classification"
    title: ClassVar[str] = "Whole images: grade of retinopathy"
    method: ClassVar[str] = (
        "Images whose grade is known, and the classifier's scores of them. Referable DR is grade 2 "
        "or above, any DR grade 1 or above. AUC: area below the ROC curve. Accuracy, sensitivity, "
        f"specificity, precision, F1 and kappa at probability {_THRESHOLD}; the operating points "
        f"are those of the published figures: specificity at a sensitivity of "
        f"{PUBLISHED_SENSITIVITY:.1%} and sensitivity at a specificity of "
        f"{PUBLISHED_SPECIFICITY:.1%}, their thresholds chosen on these same images. Calibration "
        "error: mean distance of probability and observed share over 10 bins of equal width, as "
        f"the detector gives it and after a temperature fitted on other images ({_FOLDS} folds, "
        "eyes kept together). Grade: the likeliest one, with quadratic weighted kappa."
    )
    headings: ClassVar[Mapping[str, str]] = {
        "auc": "AUC",
        "f1": "F1",
        "specificity_at_sensitivity": f"specificity at {PUBLISHED_SENSITIVITY:.1%}",
        "sensitivity_at_specificity": f"sensitivity at {PUBLISHED_SPECIFICITY:.1%}",
        "macro_f1": "macro F1",
        "calibration_error": "calibration error",
        "calibration_error_scaled": "after temperature",
        "brier": "Brier score",
    }

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        self._grade: list[int] = []
        self._scores: list[dict[str, float]] = []
        self._groups: list[str | None] = []

    @classmethod
    def counts(cls, sample: Sample, lesions: Sequence[str]) -> bool:
        """Count images whose grade is known, whatever is drawn in them."""
        del lesions
        return "dr" in sample.grades

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image; detectors that score no images leave nothing."""
        if not detections.image_score:
            return
        scores = {name: float(value) for name, value in detections.image_score.items()}
        self._grade.append(int(case.sample.grades["dr"]))
        self._scores.append(scores)
        self._groups.append(case.sample.group)
        self._rows[case.sample.id, "image"] = {"grade": self._grade[-1], **scores}

    @property
    def groups(self) -> list[str | None]:
        """Group of each image counted, for the bootstrap."""
        return list(self._groups)

    def scores(self) -> dict[str, BinaryScores]:
        """Return the scores of each yes or no that the classifier gives of all images."""
        grade = np.asarray(self._grade)
        return {
            name: BinaryScores(grade >= least, self._values(name), groups=self._groups)
            for name, least in _LEVELS.items()
            if self._has_score(name)
        }

    def grades(self) -> GradePredictions | None:
        """Return true and given grades; None for a classifier that gives none."""
        if not all(self._has_score(name) for name in _GRADES):
            return None
        probability = np.stack([self._values(name) for name in _GRADES], axis=1)
        return GradePredictions(
            np.asarray(self._grade), probability.argmax(axis=1), groups=self._groups
        )

    def metrics(self) -> MetricTable:
        """Return a row for each yes or no, and one for the grades."""
        found: dict[str, Mapping[str, MetricValue]] = {
            name: self._metrics(scores) for name, scores in self.scores().items()
        }
        graded = self.grades()
        if graded is not None:
            more = graded.metrics(resamples=self.settings.resamples, seed=self.settings.seed)
            found["grade"] = {"images": len(graded.truth), **more}
        return found

    def _metrics(self, scores: BinaryScores) -> dict[str, MetricValue]:
        scaled = _scaled(scores)

        def calibration(weights: ImageWeights) -> dict[str, float]:
            truth, predicted = scores.truth, scores.score
            metrics = {
                "calibration_error": reliability_curve(predicted, truth, weights=weights).error,
                "brier": brier_score(predicted, truth, weights=weights),
            }
            if scaled is not None:
                after = reliability_curve(scaled, truth, weights=weights)
                metrics["calibration_error_scaled"] = after.error
            return metrics

        return {
            "images": len(scores),
            "positive": int(scores.truth.sum()),
            **scores.metrics(
                _THRESHOLD, resamples=self.settings.resamples, seed=self.settings.seed
            ),
            **self.bootstrap(calibration, len(scores), scores.groups),
        }

    def own_plots(self) -> Mapping[str, Callable[[], Figure]]:
        """Return ROC and reliability of each yes or no, and the table of grades."""
        from napari_fundus.evaluation.protocols import classifier_plots as plots

        found: dict[str, Callable[[], Figure]] = {}
        for name, scores in self.scores().items():
            stem = name.replace(" ", "_").lower()
            found[f"roc_{stem}"] = partial(
                plots.plot_roc,
                scores,
                threshold=_THRESHOLD,
                title=name,
                resamples=self.settings.resamples,
                seed=self.settings.seed,
            )
            curves = {"as given": reliability_curve(scores.score, scores.truth)}
            scaled = _scaled(scores)
            if scaled is not None:
                curves["after temperature"] = reliability_curve(scaled, scores.truth)
            found[f"reliability_{stem}"] = partial(plots.plot_reliability, curves, title=name)
        graded = self.grades()
        if graded is not None:
            found["grades"] = partial(plots.plot_confusion, graded.confusion())
        return found

    def _has_score(self, name: str) -> bool:
        return bool(self._scores) and all(name in scores for scores in self._scores)

    def _values(self, name: str) -> npt.NDArray[np.float64]:
        return np.array([scores[name] for scores in self._scores])


def _scaled(scores: BinaryScores) -> npt.NDArray[np.float64] | None:
    """Return probabilities after temperatures of other images; None where images are too few."""
    eyes = len(scores) if scores.groups is None else len({*scores.groups} - {None})
    alone = 0 if scores.groups is None else sum(group is None for group in scores.groups)
    if eyes + alone < _FOLDS:
        return None
    return cross_fit_temperature(
        to_logits(scores.score), scores.truth, groups=scores.groups, folds=_FOLDS
    )
