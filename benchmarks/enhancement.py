"""Time, memory and error of the enhancement beside scikit-image and OpenCV, on the sample image.

Run ``python -m benchmarks.enhancement [--sigma S] [--alpha A] [--beta B] [--repeats N]``. All three
blur over the field of view alone (normalized convolution) and end in the same formula; the error
is the greatest difference to :func:`napari_fundus.preprocessing.enhance_exact` in grey levels.
Memory is what Python, NumPy and OpenCV's results hold at the peak, beyond image and mask.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from napari_fundus.image import read_image
from napari_fundus.preprocessing import enhance, enhance_exact, find_field_of_view
from napari_fundus.samples import sample_image_path

__all__ = ["Measurement", "main", "measure"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measurement:
    """What one way of enhancing took, and how far it is from the exact result."""

    name: str
    seconds: float
    peak_megabytes: float
    greatest_difference: int


def with_skimage(
    pixels: Pixels, *, field_of_view: Mask, alpha: float, beta: float, gamma: float, sigma: float
) -> Pixels:
    """Enhance as one would with scikit-image: `skimage.filters.gaussian` in float64."""
    from skimage.filters import gaussian

    mask = field_of_view.astype(np.float64)
    blur = partial(gaussian, sigma=sigma, mode="constant", truncate=4, preserve_range=True)
    total = blur(pixels * mask[..., np.newaxis], channel_axis=-1)
    weight = np.maximum(blur(mask), 1e-6)
    return _mix(pixels, total / weight[..., np.newaxis], field_of_view, alpha, beta, gamma)


def with_opencv(
    pixels: Pixels, *, field_of_view: Mask, alpha: float, beta: float, gamma: float, sigma: float
) -> Pixels:
    """Enhance as one would with OpenCV: `cv2.GaussianBlur` of float32 at full size."""
    mask = field_of_view.astype(np.float32)
    blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=sigma, borderType=cv2.BORDER_CONSTANT)
    total = np.asarray(blur(pixels * mask[..., np.newaxis]))
    weight = np.maximum(np.asarray(blur(mask)), np.float32(1e-6))
    return _mix(pixels, total / weight[..., np.newaxis], field_of_view, alpha, beta, gamma)


def _mix(
    pixels: Pixels, mean: npt.NDArray[Any], mask: Mask, alpha: float, beta: float, gamma: float
) -> Pixels:
    mixed = np.clip(np.rint(alpha * pixels + beta * mean + gamma), 0, 255).astype(np.uint8)
    mixed[~mask] = 0
    return mixed


def measure(name: str, run: Callable[[], Pixels], exact: Pixels, *, repeats: int) -> Measurement:
    """Run once for memory and error, then `repeats` times for the median of the seconds."""
    tracemalloc.start()
    result = run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    difference = int(cv2.absdiff(result, exact).max())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return Measurement(name, statistics.median(times), peak / 2**20, difference)


def main() -> None:
    """Measure all three and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sigma", type=float, default=32.0)
    parser.add_argument("--alpha", type=float, default=4.0)
    parser.add_argument("--beta", type=float, default=-4.0)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    image = read_image(sample_image_path())
    pixels = image.rgb8
    weights = {"alpha": asked.alpha, "beta": asked.beta, "gamma": 128.0, "sigma": asked.sigma}
    fov = find_field_of_view(image)
    exact: Pixels = enhance_exact(pixels, field_of_view=fov, **weights)
    ways: dict[str, Callable[..., Pixels]] = {
        "napari-fundus": enhance,
        "OpenCV GaussianBlur, float32": with_opencv,
        "scikit-image gaussian": with_skimage,
    }
    rows = [
        measure(
            name, partial(way, pixels, field_of_view=fov, **weights), exact, repeats=asked.repeats
        )
        for name, way in ways.items()
    ]
    height, width = image.shape
    table = Table(
        "enhancement",
        "seconds",
        "ratio",
        "peak MB",
        "greatest difference",
        title=f"{width}×{height}×3 uint8, sigma {asked.sigma:g}, {os.cpu_count()} cores, "
        f"median of {asked.repeats}",
    )
    for row in rows:
        table.add_row(
            row.name,
            f"{row.seconds:.2f}",
            f"{row.seconds / rows[0].seconds:.1f}",
            f"{row.peak_megabytes:.0f}",
            str(row.greatest_difference),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
