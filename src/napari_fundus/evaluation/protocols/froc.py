"""The protocol ``froc``: lesions found against false positives an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from napari_fundus.datasets import Sample
from napari_fundus.datasets.annotations import PointsTruth
from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
    PlotContext,
)
from napari_fundus.evaluation.protocols.case import Case, is_healthy
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.curves import Curve
from napari_fundus.metrics.froc import Froc
from napari_fundus.metrics.froc_curve import CPM_POINTS, FrocCurve, point_name
from napari_fundus.metrics.lesion_matching import LesionCounts
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FrocProtocol(EvaluationProtocol):
    """Lesions found against false positives an image; healthy images count."""

    name: ClassVar[str] = "froc"
    title: ClassVar[str] = "FROC"
    axis_names: ClassVar[tuple[str, str]] = ("false positives an image", "sensitivity")
    log_x: ClassVar[bool] = True
    summary_name: ClassVar[str] = "CPM"
    plot_order: ClassVar[int] = 0
    method: ClassVar[str] = (
        "A map is binarized above a threshold and its 8-connected components are labelled, at "
        "every threshold that makes a difference. A lesion is hit if one of its pixels is covered "
        "(for points with radii: within the radius); a component that touches no lesion is a false "
        "positive. Sensitivity: hits by lesions of all images. FPI: false positives by all images, "
        "healthy ones included. CPM: mean sensitivity at the points. A curve ends at the threshold "
        "at which false positives are at their most, since below it they only merge; a component "
        "of more than a fifth of the picture is no detection."
    )

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        self._froc: defaultdict[str, Froc] = defaultdict(Froc)
        self._groups: defaultdict[str, list[str | None]] = defaultdict(list)
        self._healthy: defaultdict[str, int] = defaultdict(int)
        self._operating: dict[str, LesionCounts] = {}

    @classmethod
    def counts(cls, sample: Sample, lesions: Sequence[str]) -> bool:
        """Count annotated and healthy images."""
        return is_healthy(sample) or super().counts(sample, lesions)

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image."""
        for code in (*case.annotated, *case.absent):
            if code not in detections.probability:
                continue
            froc, probability = self._froc[code], detections.probability[code]
            truth = case.sample.truths.get(code)
            if isinstance(truth, PointsTruth) and code in case.annotated:
                froc.add_points(probability, _inside(truth, case))
            else:
                froc.add(probability, case.truth(code))
            self._groups[code].append(case.sample.group)
            self._healthy[code] += code in case.absent
            at_threshold = case.match(detections, code).lesions
            known = self._operating.get(code)
            self._operating[code] = at_threshold if known is None else known + at_threshold

    def curves(self) -> dict[str, Curve]:
        """Return the curve of each class, as it is drawn and kept."""
        return {code: Curve.from_froc(code, c) for code, c in self.froc_curves().items()}

    def froc_curves(self) -> dict[str, FrocCurve]:
        """Return the whole curve of each class."""
        return {code: self._froc[code].curve() for code in self._in_order(self._froc)}

    def operating_points(self) -> dict[str, tuple[float, float]]:
        """Return (false positives an image, sensitivity) at the detector's threshold, by class."""
        return {
            code: (counts.false_positives / len(self._froc[code]), counts.sensitivity)
            for code, counts in self._operating.items()
        }

    def metrics(self) -> MetricTable:
        """Return CPM and the sensitivities of all points, with intervals."""
        return {code: self._metrics(code) for code in self._in_order(self._froc)}

    def _metrics(self, code: str) -> dict[str, MetricValue]:
        froc, points = self._froc[code], self.settings.points

        def read(weights: ImageWeights) -> dict[str, float]:
            summary = froc.curve(weights).summary(points)
            return {
                self.mean_name: summary.mean_sensitivity,
                **{f"at {point_name(p.fpi)} FPI": p.sensitivity for p in summary.points},
            }

        curve = froc.curve()
        return {
            "images": len(froc),
            "healthy": self._healthy[code],
            "with it": froc.images_with_lesions,
            "lesions": curve.lesions,
            **self.bootstrap(read, len(froc), self._groups[code]),
            "ends at": float(curve.thresholds[-1]),
            "ends with FPI": float(curve.fpi[-1]),
        }

    def shows_interval(self, name: str) -> bool:
        """Leave out those of the single points, which would make the table too wide."""
        return not name.startswith("at ")

    @property
    def mean_name(self) -> str:
        """Name of the mean sensitivity: CPM where the points are those of the CPM."""
        return "CPM" if self.settings.points == CPM_POINTS else "mean sensitivity"

    def parameters(self) -> Mapping[str, Any]:
        """Return points, largest component and bootstrap."""
        return {
            "points": list(self.settings.points),
            "largest_component": Froc().largest,
            **super().parameters(),
        }

    def remarks(self) -> Sequence[str]:
        """Tell the points that a curve does not reach."""
        found = []
        for code, curve in self.froc_curves().items():
            summary = curve.summary(self.settings.points)
            found += [f"{code}, {remark}" for remark in summary.remarks]
        return found

    def lesion_counts(self) -> dict[str, int]:
        """Return the lesions of each class."""
        return {code: curve.lesions for code, curve in self.froc_curves().items()}

    @classmethod
    def plots(
        cls, counters: Mapping[str, Self], context: PlotContext
    ) -> Mapping[str, Callable[[], Figure]]:
        """Return the curves of all classes in one figure."""
        from napari_fundus.evaluation.protocols.curve_plots import plot_froc

        curves = {label: counter.froc_curves() for label, counter in counters.items()}
        if not any(curves.values()):
            return {}
        points = {label: counter.operating_points() for label, counter in counters.items()}
        mean_name = next(iter(counters.values())).mean_name
        return {"froc": partial(plot_froc, curves, points, context, mean_name=mean_name)}

    def _in_order(self, known: Mapping[str, Any]) -> list[str]:
        return [code for code in self.settings.lesions if code in known]


def _inside(truth: PointsTruth, case: Case) -> list[tuple[float, float, float]]:
    height, width = case.shape
    return [
        (p.row, p.col, p.radius)
        for p in truth.points
        if -0.5 <= p.row < height - 0.5
        and -0.5 <= p.col < width - 0.5
        and (case.region is None or case.region[round(p.row), round(p.col)])
    ]
