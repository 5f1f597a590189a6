"""Figures of one run of the fine-tuning benchmark, and their means over folds and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from napari_fundus.backends.voting import Voting
from napari_fundus.datasets import Sample
from napari_fundus.metrics import Froc, PixelHistogram
from napari_fundus.metrics.bootstrap import resampled_weights

__all__ = ["METRICS", "RunResult", "TestMetrics", "measure", "table"]

RESAMPLES = 500
METRICS = ("dice", "best_dice", "cpm", "aupr")

ImageWeights = npt.NDArray[np.int64]


class TestMetrics(BaseModel):
    """Figures of some weights on some images.

    Attributes
    ----------
    figures
        Metric to figure.
    resamples
        Metric to its figures on images drawn with replacement.
    remarks
        Points that the FROC curve does not reach.
    """

    model_config = ConfigDict(frozen=True)

    metrics: dict[str, float]
    resamples: dict[str, list[float]]
    remarks: list[str]


class RunResult(BaseModel):
    """What a run leaves behind; written as JSON, so that it need not be made again.

    Attributes
    ----------
    scheme, fold, seed
        Which run it is; ``fold`` from 1.
    train, validation, test
        Ids of the images.
    share
        Of the weights that were trained, 0 to 1.
    seconds, best_epoch
        Of the fine-tuning, validation included; the epoch from 1, 0 where nothing was trained.
    measured
        On the test images; the draws of a fold are the same in all its runs.
    """

    model_config = ConfigDict(frozen=True)

    scheme: str
    fold: int
    seed: int
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    share: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    measured: TestMetrics


def measure(
    weights: Path, samples: Sequence[Sample], *, stride: int, device: str, fold: int
) -> TestMetrics:
    """Measure the detector with `weights` on `samples`.

    Parameters
    ----------
    weights
        File of the weights.
    samples
        Images to test on.
    stride
        Distance of the votes at the working scale, px.
    device
        Where to compute.
    fold
        Seeds the resampling.
    """
    detector, options = Voting(), {"checkpoint": str(weights), "stride": stride}
    pixels, froc = PixelHistogram(), Froc()
    for sample in samples:
        image = sample.image()
        truth = sample.mask("MA", image.shape)
        found = detector.detect(image, options, device=device).probability["MA"]
        pixels.add(found, truth)
        froc.add(found, truth)

    def metrics(drawn: ImageWeights | None = None) -> dict[str, float]:
        curve = pixels.curve(weights=drawn)
        half = int(np.argmin(np.abs(curve.thresholds - 0.5)))
        return {
            "dice": float(curve.f1[half]),
            "best_dice": float(np.max(curve.f1)),
            "cpm": froc.curve(drawn).cpm,
            "aupr": curve.aupr,
        }

    drawn = resampled_weights(len(samples), resamples=RESAMPLES, seed=fold)
    rows = [metrics(counts) for counts in drawn]
    resamples = {name: [row[name] for row in rows] for name in METRICS}
    return TestMetrics(
        metrics=metrics(), resamples=resamples, remarks=list(froc.curve().summary().remarks)
    )


def interval(outcomes: Sequence[RunResult], metric: str) -> tuple[float, float, float]:
    """Return the mean of a metric over runs, and its 95 % bootstrap interval over images.

    Images are drawn within each fold; all runs on a fold see the same draws.
    """
    mean = float(np.mean([outcome.measured.metrics[metric] for outcome in outcomes]))
    return mean, *np.percentile(_resampled(outcomes, metric), [2.5, 97.5]).tolist()


def difference(
    outcomes: Sequence[RunResult], others: Sequence[RunResult], metric: str
) -> tuple[float, float, float]:
    """Return by how much the mean exceeds that of `others` on the same folds, with interval."""
    mean = interval(outcomes, metric)[0] - interval(others, metric)[0]
    drawn = _resampled(outcomes, metric) - _resampled(others, metric)
    return mean, *np.percentile(drawn, [2.5, 97.5]).tolist()


def _resampled(outcomes: Sequence[RunResult], metric: str) -> npt.NDArray[np.float64]:
    """Return the mean over runs in each of the draws, shape (RESAMPLES,)."""
    rows = np.array([outcome.measured.resamples[metric] for outcome in outcomes], np.float64)
    mean: npt.NDArray[np.float64] = rows.mean(axis=0)
    return mean


def table(
    rows: Iterable[tuple[str, Sequence[RunResult]]], reference: Sequence[RunResult]
) -> list[str]:
    """Return the lines of a Markdown table, one row a scheme.

    Parameters
    ----------
    rows
        Name of each row, and its runs: all folds and seeds.
    reference
        Runs of the weights as they are; the column of differences refers to them.
    """
    lines = [
        "| scheme | trained weights | Dice at .5 | best Dice | CPM | CPM − none | AUPR | "
        "seconds | best epoch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in rows:
        cells = [_short(*interval(outcomes, metric)) for metric in METRICS]
        versus = "–"
        if outcomes[0].scheme not in ("none", "unchanged"):
            versus = _short(*difference(outcomes, reference, "cpm"), sign=True)
        trained = outcomes[0].share > 0
        seconds = f"{np.mean([o.seconds for o in outcomes]):.0f}" if trained else "–"
        epochs = ", ".join(str(o.best_epoch) for o in outcomes) if trained else "–"
        lines.append(
            f"| {name} | {outcomes[0].share:.2%} | {cells[0]} | {cells[1]} | {cells[2]} | {versus} "
            f"| {cells[3]} | {seconds} | {epochs} |"
        )
    return lines


def _short(mean: float, low: float, high: float, *, sign: bool = False) -> str:
    def number(value: float) -> str:
        text = f"{value:+.3f}" if sign else f"{value:.3f}"
        return text.replace("0.", ".", 1).replace("-", "−")

    return f"{number(mean)} ({number(low)} to {number(high)})"
