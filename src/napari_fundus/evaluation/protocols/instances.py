"""The protocol ``instances``: lesions as objects, by the overlap of their masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
    PlotContext,
)
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.lesions import describe
from napari_fundus.metrics.average_precision import MeanAveragePrecision
from napari_fundus.metrics.bootstrap import ImageWeights, Interval
from napari_fundus.metrics.coco_matching import (
    IOU_LEVELS,
    MAIN_IOU_LEVELS,
    MAX_DETECTIONS,
    SIZE_BOUNDS,
    MatchedObjects,
    interpolated_average_precision,
    size_names,
)
from napari_fundus.metrics.instance_objects import (
    detected_objects,
    dilated_lesions,
    dilation_radius,
)
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all"
"""Row of the mean over the classes of lesions; the optic disc is none."""

DRAWN, DILATED = "", ", dilated"
"""What follows a class in the name of its row: nothing where lesions are compared as drawn."""


class InstancesProtocol(EvaluationProtocol):
    """Mean average precision of lesions as objects, and their recall by size."""

    name: ClassVar[str] = "instances"
    title: ClassVar[str] = "Lesions as objects (mAP)"
    plot_order: ClassVar[int] = 2
    method: ClassVar[str] = (
        "Detections at the detector's own threshold and minimum area, the 1,000 surest of a class "
        "and image; for a detector that finds pixels, its components, scored by their largest "
        "probability. True lesions are compared as drawn, and, in the rows so named, dilated twice "
        "by 5×5 at the working width below, as the Mask R-CNN paper does. A detection "
        "is a hit if its mask's intersection over union with a lesion of its class, that no surer "
        "one has taken, reaches the level. mAP35, mAP50, mAP75, the paper's: average precision in "
        "an image, mean over its annotated classes of lesions (those that occur in it), mean over "
        "images. COCO "
        "AP: detections of all images in one order, precision read at 101 recalls; 50:95 is the "
        "mean of ten levels. Found: share of the lesions that are found at .50, and of those of "
        "each equivalent diameter, in pixels of the original image. Classes that were not "
        "annotated in an image, and healthy images without masks, are left out."
    )
    headings: ClassVar[Mapping[str, str]] = {"found": "found at .50"}

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        self.counted = {DRAWN: MeanAveragePrecision(), DILATED: MeanAveragePrecision()}
        self.groups: list[str | None] = []
        self.dilation_radii: set[int] = set()
        self._kept: dict[str, dict[str, Interval]] = {}

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image."""
        codes = [code for code in case.annotated if code in detections.probability]
        if not codes:
            return
        found = [item for code in codes for item in detected_objects(detections, code)]
        reach = dilation_radius(case.field_of_view, width=self.settings.dilated_at)
        drawn = {code: case.objects(code) for code in codes}
        thick = {
            code: dilated_lesions(case.truth(code), lesion=code, reach=reach) for code in codes
        }
        for kind, truth in ((DRAWN, drawn), (DILATED, thick)):
            matched = self.counted[kind].add(truth, found, case.shape)
            for code, result in matched.items():
                row = self._rows.setdefault((case.sample.id, code), {})
                row |= _image_row(result, "dilated_" if kind == DILATED else "")
        self.groups.append(case.sample.group)
        self.dilation_radii.add(reach)
        self._kept.clear()

    def metrics(self) -> MetricTable:
        """Return average precisions and recalls of each class and of all, with intervals."""
        return {
            f"{row}{kind}": self._metrics(row, kind)
            for kind in self.counted
            for row in self._row_names()
        }

    def _row_names(self) -> list[str]:
        known = self.counted[DRAWN].lesions
        codes = [code for code in self.settings.lesions if code in known]
        return [*codes, ALL] if len(self._classes()) > 1 else codes

    def _classes(self) -> list[str]:
        """Return the classes whose mean is taken."""
        known = self.counted[DRAWN].lesions
        return [code for code in known if describe(code).kind != "structure"]

    def _metrics(self, row: str, kind: str) -> dict[str, MetricValue]:
        counted = self.counted[kind]
        codes = self._classes() if row == ALL else [row]
        every_level = counted.average_precision(codes, levels=IOU_LEVELS[1:])
        mean = Interval(float(np.mean(every_level)), np.nan, np.nan, 0.95, 0)
        intervals = {
            key.removeprefix(f"{row}|"): interval
            for key, interval in self.intervals(kind).items()
            if key.startswith(f"{row}|")
        }
        return {
            "images": len(counted) if row == ALL else counted.images(row),
            **({} if row == ALL else {"with it": counted.with_lesions(row)}),
            "lesions": sum(map(counted.true_lesions, codes)),
            "detections": sum(map(counted.detections, codes)),
            **intervals,
            "COCO AP50:95": mean,
        }

    def intervals(self, kind: str = DRAWN) -> Mapping[str, Interval]:
        """Return ``row|figure`` to its interval, of all rows from the same resamples."""
        if kind not in self._kept:
            self._kept[kind] = self.bootstrap(
                partial(self._read, self.counted[kind]), len(self.groups), self.groups
            )
        return self._kept[kind]

    def _read(self, counted: MeanAveragePrecision, weights: ImageWeights) -> dict[str, float]:
        found: dict[str, float] = {}
        for row in self._row_names():
            lesion = self._classes() if row == ALL else row
            for level in MAIN_IOU_LEVELS:
                found[f"{row}|mAP{_percent(level)}"] = counted.mean_ap_over_images(
                    level, lesion, weights
                )
            precision = counted.average_precision(lesion, weights)
            for level, value in zip(MAIN_IOU_LEVELS, precision, strict=True):
                found[f"{row}|COCO AP{_percent(level)}"] = float(value)
            if row == ALL:
                continue
            found[f"{row}|found"] = counted.recall(0.5, row, weights)
            by_size = counted.recall_by_size(0.5, row, weights)
            for name, value in zip(size_names(), by_size, strict=True):
                found[f"{row}|{name}"] = float(value)
        return found

    def shows_interval(self, name: str) -> bool:
        """Show those of the paper's figures and the recall, which leaves the table readable."""
        return name.startswith("mAP") or name in ("found", "COCO AP50")

    def parameters(self) -> Mapping[str, Any]:
        """Return levels, sizes, limits and dilation."""
        return {
            **super().parameters(),
            "levels": list(IOU_LEVELS),
            "size_bounds_px": list(SIZE_BOUNDS),
            "most_detections": MAX_DETECTIONS,
            "dilated_at_px": self.settings.dilated_at,
            "dilated_by_px": sorted(self.dilation_radii),
        }

    def remarks(self) -> Sequence[str]:
        """Tell by how much lesions were dilated."""
        if not self.dilation_radii:
            return ()
        low, high = min(self.dilation_radii), max(self.dilation_radii)
        by = f"{low}" if low == high else f"{low} to {high}"
        return (
            f"dilated lesions are thickened by {by} px of the original images, which is 4 px where "
            f"the retina is {self.settings.dilated_at} px wide",
        )

    @classmethod
    def plots(
        cls, counters: Mapping[str, Self], context: PlotContext
    ) -> Mapping[str, Callable[[], Figure]]:
        """Return precision over recall at .50, and the lesions found by size."""
        from napari_fundus.evaluation.protocols import instance_plots as plots

        counted = {label: counter.counted[DRAWN] for label, counter in counters.items()}
        lesions = plots.count_lesions(counted)
        if not any(lesions.get(code) for code in context.settings.lesions):
            return {}
        intervals = {label: counter.intervals() for label, counter in counters.items()}
        return {
            "instances": partial(plots.plot_instances, counted, intervals, context),
            "recall_by_size": partial(plots.plot_recall_by_size, counted, intervals, context),
        }


def _image_row(matched: MatchedObjects, prefix: str) -> dict[str, float | int]:
    row: dict[str, float | int] = {
        f"{prefix}objects": matched.lesions,
        f"{prefix}objects_detected": len(matched.scores),
    }
    for level in MAIN_IOU_LEVELS:
        hit = matched.hit[IOU_LEVELS.index(level)]
        row[f"{prefix}hits{_percent(level)}"] = int(hit.sum())
        row[f"{prefix}ap{_percent(level)}"] = interpolated_average_precision(hit, matched.lesions)
    return row


def _percent(level: float) -> str:
    return f"{round(100 * level)}"
