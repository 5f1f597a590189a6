"""``python -m benchmarks.performance``: measure everything in one run and write the page.

``--quick`` takes tiny sizes and a single turn: to try the report itself, not the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.performance.machine_limits import MachineLimits, measure_machine
from benchmarks.performance.networks import NetworkSizes, network_stages
from benchmarks.performance.pictures import picture_stages
from benchmarks.performance.report import PerformanceResults, render_page, write_scaling_plot
from benchmarks.performance.sample_image import BenchmarkImage, write_sample_image
from benchmarks.performance.scaling import scaling_with_images, scaling_with_pixels
from benchmarks.performance.stage import StageTiming, time_stage
from benchmarks.performance.tables import table_stages

__all__ = ["main", "measure"]


@dataclass(frozen=True)
class PerformancePlan:
    """How much is measured.

    Attributes
    ----------
    megapixels, growth, image_megapixels
        Sizes of the photograph for the stages, for the growth with it, and in the batch.
    networks
        Sizes of the networks' work.
    images
        Numbers of images in the batch.
    diameter
        Working size of the top-hat detector, px.
    detectors
        That are run as a whole.
    repeats
        Turns of each contestant.
    copied_megabytes
        With which the machine's limits are measured.
    """

    megapixels: float = 12.2
    networks: NetworkSizes = field(default_factory=NetworkSizes)
    growth: tuple[float, ...] = (1, 3, 12.2, 50)
    images: tuple[int, ...] = (1, 4, 16)
    image_megapixels: float = 3
    diameter: int = 1400
    detectors: tuple[str, ...] = ("tophat", "unet")
    repeats: int = 3
    copied_megabytes: int = 128


QUICK = PerformancePlan(
    megapixels=0.15,
    networks=NetworkSizes(
        voting=96, tiling=160, tile=64, patches=8, objects=4, pasted_on=128, cam=64
    ),
    growth=(0.1, 0.2),
    images=(1, 2),
    image_megapixels=0.1,
    diameter=300,
    detectors=("tophat",),
    repeats=1,
    copied_megabytes=4,
)
"""Seconds instead of minutes; the figures mean nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one turn: a try")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/performance.md"))
    asked = parser.parse_args(arguments)
    measured = measure(QUICK if asked.quick else PerformancePlan())
    picture = Path("images") / "performance-growth.svg"
    write_scaling_plot(measured, asked.output.parent / picture)
    asked.output.write_text(render_page(measured, picture.as_posix()), encoding="utf-8")
    print(f"{asked.output}, in {measured.minutes:.1f} minutes")


def measure(plan: PerformancePlan) -> PerformanceResults:
    """Run all that is planned; stages are told on the error stream as they are done."""
    start = time.perf_counter()
    machine: MachineLimits | None = None
    outcomes: list[StageTiming] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject = BenchmarkImage(write_sample_image(folder, plan.megapixels), plan.diameter)
        for stages in (
            picture_stages(subject),
            network_stages(plan.networks),
            table_stages(subject, folder),
        ):
            for stage in stages:
                limits = measure_machine(megabytes=plan.copied_megabytes)
                machine = limits if machine is None else machine.elementwise_max(limits)
                outcomes.append(time_stage(stage, plan.repeats))
                _tell(start, stage.title)
        assert machine is not None  # noqa: S101  # there are stages
        pixels = scaling_with_pixels(
            plan.growth,
            folder,
            detectors=plan.detectors,
            diameter=plan.diameter,
            repeats=plan.repeats,
        )
        _tell(start, "growth with pixels")
        images = scaling_with_images(
            plan.images,
            folder,
            megapixels=plan.image_megapixels,
            diameter=plan.diameter,
            repeats=plan.repeats,
        )
        _tell(start, "growth with images")
    minutes = (time.perf_counter() - start) / 60
    return PerformanceResults(
        tuple(outcomes),
        machine,
        tuple(pixels),
        images,
        plan.image_megapixels,
        plan.repeats,
        minutes,
    )


def _tell(start: float, what: str) -> None:
    print(f"{time.perf_counter() - start:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
