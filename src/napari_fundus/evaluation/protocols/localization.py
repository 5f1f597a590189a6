"""The protocol ``localization``: where a classifier's heat map points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    MetricValue,
)
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.lesions import DR_EVIDENCE, DR_LESIONS
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.localization import LOCALIZATION_THRESHOLD, WeakLocalization
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANY = "any"
"""Row of all classes of retinopathy together."""


class LocalizationProtocol(EvaluationProtocol):
    """Lesions that a heat map points at, by the published rules."""

    name: ClassVar[str] = "localization"
    title: ClassVar[str] = "Weak localization: where the heat map points"
    method: ClassVar[str] = (
        "The heat map is normalized to [0, 1] within the field of view; its 8-connected regions at "
        f"or above {LOCALIZATION_THRESHOLD} are compared with the true lesions of each class. "
        "Lesion level: a lesion is found if half of its pixels are covered (strict) or one is "
        "(loose). FPI: regions whose mean intersection over union with the lesions they touch is "
        "below one half, an annotated image; of these, those that touch none are astray. Image "
        "level: an image with the class is found if one of its lesions is. One region over a "
        "cluster of small lesions finds all and is false by its overlap."
    )
    headings: ClassVar[Mapping[str, str]] = {
        "strict": "lesions, strict",
        "loose": "lesions, loose",
        "images strict": "images, strict",
        "images loose": "images, loose",
        "fpi": "FPI",
        "astray": "of these astray",
    }

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__(settings)
        known = [code for code in settings.lesions if code in DR_LESIONS] or list(DR_LESIONS)
        self.codes = tuple(map(str, known))
        self.counted = WeakLocalization((*self.codes, ANY))
        self.groups: list[str | None] = []

    def add(self, detections: Detections, case: Case) -> None:
        """Count one image; detectors without a heat map leave nothing."""
        if not detections.heatmap:
            return
        maps = detections.heatmap
        heatmap = maps[DR_EVIDENCE] if DR_EVIDENCE in maps else next(iter(maps.values()))
        truths = {code: case.truth(code) for code in self.codes if code in case.annotated}
        if not truths:
            return
        if set(DR_LESIONS) <= truths.keys():
            truths[ANY] = np.logical_or.reduce(list(truths.values()))
        self.counted.add(heatmap, truths, field_of_view=detections.field_of_view)
        self.groups.append(case.sample.group)
        alone = np.zeros(len(self.counted), np.int64)
        alone[-1] = 1
        for code in truths:
            counts = self.counted.counts(code, alone)
            self._rows[case.sample.id, code] = {
                "lesions": counts.lesions,
                "pointed_at_strict": counts.found_strict,
                "pointed_at_loose": counts.found_loose,
                "regions": counts.regions,
                "false_regions": counts.false_regions,
                "regions_astray": counts.astray,
            }

    def metrics(self) -> MetricTable:
        """Return the shares of lesions and images found, and false regions, with intervals."""
        return {
            code: self._metrics(code)
            for code in self.counted.lesions
            if len(self.counted) and self.counted.counts(code).images
        }

    def _metrics(self, code: str) -> dict[str, MetricValue]:
        def read(weights: ImageWeights) -> dict[str, float]:
            counts = self.counted.counts(code, weights)
            return {
                "strict": counts.sensitivity("strict"),
                "loose": counts.sensitivity("loose"),
                "fpi": counts.fpi,
                "astray": counts.unmatched_per_image,
                "images strict": counts.image_sensitivity("strict"),
                "images loose": counts.image_sensitivity("loose"),
            }

        counts = self.counted.counts(code)
        return {
            "images": counts.images,
            "with it": counts.with_lesions,
            "lesions": counts.lesions,
            **self.bootstrap(read, len(self.counted), self.groups),
        }

    def parameters(self) -> Mapping[str, Any]:
        """Return the threshold too."""
        return {**super().parameters(), "threshold": self.counted.threshold}

    def own_plots(self) -> Mapping[str, Callable[[], Figure]]:
        """Return the free-response curves over the thresholds of the map."""
        from napari_fundus.evaluation.protocols import classifier_plots as plots

        if not len(self.counted):
            return {}
        draw = partial(
            plots.plot_localization,
            self.counted,
            lesions=self.codes,
            seed=self.settings.seed,
            groups=self.groups,
        )
        return {"localization": draw}
