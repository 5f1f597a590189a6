"""The page: tables of stages, gains and growth, with the picture of the latter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from benchmarks.peers import TimedRun
from benchmarks.performance.machine_limits import MachineLimits, processor_name
from benchmarks.performance.scaling import Series
from benchmarks.performance.stage import MAX_SECONDS, StageTiming
from napari_fundus._version import __version__

__all__ = ["PerformanceResults", "render_page", "write_scaling_plot"]

_LINEAR = "0.6"


_CHANGES = (
    "- Labels and table: parts are found by their runs of pixels, where OpenCV scanned the image "
    "and touched every page of the labels.",
    "- Label TIFF: of the tiles that are all 0, nearly every one, a single one is packed.",
    "- FROC: the search for the level at which a map is crowded begins only where a component can "
    "be too large.",
    "- PRN: each core has patches of its own, where all shared every layer.",
    "- Reading: no copy of a picture that stands upright already.",
)
"""What was done, for the page."""


@dataclass(frozen=True)
class PerformanceResults:
    """All that one run gave.

    Attributes
    ----------
    outcomes
        One a stage.
    machine
        Its limits.
    pixels
        Cost against the size of an image.
    images
        Cost against the number of images.
    megapixels
        Of those images.
    repeats
        Turns of each contestant.
    minutes
        That the run took.
    """

    outcomes: tuple[StageTiming, ...]
    machine: MachineLimits
    pixels: tuple[Series, ...]
    images: Series
    megapixels: float
    repeats: int
    minutes: float


def render_page(measured: PerformanceResults, picture: str) -> str:
    """Return the page in Markdown; `picture` is the address of the plot, seen from it."""
    machine = measured.machine
    return "\n".join(
        [
            "# Performance",
            "",
            "Written by `make bench` in one run of "
            f"{measured.minutes:.0f} minutes: {dt.datetime.now(dt.UTC):%Y-%m-%d}, "
            f"{processor_name()}, napari-fundus {__version__}, torch "
            f"{torch.__version__.partition('+')[0]} with {torch.get_num_threads()} threads, OpenCV "
            f"{cv2.__version__} with {cv2.getNumThreads()}.",
            "",
            "Every stage stands beside the way that a user would otherwise take, with the same "
            "input and the same output; the largest difference between both outputs is in the "
            "table. All take turns, so that other work on the machine slows all alike. A time is "
            f"the best of {measured.repeats} turns, after one that does not count; who takes over "
            f"{MAX_SECONDS:g} s has one turn, which counts. Clocks are noisy, ratios less so: "
            "× says how often faster we are, on the clock and in processor time; below 1 the other "
            "is faster.",
            "",
            "## Stages",
            "",
            f"The machine's limits, measured between the stages: {machine.arithmetic / 1e9:.0f} "
            f"GFLOP/s (product of float32 matrices), {machine.memory / 1e9:.1f} GB/s (copying, "
            f"read and written), {machine.files / 1e9:.1f} GB/s (reading a file from the cache). "
            "*Of limit* is the share that we reach of the time that the scarcest of them sets: a "
            "network's operations, or the bytes that must be read and written at least once. "
            "Decoding, searching and packing have no such formula, so their share is small for "
            "anyone. Our field of view does more than its peers: it also finds the disc where the "
            "retina is dark, cut or surrounded by a glow, and so it takes longer.",
            "",
            *_stage_table(measured),
            "",
            "## What was made faster",
            "",
            "Profiles of these stages led to the changes; *before* is the earlier way, kept in "
            "`benchmarks/performance/baselines.py` and measured in the same run.",
            "",
            *_gain_table(measured.outcomes),
            "",
            *_CHANGES,
            "",
            "## Growth with the size of an image",
            "",
            "The sample photograph at several sizes: processor seconds and, in brackets, peak "
            "memory above the start in MiB. The exponent is that of growth from the second size "
            "on: 1 is linear. Detectors look at a working size of their own, so that only the "
            "steps before and after grow.",
            "",
            *_pixel_table(measured.pixels),
            "",
            "## Growth with the number of images",
            "",
            f"A batch with the top-hat detector over copies of one image of "
            f"{measured.megapixels:g} megapixels, tables, outlines, labels and overlay written.",
            "",
            *_image_table(measured.images),
            "",
            f"![Processor seconds against megapixels and against images]({picture})",
            "",
            "## What a person waits for",
            "",
            "`make bench` ends with a table of what a person waits for, beside the time that it "
            "may take: importing the package, `--help`, the demo, a TIFF of 12 megapixels, a "
            "slider as a share of a plain run, and the longest turn of the window's event loop (at "
            "most 0.2 s). It ends with an error where something takes longer. No test asks for a "
            "time: the tests count what is done, such as the layers added in a turn, the maps that "
            "a slider searches, or the modules that are imported.",
            "",
        ]
    )


def _stage_table(measured: PerformanceResults) -> list[str]:
    lines = [
        "| stage | on | ours s | peer | peer s | × clock | × processor | difference | of limit | "
        "peak MiB, ours and peer |",
        "|---" * 10 + "|",
    ]
    for outcome in measured.outcomes:
        best, busy = min(outcome.ours.seconds), min(outcome.ours.busy)
        share = outcome.share(measured.machine)
        for number, (peer, off) in enumerate(zip(outcome.peers, outcome.differences, strict=True)):
            first = number == 0
            told = (
                outcome.stage.title if first else "",
                outcome.stage.on if first else "",
                _seconds(best) if first else "",
                peer.title,
                _seconds(min(peer.seconds)),
                f"**{_ratio(min(peer.seconds) / best)}**",
                _ratio(min(peer.busy) / busy),
                off,
                (f"{share:.0%}" if share >= 0.01 else f"{share:.1%}") if first else "",
                f"{_memory(outcome.ours)}, {_memory(peer)}",
            )
            lines.append(f"| {' | '.join(told)} |")
    return lines


def _gain_table(outcomes: Sequence[StageTiming]) -> list[str]:
    lines = [
        "| stage | before s | now s | × clock | × processor | difference | peak MiB, before and "
        "now |",
        "|---" * 7 + "|",
    ]
    for outcome in outcomes:
        if outcome.before is None:
            continue
        now, before = outcome.ours, outcome.before
        clock, busy = min(before.seconds) / min(now.seconds), min(before.busy) / min(now.busy)
        lines.append(
            f"| {outcome.stage.title} | {_seconds(min(before.seconds))} | "
            f"{_seconds(min(now.seconds))} | **{_ratio(clock)}** | "
            f"{_ratio(busy)} | {outcome.changed} | "
            f"{_memory(before)}, {_memory(now)} |"
        )
    return lines


def _pixel_table(series: Sequence[Series]) -> list[str]:
    sizes = series[0].sizes
    lines = [
        "| stage | " + " | ".join(f"{size:.3g} megapixels" for size in sizes) + " | exponent |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for one in series:
        cells = [f"{_seconds(cost.busy)} ({cost.memory:.0f})" for cost in one.costs]
        lines.append(f"| {one.title} | {' | '.join(cells)} | {one.slope():.2f} |")
    return lines


def _image_table(series: Series) -> list[str]:
    lines = [
        "| images | s | processor s | processor s an image | peak MiB |",
        "|---" * 5 + "|",
    ]
    for count, cost in zip(series.sizes, series.costs, strict=True):
        lines.append(
            f"| {count:.0f} | {_seconds(cost.seconds)} | {_seconds(cost.busy)} | "
            f"{_seconds(cost.busy / count)} | {cost.memory:.0f} |"
        )
    return lines


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _memory(contestant: TimedRun) -> str:
    return f"{contestant.memory:.0f}"


def write_scaling_plot(measured: PerformanceResults, path: Path) -> None:
    """Draw processor time against both sizes, on logarithmic axes, with a line of linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    # The legend goes down as the lines do at their end.
    for one in sorted(measured.pixels, key=lambda one: -one.costs[-1].busy):
        left.plot(one.sizes, [cost.busy for cost in one.costs], "o-", ms=4, label=one.title)
    sizes = measured.pixels[0].sizes
    middle = 0.3 * max(cost.busy for one in measured.pixels for cost in one.costs)
    linear = {"linestyle": ":", "color": _LINEAR, "label": "linear growth"}
    left.plot(sizes, [middle * size / sizes[-1] for size in sizes], **linear)
    left.set(xlabel="megapixels", ylabel="processor seconds", xscale="log", yscale="log")
    left.yaxis.set_major_formatter("{x:g}")
    left.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    counts = measured.images.sizes
    busy = [cost.busy for cost in measured.images.costs]
    right.plot(counts, [busy[0] * count / counts[0] for count in counts], **linear)
    right.plot(counts, busy, "o-", ms=4, color="tab:red")
    right.set(xlabel="images in a batch", xlim=0, ylim=0)
    for axes, ticks in ((left, sizes), (right, counts)):
        axes.set_xticks(ticks, [f"{tick:.0f}" if tick >= 1 else f"{tick:.2g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
