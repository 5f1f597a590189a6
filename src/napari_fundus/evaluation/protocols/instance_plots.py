"""Lesions as objects in pictures: precision over recall, and recall by size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_fundus.evaluation.plots import (
    FAINT,
    legend_below,
    line_style,
    mark_point,
    named,
    panels,
)
from napari_fundus.evaluation.protocols.instances import DRAWN, InstancesProtocol
from napari_fundus.evaluation.results import CandidateResult, Report
from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.metrics.instance_matching import size_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_instances", "plot_recall_by_size"]


def plot_instances(report: Report) -> Figure | None:
    """Return precision over recall of objects at .50; None if instances were not counted."""
    trials, classes, counts = _counted(report)
    if not classes:
        return None

    def draw(axes: Axes, code: str) -> None:
        for number, (trial, counter) in enumerate(trials):
            counted = counter.counted[DRAWN]
            if code not in counted.lesions:
                continue
            curve, style = counted.curve(0.5, code), line_style(number)
            area = counter.intervals()[f"{code}|COCO AP50"]
            label = named(trial.contender.label, area)
            axes.plot(curve.recall, curve.precision, label=label, **style)
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
    return panels(report, classes, draw, "Precision and recall of objects", note, counts)


def plot_recall_by_size(report: Report) -> Figure | None:
    """Return the share of lesions found by their size; None if instances were not counted."""
    trials, classes, counts = _counted(report)
    if not classes:
        return None
    names = size_names()
    width = 0.8 / len(trials)

    def draw(axes: Axes, code: str) -> None:
        number_of = np.zeros(len(names), np.int64)
        for number, (trial, counter) in enumerate(trials):
            counted = counter.counted[DRAWN]
            if code not in counted.lesions:
                continue
            number_of = counted.lesions_by_size(code)
            places = np.arange(len(names)) - 0.4 + (number + 0.5) * width
            colour = line_style(number)["color"]
            told = [counter.intervals()[f"{code}|{name}"] for name in names]
            strict = np.array([interval.estimate for interval in told])
            axes.bar(
                places, counted.recall_by_size(0.35, code), width * 0.86, color="none",
                edgecolor=colour, linewidth=1.2,
            )  # fmt: skip
            axes.bar(
                places, strict, width * 0.86, color=colour, alpha=0.75,
                label=named(trial.contender.label, counter.intervals()[f"{code}|found"]),
            )  # fmt: skip
            axes.errorbar(
                places, strict, yerr=_error_bars(told), fmt="none", ecolor="#222222", elinewidth=1,
                capsize=2,
            )  # fmt: skip
        axes.set_xticks(
            range(len(names)),
            [f"{name}\n({count:,})" for name, count in zip(names, number_of, strict=True)],
        )
        for place in np.flatnonzero(number_of == 0):
            axes.text(float(place), 0.02, "none", ha="center", fontsize=8, color=FAINT)
        axes.set_xlim(-0.55, len(names) - 0.45)
        axes.set_xlabel("equivalent diameter in the original image (lesions)")
        axes.set_ylabel("share of lesions found")
        legend_below(axes, "all sizes, at .50")

    note = (
        "Filled: overlap (intersection over union) of .50, with its 95 % interval; outline: .35. "
        "Lesions as drawn."
    )
    return panels(report, classes, draw, "Lesions found by size", note, counts)


def _error_bars(told: list[Interval]) -> list[list[float]]:
    """Return how far each interval goes below and above its figure; 0 where it has no end."""
    low = [max(i.estimate - i.low, 0.0) if np.isfinite(i.low) else 0.0 for i in told]
    high = [max(i.high - i.estimate, 0.0) if np.isfinite(i.high) else 0.0 for i in told]
    return [low, high]


def _counted(
    report: Report,
) -> tuple[list[tuple[CandidateResult, InstancesProtocol]], list[str], dict[str, int]]:
    """Return who was counted, the classes that have lesions, and how many."""
    trials = [
        (trial, counter)
        for trial in report.trials
        if isinstance(counter := trial.counter("instances"), InstancesProtocol)
    ]
    counts = {
        code: counter.counted[DRAWN].true_lesions(code)
        for _, counter in trials
        for code in counter.counted[DRAWN].lesions
    }
    return trials, [code for code in report.settings.lesions if counts.get(code)], counts
