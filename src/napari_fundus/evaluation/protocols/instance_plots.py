"""Lesions as objects in pictures: precision over recall, and recall by size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_fundus.evaluation.protocols.figure_layout import (
    FAINT,
    INK,
    label_with_metric,
    legend_below,
    line_style,
    mark_point,
    plot_panels,
)
from napari_fundus.evaluation.protocols.values import PlotContext
from napari_fundus.metrics.average_precision import MeanAveragePrecision
from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.metrics.coco_matching import size_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counted = Mapping[str, MeanAveragePrecision]
"""Label of a detector to its counts of lesions as drawn."""

Intervals = Mapping[str, Mapping[str, Interval]]
"""Label of a detector to ``class|metric`` to its interval."""


def plot_instances(counted: Counted, intervals: Intervals, context: PlotContext) -> Figure:
    """Return precision over recall of objects at .50."""
    counts = count_lesions(counted)
    classes = [code for code in context.settings.lesions if counts.get(code)]

    def draw(axes: Axes, code: str) -> None:
        for number, (label, own) in enumerate(counted.items()):
            if code not in own.lesions:
                continue
            curve, style = own.curve(0.5, code), line_style(number)
            name = label_with_metric(label, intervals[label][f"{code}|COCO AP50"])
            axes.plot(curve.recall, curve.precision, label=name, **style)
            if len(curve.scores):
                mark_point(axes, curve.recall[-1], curve.precision[-1], style["color"])
        axes.set_xlim(0, 1)
        axes.set_xlabel("recall (share of lesions found)")
        axes.set_ylabel("precision (share of detections that are a lesion)")
        legend_below(axes, "COCO AP50, lesions as drawn")

    note = (
        "A hit overlaps a lesion by .50 (intersection over union). Dot: the detector's own "
        "threshold. In brackets: 95 % interval."
    )
    title = f"Precision and recall of objects: {context.images}"
    return plot_panels(classes, draw, title=title, note=note, counts=counts)


def plot_recall_by_size(counted: Counted, intervals: Intervals, context: PlotContext) -> Figure:
    """Return the share of lesions found by their size."""
    counts = count_lesions(counted)
    classes = [code for code in context.settings.lesions if counts.get(code)]
    names = size_names()
    width = 0.8 / len(counted)

    def draw(axes: Axes, code: str) -> None:
        number_of = np.zeros(len(names), np.int64)
        for number, (label, own) in enumerate(counted.items()):
            if code not in own.lesions:
                continue
            number_of = own.lesions_by_size(code)
            places = np.arange(len(names)) - 0.4 + (number + 0.5) * width
            colour = line_style(number)["color"]
            by_size = [intervals[label][f"{code}|{name}"] for name in names]
            strict = np.array([interval.estimate for interval in by_size])
            axes.bar(
                places, own.recall_by_size(0.35, code), width * 0.86, color="none",
                edgecolor=colour, linewidth=1.2,
            )  # fmt: skip
            axes.bar(
                places, strict, width * 0.86, color=colour, alpha=0.75,
                label=label_with_metric(label, intervals[label][f"{code}|found"]),
            )  # fmt: skip
            axes.errorbar(
                places, strict, yerr=_error_bars(by_size), fmt="none", ecolor=INK, elinewidth=1,
                capsize=2,
            )  # fmt: skip
        axes.set_xticks(
            range(len(names)),
            [f"{name}\n({count:,})" for name, count in zip(names, number_of, strict=True)],
        )
        for index in np.flatnonzero(number_of == 0):
            axes.text(float(index), 0.02, "none", ha="center", fontsize=8, color=FAINT)
        axes.set_xlim(-0.55, len(names) - 0.45)
        axes.set_xlabel("equivalent diameter in the original image (lesions)")
        axes.set_ylabel("share of lesions found")
        legend_below(axes, "all sizes, at .50")

    note = (
        "Filled: overlap (intersection over union) of .50, with its 95 % interval; outline: .35. "
        "Lesions as drawn."
    )
    title = f"Lesions found by size: {context.images}"
    return plot_panels(classes, draw, title=title, note=note, counts=counts)


def count_lesions(counted: Counted) -> dict[str, int]:
    """Return the true lesions of each class that any detector was compared with."""
    return {code: own.true_lesions(code) for own in counted.values() for code in own.lesions}


def _error_bars(intervals: list[Interval]) -> list[list[float]]:
    """Return how far each interval goes below and above its metric; 0 where it has no end."""
    low = [max(i.estimate - i.low, 0.0) if np.isfinite(i.low) else 0.0 for i in intervals]
    high = [max(i.high - i.estimate, 0.0) if np.isfinite(i.high) else 0.0 for i in intervals]
    return [low, high]
