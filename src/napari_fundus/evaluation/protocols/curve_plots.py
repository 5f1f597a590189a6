"""FROC and precision-recall curves as figures: all detectors, published points beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.evaluation.protocols.figure_layout import (
    FAINT,
    label_with_metric,
    legend_below,
    line_style,
    mark_point,
    plot_panels,
)
from napari_fundus.evaluation.protocols.published import published_for, published_points
from napari_fundus.evaluation.protocols.values import PlotContext
from napari_fundus.metrics.curves import Curve
from napari_fundus.metrics.froc_curve import FrocCurve, point_name
from napari_fundus.metrics.precision_recall import PrecisionRecallCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[str, Mapping[str, tuple[float, float]]]
"""Label of a detector to class to the point at the detector's own threshold."""

_DOT = "Dot: the detector's own threshold. In brackets: 95 % interval."


def plot_froc(
    curves: Mapping[str, Mapping[str, FrocCurve]],
    points: Points,
    context: PlotContext,
    *,
    mean_name: str,
) -> Figure:
    """Return sensitivity over false positives an image.

    Parameters
    ----------
    curves
        Label of a detector to class to curve.
    points
        (False positives an image, sensitivity) at the detectors' thresholds.
    context
        Of the report.
    mean_name
        Name of the metric in the legend.
    """
    asked = context.settings.points

    def draw(axes: Axes, code: str) -> None:
        right = max(asked)
        for number, (label, of_class) in enumerate(curves.items()):
            if code not in of_class:
                continue
            curve, style = of_class[code], line_style(number)
            fpi, sensitivity = _envelope(curve, min(asked) / 4)
            name = label_with_metric(label, context.metrics[label][code][mean_name])
            axes.step(fpi, sensitivity, where="post", label=name, **style)
            if curve.ended is not None:
                axes.plot(fpi[-1], sensitivity[-1], "|", color=style["color"], markersize=11, mew=2)
            at, found = points[label][code]
            right = max(right, min(at * 1.5, 200))
            mark_point(axes, max(at, min(asked) / 2), found, style["color"])
        for point in published_points(code):
            axes.plot(
                point.fpi, point.sensitivity, "D", color=FAINT, markersize=6,
                markerfacecolor="none", mew=1.4, label="published (see below)",
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(asked) / 2, right * 1.25)
        ticks = list(asked)
        while ticks[-1] * 2 <= right * 1.25:
            ticks.append(ticks[-1] * 2)
        axes.set_xticks(ticks, [point_name(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("false positives an image")
        axes.set_ylabel("sensitivity (share of lesions found)")
        legend_below(axes, mean_name)

    classes = context.classes(curves)
    note = f"{_DOT} Bar: end of a curve."
    if any(published_points(code) for code in classes):
        note += " Diamond: heat maps on DIARETDB1, half of a lesion covered (Gondal et al. 2017)."
    return plot_panels(
        classes, draw, title=f"FROC: {context.images}", note=note, counts=context.lesion_counts
    )


def plot_precision_recall(
    curves: Mapping[str, Mapping[str, PrecisionRecallCurve]], points: Points, context: PlotContext
) -> Figure:
    """Return precision over recall of pixels.

    Parameters
    ----------
    curves
        Label of a detector to class to curve.
    points
        (Recall, precision) at the detectors' thresholds.
    context
        Of the report.
    """
    steps = context.settings.steps[0]

    def draw(axes: Axes, code: str) -> None:
        for number, (label, of_class) in enumerate(curves.items()):
            if code not in of_class:
                continue
            curve, style = of_class[code], line_style(number)
            metrics = context.metrics[label][code]
            area = next(value for name, value in metrics.items() if name.startswith("AUPR"))
            axes.plot(curve.recall, curve.precision, label=label_with_metric(label, area), **style)
            mark_point(axes, *points[label][code], style["color"])
        axes.set_xlim(0, 1)
        axes.set_xlabel("recall (share of lesion pixels found)")
        axes.set_ylabel("precision (share of found pixels that are lesion)")
        published = [p for p in published_for("aupr") if p.lesion == code]
        for item in published:
            by = item.by.split(",")[0].split(" (")[0]
            axes.plot([], [], " ", label=f"published: {by}  {item.value:.3f}".replace(" 0.", " ."))
        how = f"{steps} thresholds" if steps else "exact"
        legend_below(axes, f"AUPR ({how})", faint=len(published))

    return plot_panels(
        context.classes(curves),
        draw,
        title=f"Precision and recall of pixels: {context.images}",
        note=f"{_DOT} Published: on the 27 images of IDRiD's testing part.",
        counts=context.lesion_counts,
    )


def plot_curves(
    curves: Mapping[str, Mapping[str, Curve]],
    context: PlotContext,
    *,
    title: str,
    axis_names: tuple[str, str],
    log_x: bool = False,
) -> Figure:
    """Return any protocol's curves, y from 0 to 1, with their summaries.

    Parameters
    ----------
    curves
        Label of a detector to class to curve.
    context
        Of the report.
    title
        Of the protocol.
    axis_names
        What x and y are.
    log_x
        Whether x is drawn on a logarithmic axis.
    """

    def draw(axes: Axes, code: str) -> None:
        for number, (label, of_class) in enumerate(curves.items()):
            if code in of_class:
                curve = of_class[code]
                name = f"{label}  {curve.summary:.3f}" if np.isfinite(curve.summary) else label
                axes.plot(curve.x, curve.y, label=name, **line_style(number))
        if log_x:
            axes.set_xscale("log", base=2)
        axes.set_xlabel(axis_names[0])
        axes.set_ylabel(axis_names[1])
        legend_below(axes, "")

    classes = context.classes(curves)
    return plot_panels(classes, draw, title=f"{title}: {context.images}")


def _envelope(curve: FrocCurve, least: float) -> tuple[Any, Any]:
    """Return the best sensitivity with at most so many false positives, as CPM reads it."""
    order = np.lexsort((curve.sensitivity, curve.fpi))
    fpi = np.maximum(curve.fpi[order], least)
    return fpi, np.maximum.accumulate(curve.sensitivity[order])
