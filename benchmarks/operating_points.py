"""What a threshold means: hits on the held-back images, and finds in eyes without retinopathy.

Run ``python -m benchmarks.operating_points [DETECTOR[@WEIGHTS]] --data FOLDER``: the folder holds
``idrid`` and ``idrid_healthy_fullres``. The images with lesions are those that the weights' card
names as held back; the healthy ones may have been trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.idrid_images import healthy_samples
from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.evaluation import Candidate, select_samples
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.metrics import LesionCounts, PixelOverlap, lesion_counts, pixel_overlap
from napari_fundus.plugins import get_detector

Float = npt.NDArray[np.float32]

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass
class ThresholdCounts:
    """What a class comes to at a threshold."""

    pixels: list[PixelOverlap] = field(default_factory=list)
    lesions: list[LesionCounts] = field(default_factory=list)
    in_healthy: list[int] = field(default_factory=list)


def main() -> None:
    """Run over the images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", nargs="?", default=DEFAULT_DETECTOR)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--healthy", type=int, default=20, help="number of them, evenly spread")
    chosen = parser.parse_args()
    name, _, weights = chosen.detector.partition("@")
    detector = get_detector(name)
    options = {"checkpoint": weights} if weights else {}
    sick = select_samples(
        open_dataset(chosen.data / "idrid"),
        [Candidate.of(detector, options)],
        split="held-back",
        graded=False,
    ).samples
    known = healthy_samples(chosen.data)
    healthy = known[:: max(len(known) // chosen.healthy, 1)][: chosen.healthy]
    points: defaultdict[tuple[str, float], ThresholdCounts] = defaultdict(ThresholdCounts)
    for number, sample in enumerate([*sick, *healthy], start=1):
        told = f"\r{number} of {len(sick) + len(healthy)}"
        print(told, end="", file=sys.stderr, flush=True)
        _add(points, sample, detector.detect(sample.image(), options).probability)
    print(file=sys.stderr)
    print(
        f"Detector {chosen.detector}: pixels and lesions pooled over {len(sick)} held-back images "
        f"(a lesion is found where a pixel of it is); median number found in {len(healthy)} images "
        "without retinopathy.\n"
    )
    print("| | threshold | Dice | sensitivity | precision | F1 | in a healthy eye |")
    print("|---" * 7 + "|")
    for (code, threshold), point in sorted(points.items(), key=_order):
        lesions = reduce(add, point.lesions)
        metrics = (
            reduce(add, point.pixels).dice,
            lesions.sensitivity,
            lesions.precision,
            lesions.f1,
        )
        told = " | ".join(f"{figure:.3f}".lstrip("0") for figure in metrics)
        print(f"| {code} | {threshold:g} | {told} | {np.median(point.in_healthy):g} |")


def _add(
    points: defaultdict[tuple[str, float], ThresholdCounts],
    sample: Sample,
    maps: Mapping[str, Float],
) -> None:
    """Count what an image's maps come to at all thresholds."""
    for code in sorted(sample.annotated & set(DR_LESIONS) & set(maps)):
        truth = sample.mask(code, maps[code].shape) > 0
        for threshold in THRESHOLDS:
            point, found = points[code, threshold], maps[code] >= threshold
            counts = lesion_counts(found, truth)
            if sample.truths:
                point.pixels.append(pixel_overlap(found, truth))
                point.lesions.append(counts)
            else:
                point.in_healthy.append(counts.detections)


def _order(item: tuple[tuple[str, float], ThresholdCounts]) -> tuple[int, float]:
    code, threshold = item[0]
    return [str(lesion) for lesion in DR_LESIONS].index(code), threshold


if __name__ == "__main__":
    main()
