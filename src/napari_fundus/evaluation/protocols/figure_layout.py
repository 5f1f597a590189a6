"""What all figures of reports share: panels, colours, line styles, legends, and writing as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.lesions import describe
from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.runtime.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: distinct for people with any colour vision; lines differ in dashes too."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)))
INK, FAINT, GRID = "#222222", "#6b6b6b", "#dddddd"
_DPI = 130


def make_figure(width: float, height: float, **options: Any) -> Figure:
    """Return an empty figure of a size in inches that needs no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, **options)
    FigureCanvasAgg(figure)
    return figure


def make_panels(
    count: int, columns: int, *, width: float, height: float, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure of a size in inches with `count` panels in rows of `columns`.

    `ratios` are the heights of the rows.
    """
    figure = make_figure(width, height, layout="constrained")
    grid = figure.subplots(
        -(-count // columns),
        columns,
        squeeze=False,
        gridspec_kw={"height_ratios": ratios} if ratios else None,
    )
    panels: list[Axes] = list(grid.ravel())
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[:count]:
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_fontsize(9)
        axes.yaxis.label.set_fontsize(9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels[:count]


def plot_panels(
    classes: Sequence[str],
    draw: Callable[[Axes, str], None],
    *,
    title: str,
    note: str = "",
    counts: Mapping[str, int] | None = None,
) -> Figure:
    """Return a figure with a panel a class.

    Parameters
    ----------
    classes
        Codes, in order.
    draw
        Draws a class into its axes, whose values run from 0 to 1.
    title, note
        Above all panels, and below.
    counts
        Class code to its number of lesions, for the titles of the panels.
    """
    columns = {1: 1, 2: 2, 3: 3, 4: 2}.get(len(classes), 3)
    rows = -(-len(classes) // columns)
    figure, panels = make_panels(
        len(classes), columns, width=5.4 * columns, height=5.0 * rows + 0.7
    )
    for axes, code in zip(panels, classes, strict=True):
        axes.set_ylim(0, 1.005)
        count = f" ({counts[code]:,})" if counts is not None and code in counts else ""
        plural = describe(code).plural
        name = f"{code}: {plural}" if plural != code else code
        axes.set_title(f"{name}{count}", fontsize=10, color=INK)
        draw(axes, code)
        axes.xaxis.label.set_fontsize(8.5)
        axes.yaxis.label.set_fontsize(8.5)
    figure.suptitle(title, fontsize=11, color=INK)
    figure.supxlabel(note, fontsize=7.5, color=FAINT)
    return figure


def save_figure(figure: Figure, path: Path, *, overwrite: bool) -> None:
    """Write a picture as PNG, whole or not at all."""
    with atomic_write(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor="white")


def line_style(number: int) -> dict[str, Any]:
    """Return colour and dashes of the detector of that number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.8,
    }


def label_with_metric(label: str, metric: Any) -> str:
    """Return a detector's label with its metric, if that has an interval."""
    return f"{label}  {metric}" if isinstance(metric, Interval) else label


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
