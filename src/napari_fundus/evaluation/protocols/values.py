"""What protocols are given and return: settings, tables of metrics, and the context of plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.metrics.froc_curve import CPM_POINTS
from napari_fundus.metrics.instance_objects import PAPER_WIDTH

MetricValue = Interval | float | int | None
"""A metric with its interval, a number, or None where it is undefined."""

MetricTable = Mapping[str, Mapping[str, MetricValue]]
"""Class (or any other row) to name of the metric to metric."""

ImageRows = Mapping[tuple[str, str], Mapping[str, float | int]]
"""Metrics of single images: (sample id, class) to name to number."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of all protocols of a report.

    Attributes
    ----------
    lesions
        Classes to evaluate, in order.
    points
        False positives an image at which FROC reads sensitivity.
    steps
        Numbers of thresholds of AUPR; 0 stands for every threshold.
    resamples, seed
        Of the bootstrap.
    dilated_at
        Width of the field of view in px at which true lesions are dilated, for instances.
    """

    lesions: tuple[str, ...]
    points: tuple[float, ...] = CPM_POINTS
    steps: tuple[int, ...] = (33, 11, 0)
    resamples: int = 1000
    seed: int = 0
    dilated_at: int = PAPER_WIDTH


@dataclass(frozen=True)
class PlotContext:
    """What the plots of a protocol show beside its own counts.

    Attributes
    ----------
    settings
        Of all protocols.
    images
        Which images, in words, for the title: ``27 images of IDRiD, test``.
    metrics
        Label of a detector to its metrics by this protocol.
    lesion_counts
        Class code to the number of true lesions, where a protocol of the report counts them.
    """

    settings: EvaluationSettings
    images: str
    metrics: Mapping[str, MetricTable]
    lesion_counts: Mapping[str, int]

    def classes(self, curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the classes that any detector has a curve of, those of the settings first."""
        known = dict.fromkeys(code for of_class in curves.values() for code in of_class)
        first = [code for code in self.settings.lesions if code in known]
        return [*first, *(code for code in known if code not in first)]


def metric_to_json(metric: MetricValue) -> Any:
    """Return a metric as plain values; an interval as a dictionary."""
    return asdict(metric) if isinstance(metric, Interval) else metric
