"""Rank the top-hat's contrasts among the pixels of IDRiD's training images: its table of scores.

Run ``python -m benchmarks.tophat_calibration`` and put what it prints into
``napari_fundus/backends/tophat/score.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.idrid_images import healthy_samples, lesion_samples
from napari_fundus.backends.tophat import TopHatOptions
from napari_fundus.backends.tophat.detector import contrasts
from napari_fundus.backends.tophat.score import HEALTHY_DETECTIONS, LARGEST_SHARE, LEAST_SHARE
from napari_fundus.datasets import Sample
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.runtime.progress import Monitor

_EDGES = np.concatenate([np.linspace(0, 4, 4001)[:-1], np.geomspace(4, 400, 2001)])
_KNOTS = 9
_SHARES = np.exp2(-np.arange(5 * 8, 15 * 8) / 8)

T = TypeVar("T")


def main() -> None:
    """Print the knots of each class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    pixels: dict[str, npt.NDArray[np.int64]] = {}
    detections: dict[str, list[npt.NDArray[np.int64]]] = {}
    with ProcessPoolExecutor(2) as pool:
        for counts in _progress(pool.map(_pixels, lesion_samples(arguments.data))):
            for lesion, count in counts.items():
                pixels[lesion] = pixels.get(lesion, np.zeros_like(count)) + count
        levels = {lesion: _contrast_at(_SHARES, count) for lesion, count in pixels.items()}
        jobs = ((sample, levels) for sample in healthy_samples(arguments.data))
        for counts in _progress(pool.map(_healthy, jobs)):
            for lesion, count in counts.items():
                detections.setdefault(lesion, []).append(count)
    for lesion, count in pixels.items():
        median = np.median(np.stack(detections[lesion]), axis=0)
        middle = float(_SHARES[np.flatnonzero(median > HEALTHY_DETECTIONS)[-1] + 1])
        below = np.geomspace(LARGEST_SHARE[lesion], middle, _KNOTS)
        above = np.geomspace(middle, LEAST_SHARE, _KNOTS)[1:]
        knots = _contrast_at(np.concatenate([below, above]), count)
        print(f"{lesion}: half at a share of {middle:.2e}")
        print(f"    {lesion!r}: ({', '.join(f'{knot:.3f}' for knot in knots)}),")


def _contrast_at(
    shares: npt.NDArray[np.float64], count: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the contrasts that such shares of all pixels reach or exceed."""
    at_or_above = np.cumsum(count[::-1])[::-1] / count.sum()
    found: npt.NDArray[np.float64] = np.interp(
        -shares, -at_or_above, np.concatenate([[0.0], _EDGES])
    )
    return found


def _found(sample: Sample) -> tuple[npt.NDArray[np.bool_], dict[str, npt.NDArray[np.float32]]]:
    cv2.setNumThreads(1)
    image = sample.image()
    inside = find_field_of_view(image)
    box, found = contrasts(image, inside, TopHatOptions(), monitor=Monitor())
    shape = next(iter(found.values())).shape
    return cv2.resize(inside[box].view(np.uint8), shape[::-1]) > 0, found


def _pixels(sample: Sample) -> dict[str, npt.NDArray[np.int64]]:
    inside, found = _found(sample)
    return {
        str(lesion): np.bincount(
            np.searchsorted(_EDGES, contrast[inside], side="right"), minlength=len(_EDGES) + 1
        )
        for lesion, contrast in found.items()
    }


def _healthy(
    job: tuple[Sample, dict[str, npt.NDArray[np.float64]]],
) -> dict[str, npt.NDArray[np.int64]]:
    sample, levels = job
    _, found = _found(sample)
    return {
        str(lesion): np.array(
            [
                cv2.connectedComponents((contrast >= value).view(np.uint8), connectivity=8)[0] - 1
                for value in levels[str(lesion)]
            ]
        )
        for lesion, contrast in found.items()
    }


def _progress(items: Iterator[T]) -> Iterator[T]:
    for number, item in enumerate(items, start=1):
        print(f"\r{number} images", end="", flush=True)
        yield item
    print()


if __name__ == "__main__":
    main()
