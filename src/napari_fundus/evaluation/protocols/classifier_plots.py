"""Pictures of a classifier: ROC, confusion of grades, reliability, where its heat map points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.evaluation.protocols.figure_layout import (
    COLOURS,
    DASHES,
    FAINT,
    GRID,
    INK,
    make_panels,
)
from napari_fundus.lesions import describe
from napari_fundus.metrics.bootstrap import Interval, resampled_weights
from napari_fundus.metrics.calibration import ReliabilityCurve
from napari_fundus.metrics.classification import (
    PUBLISHED_SENSITIVITY,
    PUBLISHED_SPECIFICITY,
    BinaryScores,
)
from napari_fundus.metrics.confusion import ConfusionMatrix
from napari_fundus.metrics.localization import PUBLISHED_LOCALIZATION, MatchRule, WeakLocalization

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _RED = COLOURS[:2]
_RULES: tuple[tuple[MatchRule, str, Any, str], ...] = (
    ("strict", _BLUE, "-", "half of a lesion covered"),
    ("loose", _RED, (0, (5, 1.5)), "one pixel covered"),
)


def plot_roc(
    scores: BinaryScores,
    *,
    threshold: float = 0.5,
    title: str = "Referable retinopathy",
    auc: Interval | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """Return sensitivity over 1 - specificity, its interval, and the operating points.

    Parameters
    ----------
    scores
        Of the images.
    threshold
        Whose point is marked.
    title
        What is distinguished.
    auc
        With its interval, if it is known already.
    resamples, seed
        Of the bootstrap.
    """
    curve, band = scores.roc(), scores.band(resamples=resamples, seed=seed)
    area = auc or scores.interval(lambda w: scores.roc(w).auc, resamples=resamples, seed=seed)
    figure, (axes,) = make_panels(1, 1, width=5.2, height=5.2)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.fill_between(
        1 - band.specificity, band.low, band.high, color=_BLUE, alpha=0.16, linewidth=0,
        label="95 % interval over images",
    )  # fmt: skip
    axes.step(
        1 - curve.specificity, curve.sensitivity, where="post", color=_BLUE, linewidth=1.9,
        label=f"AUC {area}",
    )  # fmt: skip
    table = scores.confusion(threshold)
    axes.plot(
        1 - table.specificity, table.sensitivity, "o", color=_RED, markersize=9,
        markeredgecolor="white", zorder=5,
        label=f"threshold {threshold:g}: {table.sensitivity:.1%} / {table.specificity:.1%}",
    )  # fmt: skip
    axes.plot(
        1 - PUBLISHED_SPECIFICITY, PUBLISHED_SENSITIVITY, "D", color=FAINT, markersize=7,
        markerfacecolor="none", mew=1.4, zorder=4,
        label=f"published, DIARETDB1: {PUBLISHED_SENSITIVITY:.1%} / {PUBLISHED_SPECIFICITY:.1%}",
    )  # fmt: skip
    axes.set(
        xlim=(-0.01, 1), ylim=(0, 1.01), xlabel="1 - specificity", ylabel="sensitivity",
        aspect="equal",
    )  # fmt: skip
    yes = int(scores.truth.sum())
    axes.set_title(f"{title}: {yes} of {len(scores)} images", fontsize=10.5, color=INK)
    axes.legend(
        loc="lower right", fontsize=8, edgecolor=GRID, title="sensitivity / specificity",
        title_fontsize=8,
    )  # fmt: skip
    return figure


def plot_confusion(
    confusion: ConfusionMatrix, *, names: Sequence[str] | None = None, title: str = "Grades"
) -> Figure:
    """Return the table of true and given classes, shaded by the share of each true class.

    Parameters
    ----------
    confusion
        Counts of images.
    names
        Of the classes; their numbers by default.
    title
        What is distinguished.
    """
    counts = confusion.counts
    labels = list(names) if names is not None else [str(k) for k in range(len(counts))]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.9 + 0.72 * len(counts)
    figure, (axes,) = make_panels(1, 1, width=side, height=side)
    axes.grid(visible=False)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, col), count in np.ndenumerate(counts):
        axes.text(
            col, row, f"{count}\n{share[row, col]:.0%}" if count else "·", ha="center", va="center",
            fontsize=9, color="white" if share[row, col] > 0.55 else INK,
        )  # fmt: skip
    indices = range(len(labels))
    axes.set_xticks(indices, labels)
    axes.set_yticks(
        indices, [f"{n} ({k})" for n, k in zip(labels, counts.sum(axis=1), strict=True)]
    )
    axes.set(xlabel="given", ylabel="true (images)")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(
        f"{title}: accuracy {confusion.accuracy:.3f}, kappa {confusion.kappa():.3f}",
        fontsize=10, color=INK,
    )  # fmt: skip
    return figure


def plot_reliability(
    curves: Mapping[str, ReliabilityCurve], *, title: str = "Referable retinopathy"
) -> Figure:
    """Return what came true over what was said, and how many images were said what.

    Parameters
    ----------
    curves
        What each stands for, e.g. before and after temperature scaling; at most four.
    title
        What is distinguished.
    """
    figure, (axes, below) = make_panels(2, 1, width=5.2, height=6.2, ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (1, 2)), label="as said")
    marks, dashes = "osD^", DASHES
    for number, (name, curve) in enumerate(curves.items()):
        colour, filled = COLOURS[number], curve.counts > 0
        # The area of a mark shows how many images it is made of.
        size = 16 + 170 * curve.counts[filled] / curve.counts.max()
        x, y = curve.predicted[filled], curve.observed[filled]
        axes.plot(x, y, color=colour, linewidth=1.3, linestyle=dashes[number], alpha=0.8)
        axes.scatter(
            x, y, s=size, color=colour, marker=marks[number], alpha=0.85, edgecolors="white",
            label=f"{name}: calibration error {curve.error:.3f}", zorder=4 + number,
        )  # fmt: skip
        below.stairs(
            curve.counts, curve.edges, color=colour, linewidth=1.5, linestyle=dashes[number]
        )
    images = int(next(iter(curves.values())).counts.sum())
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="share of the images where it is true")
    axes.set_title(f"{title}: {images} images", fontsize=10.5, color=INK)
    legend = axes.legend(loc="best", fontsize=8, edgecolor=GRID)
    for handle in legend.legend_handles[1:]:
        if handle is not None:
            handle.set(sizes=[40])
    below.set(xlim=(-0.03, 1.03), xlabel="probability said", ylabel="images")
    return figure


def plot_localization(
    localization: WeakLocalization,
    *,
    lesions: Sequence[str] | None = None,
    title: str = "Where the heat map points",
    resamples: int = 200,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> Figure:
    """Return the free-response curves of each class over the thresholds of the map.

    Parameters
    ----------
    localization
        The counts.
    lesions
        Classes to show, of those that occur; all by default.
    title
        Stands above all.
    resamples, seed
        Of the bootstrap, for the interval of sensitivity at each threshold.
    groups
        One an image; those of one group are drawn together.
    """
    asked = localization.lesions if lesions is None else lesions
    classes = [c for c in asked if localization.counts(c).lesions]
    count = max(len(classes), 1)
    columns, rows = min(count, 2), -(-count // 2)
    size = (4.7, 4.1) if count == 1 else (4.7 * columns, 4.1 * rows + 0.6)
    figure, panels = make_panels(count, columns, width=size[0], height=size[1])
    drawn = resampled_weights(len(localization), resamples=resamples, seed=seed, groups=groups)
    for axes, code in zip(panels, classes, strict=False):
        counts = localization.counts(code)
        for rule, colour, dash, what in _RULES:
            curve, whole = (localization.curve(code, rule=rule, whole=w) for w in (False, True))

            def sensitivity(w: Any, code: str = code, rule: MatchRule = rule) -> Any:
                return localization.curve(code, rule=rule, weights=w, whole=True).sensitivity

            low, high = _percentile_band(sensitivity, drawn)
            end = len(curve.fpi)
            axes.fill_between(
                curve.fpi, low[:end], high[:end], color=colour, alpha=0.14, linewidth=0
            )
            axes.plot(
                curve.fpi, curve.sensitivity, color=colour, linestyle=dash, linewidth=1.8,
                label=f"{what}: {counts.sensitivity(rule):.0%}",
            )  # fmt: skip
            beyond = slice(end - 1, None)
            axes.plot(
                whole.fpi[beyond], whole.sensitivity[beyond], color=colour, linewidth=1, alpha=0.35
            )
            axes.plot(
                counts.fpi, counts.sensitivity(rule), "o", color=colour, markersize=8,
                markeredgecolor="white", zorder=5,
            )  # fmt: skip
        published = PUBLISHED_LOCALIZATION.get(code)
        if published is not None:
            axes.plot(
                published.fpi, published.sensitivity, "D", color=FAINT, markersize=7,
                markerfacecolor="none", mew=1.4, zorder=4,
                label=f"published, half covered: {published.sensitivity:.0%}",
            )  # fmt: skip
        axes.set_xlim(left=0)
        axes.set(ylim=(0, 1.01), xlabel="false regions an image")
        axes.set_ylabel("share of lesions found")
        name = f"{code}: {describe(code).plural}" if describe(code).plural != code else code
        axes.set_title(f"{name} ({counts.lesions:,})", fontsize=10, color=INK)
        axes.legend(loc="best", fontsize=7.5, edgecolor=GRID, framealpha=0.9)
    figure.suptitle(f"{title}: {len(localization)} images", fontsize=11, color=INK)
    figure.supxlabel(
        f"Dots: threshold {localization.threshold:g}. Faint: where regions merge. Diamond: "
        "other images, DIARETDB1 (Gondal et al. 2017). Shaded: 95 % interval over images.",
        fontsize=7.5, color=FAINT,
    )  # fmt: skip
    return figure


def _percentile_band(statistic: Callable[[Any], Any], drawn: Any) -> tuple[Any, Any]:
    rows = np.array([statistic(weights) for weights in drawn])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if not len(rows):
        return (np.full(len(statistic(drawn[0])), np.nan),) * 2
    low, high = np.percentile(rows, [2.5, 97.5], axis=0)
    return low, high
