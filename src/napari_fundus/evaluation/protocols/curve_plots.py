"""Curves as pictures: a panel a class, all detectors, published points beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.evaluation.protocols.aupr import AuprProtocol
from napari_fundus.evaluation.protocols.froc import FrocProtocol, point_name
from napari_fundus.evaluation.published import published_for, published_points
from napari_fundus.evaluation.results import CandidateResult, Report
from napari_fundus.lesions import describe
from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.metrics.froc_curve import FrocCurve
from napari_fundus.runtime.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "FAINT",
    "INK",
    "legend_below",
    "line_style",
    "mark_point",
    "named",
    "panels",
    "plot_froc",
    "plot_precision_recall",
    "save_figure",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito, told apart by people with any colour vision; lines differ in dashes too."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)))
INK, FAINT, _GRID = "#222222", "#6b6b6b", "#dddddd"
_DPI = 130
_DOT = "Dot: the detector's own threshold. In brackets: 95 % interval."


def plot_froc(report: Report) -> Figure | None:
    """Return sensitivity over false positives an image; None if FROC was not counted."""
    counters = [(t, c) for t in report.trials if isinstance(c := t.counter("froc"), FrocProtocol)]
    curves = {t.contender.label: c.curves() for t, c in counters}
    points = {t.contender.label: c.operating_points() for t, c in counters}
    classes = [code for code in report.settings.lesions if any(code in c for c in curves.values())]
    if not classes:
        return None

    def draw(axes: Axes, code: str) -> None:
        asked = report.settings.points
        right = max(asked)
        for number, trial in enumerate(report.trials):
            label = trial.contender.label
            if code not in curves.get(label, {}):
                continue
            curve = curves[label][code]
            style = line_style(number)
            fpi, sensitivity = _envelope(curve, min(asked) / 4)
            mean = report.figures(label, "froc")[code][counters[0][1].mean_name]
            axes.step(fpi, sensitivity, where="post", label=named(label, mean), **style)
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
        legend_below(axes, counters[0][1].mean_name)

    note = f"{_DOT} Bar: end of a curve."
    if any(published_points(code) for code in classes):
        note += " Diamond: heat maps on DIARETDB1, half of a lesion covered (Gondal et al. 2017)."
    return panels(report, classes, draw, "FROC", note)


def plot_precision_recall(report: Report) -> Figure | None:
    """Return precision over recall of pixels; None if AUPR was not counted."""
    counters = [(t, c) for t in report.trials if isinstance(c := t.counter("aupr"), AuprProtocol)]
    curves = {t.contender.label: c.curves() for t, c in counters}
    points = {t.contender.label: c.operating_points() for t, c in counters}
    classes = [code for code in report.settings.lesions if any(code in c for c in curves.values())]
    if not classes:
        return None

    def draw(axes: Axes, code: str) -> None:
        for number, trial in enumerate(report.trials):
            label = trial.contender.label
            if code not in curves.get(label, {}):
                continue
            curve, style = curves[label][code], line_style(number)
            figures = report.figures(label, "aupr")[code]
            area = next(value for name, value in figures.items() if name.startswith("AUPR"))
            axes.plot(curve.recall, curve.precision, label=named(label, area), **style)
            mark_point(axes, *points[label][code], style["color"])
        axes.set_xlim(0, 1)
        axes.set_xlabel("recall (share of lesion pixels found)")
        axes.set_ylabel("precision (share of found pixels that are lesion)")
        published = [p for p in published_for("aupr") if p.lesion == code]
        for item in published:
            by = item.by.split(",")[0].split(" (")[0]
            axes.plot([], [], " ", label=f"published: {by}  {item.value:.3f}".replace(" 0.", " ."))
        legend_below(axes, f"AUPR ({_first_steps(report)})", faint=len(published))

    note = f"{_DOT} Published: on the 27 images of IDRiD's testing part."
    return panels(report, classes, draw, "Precision and recall of pixels", note)


def save_figure(figure: Figure, path: Path, *, overwrite: bool) -> None:
    """Write a picture as PNG, whole or not at all."""
    with atomic_write(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor="white")


def _first_steps(report: Report) -> str:
    steps = report.settings.steps[0]
    return f"{steps} thresholds" if steps else "exact"


def line_style(number: int) -> dict[str, Any]:
    """Return colour and dashes of the detector of that number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "linewidth": 1.8,
    }


def named(label: str, figure: Any) -> str:
    """Return a detector's label with its figure, if that has an interval."""
    return f"{label}  {figure}" if isinstance(figure, Interval) else label


def mark_point(axes: Axes, x: float, y: float, colour: str) -> None:
    """Draw the point at the detector's own threshold."""
    if np.isfinite([x, y]).all():
        axes.plot(
            x, y, "o", color=colour, markersize=7.5, markeredgecolor="white", mew=1.2, zorder=5
        )


def legend_below(axes: Axes, title: str, *, faint: int = 0) -> None:
    """Draw the legend below the panel, where no curve is; its last `faint` lines in grey."""
    legend = axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=1 if faint else 2,
        fontsize=7.5,
        title=title,
        title_fontsize=7.5,
        frameon=False,
    )
    texts = legend.get_texts()
    for text in texts[len(texts) - faint :]:
        text.set_color(FAINT)


def _envelope(curve: FrocCurve, least: float) -> tuple[Any, Any]:
    """Return the best sensitivity with at most so many false positives, as CPM reads it."""
    order = np.lexsort((curve.sensitivity, curve.fpi))
    fpi = np.maximum(curve.fpi[order], least)
    return fpi, np.maximum.accumulate(curve.sensitivity[order])


def panels(
    report: Report,
    classes: Sequence[str],
    draw: Callable[[Axes, str], None],
    title: str,
    note: str,
    counts: Mapping[str, int] | None = None,
) -> Figure:
    """Return a picture with a panel a class.

    Parameters
    ----------
    report
        Tells the images.
    classes
        Codes, in order.
    draw
        Draws a class into its axes, whose values run from 0 to 1.
    title, note
        Above all panels, and below.
    counts
        Lesions of each class; None for those that FROC counted, if it did.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = {1: 1, 2: 2, 3: 3, 4: 2}.get(len(classes), 3)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(5.4 * columns, 5.0 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(classes):
            axes.set_axis_off()
            continue
        code = classes[place]
        axes.set_ylim(0, 1.005)
        axes.grid(color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        name = describe(code).plural
        axes.set_title(
            f"{code}: {name}{_lesions(report.trials, code, counts)}", fontsize=10, color=INK
        )
        axes.tick_params(labelsize=8)
        draw(axes, code)
        axes.xaxis.label.set_size(8.5)
        axes.yaxis.label.set_size(8.5)
    source = report.source
    where = ", ".join(part for part in (source.title or source.name, source.split) if part)
    images = "1 image" if report.images == 1 else f"{report.images} images"
    figure.suptitle(f"{title}: {images}{f' of {where}' if where else ''}", fontsize=11, color=INK)
    figure.supxlabel(note, fontsize=7.5, color=FAINT)
    return figure


def _lesions(trials: Sequence[CandidateResult], code: str, counts: Mapping[str, int] | None) -> str:
    """Return how many lesions there are, in brackets, where it was counted."""
    if counts is not None:
        return f" ({counts[code]:,})"
    for trial in trials:
        counter = trial.counter("froc")
        curves: Mapping[str, FrocCurve] = (
            counter.curves() if isinstance(counter, FrocProtocol) else {}
        )
        if code in curves:
            return f" ({curves[code].lesions:,})"
    return ""
