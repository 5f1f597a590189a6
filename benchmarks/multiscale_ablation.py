"""The multi-scale paper's ablation: each scale, both fused, and both refined, on held-back images.

Run ``python -m benchmarks.multiscale_ablation [WEIGHTS] --data IDRID``: the images are those that
the weights' card names as held back, each read once, and each network run once over it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.multiscale import Multiscale, MultiscaleOptions
from napari_fundus.backends.multiscale.detector import StagePipeline
from napari_fundus.backends.multiscale.options import DEFAULT_CHECKPOINT
from napari_fundus.backends.multiscale.stages import Stage, checkpoint_stages
from napari_fundus.checkpoints import load_checkpoint
from napari_fundus.datasets import open_dataset
from napari_fundus.evaluation import Candidate, select_samples
from napari_fundus.inference.fuse_maps import FusionMean
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.lesions import Lesion
from napari_fundus.metrics import Interval, PixelHistogram, bootstrap_intervals
from napari_fundus.runtime.devices import Device, choose_device
from napari_fundus.runtime.progress import Monitor

_RESAMPLES = 1000


@dataclass(frozen=True)
class AblationRow:
    """A line of the table.

    Attributes
    ----------
    title
        As in the paper.
    published
        AUPR there, on IDRiD's testing part; None for what is not in the paper.
    stage, mean
        What makes the map; a stage of None is the fusion of both hypotheses.
    trust
        Weight of the refiner's answer; the paper's is 1, None is that of the options.
    """

    title: str
    published: float | None
    stage: Stage | None
    mean: FusionMean = "arithmetic"
    trust: float | None = 1


ROWS = (
    AblationRow("HGN 1×", 0.3374, "fine"),
    AblationRow("HGN 0.5×", 0.3411, "coarse"),
    AblationRow("HGN geometric", 0.3622, None, "geometric"),
    AblationRow("HGN arithmetic", 0.3701, None, "arithmetic"),
    AblationRow("cls geometric", 0.3895, "classify", "geometric"),
    AblationRow("cls arithmetic", 0.3905, "classify", "arithmetic"),
    AblationRow("PRN arithmetic", 0.3978, "refine", "arithmetic"),
    AblationRow("PRN geometric", 0.4196, "refine", "geometric"),
    AblationRow("cls geometric, weighed", None, "classify", "geometric", None),
    AblationRow("PRN arithmetic, weighed", None, "refine", "arithmetic", None),
    AblationRow("PRN geometric, weighed", None, "refine", "geometric", None),
)
"""Sarhan et al. 2019, arXiv:1904.12732, Table 2; and hypothesis and refiner weighed together."""


def main() -> None:
    """Run over the images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid"))
    parser.add_argument("--suspect", type=float, default=None, help="bound for the refiner")
    parser.add_argument("--stride", type=int, default=None, help="of the refiner, px")
    parser.add_argument("--threshold", type=float, default=None, help="for F1; else the best F1's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--every", type=int, default=1, help="only each n-th image, for a try")
    arguments = parser.parse_args()
    given = {"suspect": arguments.suspect, "stride": arguments.stride}
    options = MultiscaleOptions(
        checkpoint=arguments.weights, **{k: v for k, v in given.items() if v is not None}
    )
    candidate = Candidate.of(Multiscale(), options.model_dump())
    dataset = open_dataset(arguments.data)
    chosen = select_samples(dataset, [candidate], split="held-back", graded=False)
    samples = [s for s in chosen.samples if Lesion.MA in s.annotated][:: arguments.every]
    device = choose_device(arguments.device, supported=Multiscale.devices)
    present = set(checkpoint_stages(load_checkpoint(options.checkpoint, detector="multiscale")))
    weights = LoadedWeights(load_checkpoint(options.checkpoint), device.name)
    rows = [row for row in ROWS if required_stages(row) <= present]
    counts = {row.title: PixelHistogram() for row in rows}
    for number, sample in enumerate(samples, start=1):
        print(f"\r{number} of {len(samples)}: {sample.id}", end="", file=sys.stderr, flush=True)
        image = sample.image()
        truth = sample.mask(Lesion.MA, image.shape)
        work = StagePipeline(image, weights, options, device)
        for title, found in _maps(work, rows):
            counts[title].add(found, truth)
    print(file=sys.stderr)
    print(_head(options, len(samples), candidate, device))
    print("| | AUPR | F1 | precision | recall | threshold | paper's AUPR |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(_line(row, counts[row.title], [s.group for s in samples], arguments.threshold))


def required_stages(row: AblationRow) -> set[Stage]:
    """Return the stages that a row's map is made of."""
    if row.stage in ("fine", "coarse"):
        return {row.stage}
    both: set[Stage] = {"fine", "coarse"}
    return both | {row.stage} if row.stage else both


def _maps(
    work: StagePipeline, rows: list[AblationRow]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for row in rows:
        if row.stage is None:
            found = work.fused(row.mean, Monitor())
        elif row.stage in ("fine", "coarse"):
            found = work.hypothesis(row.stage, Monitor())
        else:
            found = work.refined(row.stage, row.mean, Monitor(), trust=row.trust)
        yield row.title, work.to_original(found)


def _head(options: MultiscaleOptions, images: int, candidate: Candidate, device: Device) -> str:
    digest = candidate.card.content_sha256[:12] if candidate.card else ""
    return (
        f"Weights {options.checkpoint} ({digest}), refined above {options.suspect:g} at stride "
        f"{options.stride}, weighed with a trust of {options.trust:g}, {device.title}. "
        f"{images} images that the card names as held back, at "
        "full resolution; all pixels pooled, 33 thresholds; F1, precision and recall at the "
        "threshold of the best F1 unless one is given. In brackets: bootstrap 95 % interval over "
        f"images ({_RESAMPLES} resamples, seed 0). The paper: IDRiD's testing part.\n"
    )


def _line(
    row: AblationRow, counts: PixelHistogram, groups: list[str | None], given: float | None
) -> str:
    whole = counts.curve()
    place = (
        int(np.argmin(np.abs(whole.thresholds - given)))
        if given is not None
        else int(np.nanargmax(whole.f1))
    )

    def metrics(weights: npt.NDArray[np.int64]) -> Mapping[str, float]:
        curve = counts.curve(weights=weights)
        return {
            "aupr": curve.aupr,
            "f1": float(curve.f1[place]),
            "precision": float(curve.precision[place]),
            "recall": float(curve.recall[place]),
        }

    found = bootstrap_intervals(metrics, len(counts), resamples=_RESAMPLES, groups=groups)
    cells = " | ".join(_cell(found[name]) for name in ("aupr", "f1", "precision", "recall"))
    published = "–" if row.published is None else f"{row.published:.4f}".removeprefix("0")
    return f"| {row.title} | {cells} | {whole.thresholds[place]:.3f} | {published} |"


def _cell(value: Interval) -> str:
    return str(value)


if __name__ == "__main__":
    main()
