"""Measure voting weights on the IDRiD images they were not trained on, beside the top-hat.

Run ``python -m benchmarks.voting_idrid WEIGHTS``: the images are those that the weights' card names
as held back, or those of ``--split test``.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_fundus.backends.tophat import TopHat
from napari_fundus.backends.voting import Voting
from napari_fundus.checkpoints import read_card
from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.detector import Detector
from napari_fundus.devices import choose_device
from napari_fundus.evaluation import PixelCounts, bootstrap_interval

_RESAMPLES = 1000


class Figures:
    """What the images leave behind for a detector.

    Parameters
    ----------
    detector, options
        What is measured.
    device
        Where it computes.
    """

    def __init__(self, detector: Detector, options: dict[str, object], device: str) -> None:
        self.detector, self.options, self.device = detector, options, device
        self.pixels, self.coarse = PixelCounts(), PixelCounts(11)
        self.seconds: list[float] = []

    def add(self, sample: Sample) -> None:
        """Detect in one image, and count."""
        image = sample.image()
        found = self.detector.detect(image, self.options, device=self.device)
        truth = sample.mask("MA", image.shape)
        probability = found.probability["MA"]
        for counts in (self.pixels, self.coarse):
            counts.add(probability, truth)
        self.seconds.append(found.provenance.seconds)

    def row(self) -> str:
        """Return the line of the table."""
        count = len(self.pixels)
        area = bootstrap_interval(
            lambda weights: self.pixels.curve(weights).aupr, count, resamples=_RESAMPLES
        )
        return (
            f"| {self.detector.name} | {area} | {self.coarse.curve().aupr:.3f} | "
            f"{np.median(self.seconds):.1f} s |"
        )


def main() -> None:
    """Run over the images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid"))
    parser.add_argument("--split", choices=["held-back", "test"], default="held-back")
    parser.add_argument("--stride", type=int, help="of the votes; default as the detector's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--without-tophat", action="store_true")
    parser.add_argument("-o", "--output", type=Path, help="write the page here too")
    arguments = parser.parse_args()
    samples = _samples(arguments.data, arguments.weights, arguments.split)
    options: dict[str, object] = {"checkpoint": str(arguments.weights)}
    if arguments.stride:
        options["stride"] = arguments.stride
    figures = [Figures(Voting(), options, choose_device(arguments.device).name)]
    if not arguments.without_tophat:
        figures.append(Figures(TopHat(), {}, "cpu"))
    for number, sample in enumerate(samples, start=1):
        for figure in figures:
            figure.add(sample)
        so_far = ", ".join(f"{f.detector.name} {f.pixels.curve().aupr:.4f}" for f in figures)
        print(f"{number} of {len(samples)} ({sample.id}): {so_far}", file=sys.stderr, flush=True)
    text = _page(arguments, samples, figures)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


def _samples(data: Path, weights: Path, split: str) -> list[Sample]:
    """Return the images to measure on, none of which the weights have seen."""
    card = read_card(weights)
    samples = open_dataset(data).select(annotated="MA")
    if split == "test":
        samples = [s for s in samples if s.split == "test"]
    else:
        samples = [s for s in samples if s.id in card.split.validation]
    if seen := [s.id for s in samples if s.id in card.split.train]:
        sys.exit(f"The weights were trained on {', '.join(seen)}.")
    if not samples:
        sys.exit(f"{data} has none of the images to measure on.")
    return samples


def _page(
    arguments: argparse.Namespace, samples: Sequence[Sample], figures: Sequence[Figures]
) -> str:
    card = read_card(arguments.weights)
    stride = arguments.stride or "the default: a quarter of the patch"
    lines = [
        f"# Microaneurysms: weights {card.name}, {card.content_sha256[:12]}",
        "",
        f"- IDRiD part A, {len(samples)} images ({arguments.split}): "
        f"{', '.join(s.id.rpartition('_')[2] for s in samples)}.",
        f"- Trained on {len(card.split.train)} images by `{card.command}`; stride {stride}.",
        "- AUPR: all pixels of these images pooled, full resolution, trapezoid.",
        f"- In brackets: bootstrap 95 % interval over images ({_RESAMPLES} resamples, seed 0).",
    ]
    if arguments.split == "held-back":
        lines.append(
            "- The best epoch was chosen on these same images, so the figures of the weights are a "
            "little too good."
        )
    lines += [
        "",
        "| detector | AUPR, 33 thresholds | 11 thresholds | median time |",
        "|---|---|---|---|",
        *(figure.row() for figure in figures),
        "",
        f"Times on {figures[0].device} ({platform.machine()}).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
