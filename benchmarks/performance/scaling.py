"""How cost grows: with the pixels of an image, and with the number of images of a batch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.peers import TimedRun, time_interleaved
from benchmarks.performance.sample_image import THRESHOLD, BenchmarkImage, write_sample_image
from napari_fundus.batch import run_batch
from napari_fundus.export import export
from napari_fundus.image import read_image
from napari_fundus.preprocessing import enhance, find_field_of_view
from napari_fundus.runtime.devices import CPU

__all__ = ["Cost", "Series", "scaling_with_images", "scaling_with_pixels", "slope"]

_LONG = 3.0
"""Seconds after which a run is not repeated."""


@dataclass(frozen=True)
class Cost:
    """Of one run, the best of its repeats: seconds, processor seconds, and peak memory in MiB."""

    seconds: float
    busy: float
    memory: float


@dataclass(frozen=True)
class Series:
    """The cost of one thing at several sizes.

    Attributes
    ----------
    title
        What is done.
    sizes
        Megapixels or images.
    costs
        One a size.
    """

    title: str
    sizes: tuple[float, ...]
    costs: tuple[Cost, ...]

    def slope(self) -> float:
        """Return the exponent with which processor time grows from the second size on."""
        first = 1 if len(self.sizes) > 2 else 0
        return slope(self.sizes[first:], [cost.busy for cost in self.costs[first:]])


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent of growth, by least squares in logarithms: 1 is linear, 0 constant."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def scaling_with_pixels(
    megapixels: Sequence[float],
    folder: Path,
    *,
    detectors: Sequence[str],
    diameter: int,
    repeats: int,
) -> list[Series]:
    """Return what each stage costs on the sample photograph at several sizes.

    Parameters
    ----------
    megapixels
        The sizes.
    folder
        For files that are needed on the way.
    detectors
        Names: each is run from the photograph to the maps.
    diameter
        Working size of the top-hat detector, px.
    repeats
        Runs of each.
    """
    costs: dict[str, list[Cost]] = {}
    sizes: list[float] = []
    for wanted in megapixels:
        subject = BenchmarkImage(write_sample_image(folder, wanted), diameter)
        sizes.append(subject.image.pixels[..., 0].size / 1e6)
        runs = _stages(subject, folder / f"export-{wanted:g}")
        for name in detectors:
            options = {"working_diameter": diameter} if name == "tophat" else {}
            runs[f"{name}, whole"] = partial(subject.detect, name, **options)
        for title, run in runs.items():
            costs.setdefault(title, []).append(_cost(run, repeats))
    return [Series(title, tuple(sizes), tuple(found)) for title, found in costs.items()]


def scaling_with_images(
    counts: Sequence[int],
    folder: Path,
    *,
    megapixels: float,
    diameter: int,
    repeats: int,
) -> Series:
    """Return what a batch over so many copies of the sample costs, results written and all.

    Parameters
    ----------
    counts
        Numbers of images.
    folder
        For the images and the results.
    megapixels
        Of an image.
    diameter
        Working size of the top-hat detector, px.
    repeats
        Runs of each.
    """
    picture = write_sample_image(folder, megapixels)
    found = []
    for count in counts:
        source = folder / f"archive-{count}"
        source.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shutil.copyfile(picture, source / f"{number:04}.jpg")

        def run(source: Path = source) -> None:
            report = run_batch(
                [source],
                source.with_name(f"{source.name}-found"),
                detector="tophat",
                options={"working_diameter": diameter},
                device="cpu",
                overwrite=True,
            )
            assert not any(o.status == "failed" for o in report.outcomes)  # noqa: S101

        found.append(_cost(run, repeats))
    return Series("batch, tophat", tuple(map(float, counts)), tuple(found))


def _stages(subject: BenchmarkImage, folder: Path) -> dict[str, Callable[[], object]]:
    image, inside, found = subject.image, subject.inside, subject.found
    sigma = 32 / 4288 * image.shape[1]
    return {
        "reading": lambda: read_image(subject.path),
        "field of view": lambda: find_field_of_view(image),
        "enhancement": lambda: enhance(
            image.rgb8, field_of_view=inside, alpha=4, beta=-4, gamma=128, sigma=sigma
        ),
        "labels and table": lambda: found.threshold(THRESHOLD).instances,
        "export": lambda: export(found, folder, "eye", image=image, overwrite=True),
    }


def _cost(run: Callable[[], object], repeats: int) -> Cost:
    def quietly() -> None:
        run()

    contestant = TimedRun("", quietly)
    time_interleaved([contestant], CPU, repeats, patience=_LONG)
    return Cost(min(contestant.seconds), min(contestant.busy), contestant.memory)
