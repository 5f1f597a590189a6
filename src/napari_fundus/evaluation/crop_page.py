"""A page of crops a class: lesions found and missed, and false detections, with outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_fundus.evaluation.crops import Crop, CropKind
from napari_fundus.evaluation.protocols.figure_layout import make_figure
from napari_fundus.evaluation.results import CandidateResult, Report
from napari_fundus.lesions import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUTH_COLOUR, DETECTION_COLOUR = "#ffe119", "#6fd3ff"
"""Yellow and light blue differ for people with any colour vision; the truth is dashed too."""

_COLUMNS = 8
_CELL, _HEAD, _CAPTION, _EDGE = 1.3, 0.32, 0.2, 0.12
"""Inches."""

_MOST_GAIN, _SPREAD = 2.5, 110.0
"""Most contrast added, and grey levels of green between the 1st and 99th percentile aimed at."""

_WHAT: dict[CropKind, str] = {
    "hit": "found: a random draw, by falling score",
    "miss": "missed: the largest",
    "false": "false detections: those of the highest score",
}


def classes_with_crops(report: Report) -> list[str]:
    """Return the classes of which there are crops."""
    found = {code for trial in report.trials for code in trial.crops.classes()}
    return [code for code in report.settings.lesions if code in found]


def plot_crops(report: Report, lesion: str) -> Figure:
    """Return the page of a class: three rows of crops a detector, six if there is only one."""
    blocks = _blocks(report, lesion)
    height = 0.75 + sum(_block_height(crops) for _, crops in blocks)
    width = _COLUMNS * (_CELL + 0.06) + 2 * _EDGE
    figure = make_figure(width, height)
    top = height - 0.3
    name = describe(lesion).plural
    figure.text(
        _EDGE / width, top / height, f"{lesion}: {name}",
        fontsize=12, weight="bold", va="center",
    )  # fmt: skip
    _draw_legend(figure, width, top / height)
    top -= 0.35
    for heading, crops in blocks:
        figure.text(_EDGE / width, (top - 0.17) / height, heading, fontsize=9, va="center")
        top -= _HEAD
        for start in range(0, len(crops), _COLUMNS):
            for index, crop in enumerate(crops[start : start + _COLUMNS]):
                left = _EDGE + index * (_CELL + 0.06)
                box = (left / width, (top - _CELL) / height, _CELL / width, _CELL / height)
                _draw(figure.add_axes(box), crop)
            top -= _CELL + _CAPTION
        top -= 0.08
    return figure


def _blocks(report: Report, lesion: str) -> list[tuple[str, list[Crop]]]:
    kinds: tuple[CropKind, ...] = ("hit", "miss", "false")
    trials = [t for t in report.trials if lesion in t.crops.classes()]
    rows = 2 if len(trials) == 1 else 1
    return [
        (_heading(trial, lesion, kind, crops), crops)
        for trial in trials
        for kind in kinds
        for crops in [trial.crops.crops(lesion, kind)]
        for crops in [_some(crops, rows * _COLUMNS)]
    ]


def _some(crops: Sequence[Crop], most: int) -> list[Crop]:
    """Return at most so many: evenly spread for hits, the first ones otherwise."""
    if len(crops) <= most:
        return list(crops)
    if crops[0].kind != "hit":
        return list(crops[:most])
    return [crops[round(index * (len(crops) - 1) / (most - 1))] for index in range(most)]


def _heading(trial: CandidateResult, lesion: str, kind: CropKind, crops: Sequence[Crop]) -> str:
    total = trial.crops.total(lesion, kind)
    what, _, how = _WHAT[kind].partition(": ")
    if not total:
        return f"{trial.candidate.label}, {what}: none"
    return f"{trial.candidate.label}, {what}: {len(crops)} of {total:,} ({how})"


def _block_height(crops: Sequence[Crop]) -> float:
    return _HEAD + -(-len(crops) // _COLUMNS) * (_CELL + _CAPTION) + 0.08


def _draw(axes: Axes, crop: Crop) -> None:
    from matplotlib.patheffects import withStroke

    axes.imshow(_stretched(crop.pixels), interpolation="bilinear")
    for mask, colour, dash in (
        (crop.truth, TRUTH_COLOUR, (0, (3, 1.6))),
        (crop.detection, DETECTION_COLOUR, "solid"),
    ):
        if mask.any() and not mask.all():
            lines = axes.contour(
                mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.1, linestyles=[dash]
            )
            lines.set_path_effects([withStroke(linewidth=2.2, foreground="#00000090")])
    axes.set_axis_off()
    name = crop.image.rpartition("/")[2]
    caption = f"{crop.score:.2f}  {name if len(name) <= 16 else '…' + name[-15:]}"
    axes.text(
        0.5, -0.03, caption, transform=axes.transAxes, fontsize=6.5, ha="center", va="top",
        color="#333333",
    )  # fmt: skip


def _stretched(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the crop with more contrast about its median: many lesions are faint."""
    values = pixels.astype(np.float32)
    centre = np.median(values, axis=(0, 1))
    spread = float(np.ptp(np.percentile(values[..., 1], [1, 99])))
    gain = min(_MOST_GAIN, _SPREAD / max(spread, 1.0))
    stretched: npt.NDArray[np.uint8] = np.clip(
        centre + max(gain, 1.0) * (values - centre), 0, 255
    ).astype(np.uint8)
    return stretched


def _draw_legend(figure: Figure, width: float, y: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.6, foreground="#444444")]
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, linestyle=(0, (3, 1.6)), linewidth=2, path_effects=halo),
        Line2D([], [], color=DETECTION_COLOUR, linewidth=2, path_effects=halo),
    ]
    figure.legend(
        handles,
        ["drawn by experts", "detected (contrast is raised)"],
        loc="center right",
        bbox_to_anchor=(1 - _EDGE / width, y),
        ncols=2,
        fontsize=8,
        frameon=False,
    )
