"""Memory of a Dask run by the number of images: ``python -m benchmarks.cluster_memory``.

Small photographs and a detector that costs next to nothing, so that what grows with the number of
images, if anything does, is the run itself.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from napari_fundus.batch import ClusterConfig, ImageOutcome, run_on_cluster
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.image import FundusImage
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

SIDE = 64
IMAGES_PER_FOLDER = 500


class GreenPlaneDetector(Detector):
    """The green plane as a map of exudates."""

    name = "cheap"
    title = "Green plane"
    summary = "Next to nothing."
    lesions = ("EX",)
    Options = DetectorOptions

    def predict(
        self, image: FundusImage, options: DetectorOptions, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the green plane."""
        return Prediction({"EX": image.rgb8[..., 1].astype(np.float32) / np.float32(255)})


def draw_archive(folder: Path, count: int) -> None:
    """Write `count` photographs of one bright square each, five hundred a folder."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // IMAGES_PER_FOLDER:04}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
        row, col = rng.integers(0, SIDE - 8, 2)
        pixels[row : row + 8, col : col + 8] = 220
        Image.fromarray(pixels).save(path, compress_level=1)


def resident_mb(process: int) -> float:
    """Return the memory of a process, as Linux counts it."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return int(next(x for x in lines if x.startswith("VmRSS")).split()[1]) / 1e3


def workers_of(process: int) -> list[int]:
    """Return the processes that descend from `process` and hold the most memory, one a worker."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it has ended meanwhile
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {process}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family - {process}, key=resident_mb, reverse=True)


def main() -> None:
    """Print the memory of client and workers as the run goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "archive"
        draw_archive(folder, chosen.images)
        start, done = time.perf_counter(), 0
        print("| images | client, MB | largest worker, MB | images/s |\n|---:|---:|---:|---:|")

        def count(outcome: ImageOutcome) -> None:
            nonlocal done
            done += outcome.status == "written"
            if done % (chosen.images // 10) == 0:
                worker = resident_mb(workers_of(os.getpid())[0])
                rate = done / (time.perf_counter() - start)
                print(
                    f"| {done} | {resident_mb(os.getpid()):.0f} | {worker:.0f} | {rate:.0f} |",
                    flush=True,
                )

        report = run_on_cluster(
            [folder],
            Path(temporary) / "results",
            GreenPlaneDetector(),
            cluster=ClusterConfig(workers=chosen.workers),
            formats=["csv"],
            on_outcome=count,
        )
    print(f"\n{report.written} written, {report.failed} failed.")


if __name__ == "__main__":
    # By its name, so that workers find the detector: they import, they do not run.
    from benchmarks.cluster_memory import main as run

    run()
