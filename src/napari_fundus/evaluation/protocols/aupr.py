"""The protocol ``aupr``: precision and recall of all pixels, and the area below their curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
    PlotContext,
)
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.curves import Curve
from napari_fundus.metrics.lesion_matching import PixelOverlap
from napari_fundus.metrics.precision_recall import PixelHistogram, PrecisionRecallCurve
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AuprProtocol(EvaluationProtocol):
    """Area below the precision-recall curve of all pixels."""

    name: ClassVar[str] = "aupr"
    title: ClassVar[str] = "Precision and recall of pixels (AUPR)"
    axis_names: ClassVar[tuple[str, str]] = ("recall", "precision")
    summary_name: ClassVar[str] = "AUPR"
    plot_order: ClassVar[int] = 1
    method: ClassVar[str] = (
        "The IDRiD challenge's protocol: all pixels of all annotated images pooled, at full "
        "resolution; a pixel is positive at or above a threshold; precision is 1 where nothing is; "
        "trapezoids over recall. 33 thresholds are 0, 1/32, …, 1; 11 are 0, 0.1, …, 1; exact is "
        "every threshold (its interval: some 1,200 of them). Healthy images without masks are left "
        "out."
    )

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        self._pixels: dict[str, PixelHistogram] = {}
        self._groups: defaultdict[str, list[str | None]] = defaultdict(list)
        self._with_lesions: defaultdict[str, int] = defaultdict(int)
        self._operating: dict[str, PixelOverlap] = {}

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image."""
        for code in case.annotated:
            if code not in detections.probability:
                continue
            pixels = self._pixels.setdefault(code, PixelHistogram(self.settings.steps))
            area = pixels.add(
                case.pixels(detections.probability[code]), case.pixels(case.truth(code))
            )
            self._groups[code].append(case.sample.group)
            self._with_lesions[code] += bool(case.truth(code).any())
            overlap = case.match(detections, code).pixels
            known = self._operating.get(code)
            self._operating[code] = overlap if known is None else known + overlap
            self._rows[case.sample.id, code] = {"aupr_33": area}

    def curves(self) -> dict[str, Curve]:
        """Return the curve of each class, as it is drawn and kept."""
        return {
            code: Curve.from_precision_recall(code, curve, len(self._pixels[code]))
            for code, curve in self.pixel_curves().items()
        }

    def pixel_curves(self) -> dict[str, PrecisionRecallCurve]:
        """Return the exact curve of each class."""
        return {c: self._pixels[c].curve(0) for c in self.settings.lesions if c in self._pixels}

    def operating_points(self) -> dict[str, tuple[float, float]]:
        """Return (recall, precision) at the detector's threshold, by class."""
        return {code: (found.recall, found.precision) for code, found in self._operating.items()}

    def metrics(self) -> MetricTable:
        """Return the areas with intervals."""
        return {c: self._metrics(c) for c in self.settings.lesions if c in self._pixels}

    def _metrics(self, code: str) -> dict[str, MetricValue]:
        pixels, groups = self._pixels[code], self._groups[code]
        areas: dict[str, MetricValue] = {}
        for steps in self.settings.steps:
            intervals = self.bootstrap(partial(_area, pixels, steps), len(pixels), groups)
            # The bootstrap's curve has some 1,200 thresholds in place of all.
            exact = pixels.curve(0).aupr if steps == 0 else intervals["area"].estimate
            name = f"AUPR, {steps} thresholds" if steps else "AUPR, exact"
            areas[name] = replace(intervals["area"], estimate=exact)
        return {
            "images": len(pixels),
            "with it": self._with_lesions[code],
            "lesion pixels": pixels.curve(33).positives,
            **areas,
        }

    def parameters(self) -> Mapping[str, Any]:
        """Return numbers of thresholds and bootstrap."""
        return {"thresholds": [n or "exact" for n in self.settings.steps], **super().parameters()}

    @classmethod
    def plots(
        cls, counters: Mapping[str, Self], context: PlotContext
    ) -> Mapping[str, Callable[[], Figure]]:
        """Return the curves of all classes in one figure."""
        from napari_fundus.evaluation.protocols.curve_plots import plot_precision_recall

        curves = {label: counter.pixel_curves() for label, counter in counters.items()}
        if not any(curves.values()):
            return {}
        points = {label: counter.operating_points() for label, counter in counters.items()}
        return {"precision_recall": partial(plot_precision_recall, curves, points, context)}


def _area(pixels: PixelHistogram, steps: int, weights: ImageWeights) -> dict[str, float]:
    return {"area": pixels.curve(steps, weights).aupr}
