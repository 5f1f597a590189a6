"""Measure the top-hat detector on IDRiD: the floor that every trained method must beat.

Run ``python -m benchmarks.tophat_idrid`` (about ten minutes on two cores); it writes
``docs/tophat-figures.md``.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.idrid_images import healthy_samples, lesion_samples
from napari_fundus import __version__
from napari_fundus.backends.tophat import TopHat
from napari_fundus.datasets import Sample
from napari_fundus.evaluation import (
    CPM_POINTS,
    Froc,
    LesionCounts,
    PixelCounts,
    bootstrap_interval,
    lesion_counts,
)

_RESAMPLES = 1000


@dataclass
class Counts:
    """What one image, or many, leave behind for a class."""

    pixels: PixelCounts = field(default_factory=PixelCounts)
    froc: Froc = field(default_factory=Froc)
    default: LesionCounts = field(default_factory=lambda: LesionCounts(0, 0, 0, 0))

    def extend(self, other: Counts) -> None:
        """Add the images of `other`."""
        self.pixels.extend(other.pixels)
        self.froc.extend(other.froc)
        self.default += other.default


def main() -> None:
    """Run over all images and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/tophat-figures.md"))
    parser.add_argument("--every", type=int, default=1, help="only each n-th image")
    arguments = parser.parse_args()
    annotated = lesion_samples(arguments.data)[:: arguments.every]
    healthy = healthy_samples(arguments.data)[:: arguments.every]
    totals = {lesion: Counts() for lesion in TopHat.lesions}
    seconds: list[float] = []
    memory = 0.0
    samples = annotated + healthy
    with ProcessPoolExecutor(2) as pool:
        for number, (counts, taken, peak) in enumerate(pool.map(_measure, samples), start=1):
            for lesion, count in counts.items():
                totals[lesion].extend(count)
            seconds.append(taken)
            memory = max(memory, peak)
            print(f"\r{number} of {len(samples)} images", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    text = _page(totals, len(annotated), len(healthy), seconds, memory)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


def _measure(sample: Sample) -> tuple[dict[str, Counts], float, float]:
    """Return the counts of one image, the seconds of its detection, and the peak memory in GB."""
    cv2.setNumThreads(1)
    image = sample.image()
    result = TopHat().detect(image)
    found: dict[str, Counts] = {}
    for lesion, probability in result.probability.items():
        truth = sample.mask(lesion, image.shape)
        counts = Counts(default=lesion_counts(result.labels[lesion], truth))
        # Healthy images count in FPI; the challenge's AUPR pools the annotated ones alone.
        if sample.truths:
            counts.pixels.add(probability, truth)
        counts.froc.add(probability, truth)
        found[lesion] = counts
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return found, result.provenance.seconds, peak


def _aupr_of(pixels: PixelCounts) -> Callable[[npt.NDArray[np.int64]], float]:
    return lambda weights: pixels.curve(weights).aupr


def _cpm_of(froc: Froc) -> Callable[[npt.NDArray[np.int64]], float]:
    return lambda weights: froc.curve(weights).cpm


def _page(
    totals: dict[str, Counts],
    annotated: int,
    healthy: int,
    seconds: Sequence[float],
    memory: float,
) -> str:
    points = [f"{point:g}" if point >= 1 else f"1/{round(1 / point)}" for point in CPM_POINTS]
    lines = [
        "# Top-hat: measured figures",
        "",
        "Written by `python -m benchmarks.tophat_idrid`; do not edit.",
        "",
        f"- Detector `tophat`, version {TopHat.version}, default options; napari-fundus "
        f"{__version__}.",
        f"- Data: IDRiD part A, training part, {annotated} images of 4288×2848 px; and {healthy} "
        "images of part B with grade 0, which count in FPI with no lesion.",
        "- Sizes and the scale of scores were chosen on these same images: these are not figures "
        "of unseen data.",
        "- AUPR: the IDRiD challenge's protocol; all pixels of the annotated images pooled, 33 "
        "thresholds, trapezoid, full resolution.",
        "- FROC: 8-connected components, a lesion is hit by one pixel, false positives over all "
        "images, every threshold; CPM is the mean sensitivity at the points of the table.",
        f"- In brackets: bootstrap 95 % interval over images ({_RESAMPLES} resamples, seed 0).",
        "",
        "| class | images with it | lesions | AUPR | CPM |",
        "|---|---|---|---|---|",
    ]
    remarks: list[str] = []
    for lesion, total in totals.items():
        froc, pixels = total.froc, total.pixels
        area = bootstrap_interval(_aupr_of(pixels), len(pixels), resamples=_RESAMPLES)
        cpm = bootstrap_interval(_cpm_of(froc), len(froc), resamples=_RESAMPLES)
        summary = froc.curve().summary()
        remarks += [f"- {lesion}, {remark}." for remark in summary.remarks]
        lines.append(
            f"| {lesion} | {froc.images_with_lesions} | {summary.lesions} | {area} | {cpm} |"
        )
    lines += [
        "",
        "Sensitivity at false positives an image:",
        "",
        f"| class | {' | '.join(points)} |",
        "|---" * (len(points) + 1) + "|",
    ]
    for lesion, total in totals.items():
        cells = [f"{point.sensitivity:.3f}" for point in total.froc.curve().summary().points]
        lines.append(f"| {lesion} | {' | '.join(cells)} |")
    lines += [*([""] if remarks else []), *remarks]
    lines += [
        "",
        "At the default threshold, 0.5:",
        "",
        "| class | lesions found | sensitivity | precision | false positives an image |",
        "|---|---|---|---|---|",
    ]
    for lesion, total in totals.items():
        counts = total.default
        lines.append(
            f"| {lesion} | {counts.found} of {counts.lesions} | {counts.sensitivity:.3f} | "
            f"{counts.precision:.3f} | {counts.false_positives / len(total.froc):.1f} |"
        )
    lines += [
        "",
        f"Detection took {np.median(seconds):.1f} s an image (median; slowest "
        f"{max(seconds):.1f} s) with one thread each in two processes side by side; peak memory "
        f"of a process, evaluation included, {memory:.2f} GB ({platform.machine()}, Python "
        f"{platform.python_version()}, OpenCV {cv2.__version__}).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
