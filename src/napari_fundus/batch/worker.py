"""What a worker of a Dask cluster does: it holds one detector, and takes images in small lots."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from distributed import WorkerPlugin, get_worker

from napari_fundus._version import __version__
from napari_fundus.batch.items import BatchItem
from napari_fundus.batch.parquet import read_lesion_rows
from napari_fundus.batch.process import BatchJob, make_batch_job, prefetch_images, process_item
from napari_fundus.batch.records import ImageOutcome
from napari_fundus.detector import Detector
from napari_fundus.errors import ClusterError, FundusError
from napari_fundus.plugins import get_detector
from napari_fundus.runtime.devices import available_devices, choose_device
from napari_fundus.runtime.monitor import Monitor

if TYPE_CHECKING:
    import pyarrow as pa
    from distributed import Worker

__all__ = ["BatchWorkerPlugin", "ChunkResult", "WorkerJobSpec", "assign_device", "process_chunk"]


@dataclass(frozen=True)
class WorkerJobSpec:
    """What all workers are told; as in `napari_fundus.batch.run_batch`, the output absolute.

    `version` and `weights` are those of the machine that gives out the work, the weights' hash None
    where the detector has none.
    """

    output: Path
    detector: str | Detector
    options: Mapping[str, Any]
    thresholds: Mapping[str, float]
    device: str
    formats: tuple[str, ...]
    overwrite: bool
    version: str = __version__
    weights: str | None = None

    def job(self, worker: object) -> BatchJob:
        """Return what is the same for all images of a worker.

        Raises
        ------
        ClusterError
            The worker has another version or other weights, or cannot do what is asked: its images
            would fail one by one, or differ from those of the others.
        """
        if self.version != __version__:
            raise ClusterError(
                f"Worker {worker} has napari-fundus {__version__}, the machine that gives out the "
                f"work {self.version}. Install the same version on all of them."
            )
        try:
            job = self._job(worker)
            weights = job.detector.weights_sha256(job.options)
        except FundusError as error:
            raise ClusterError(f"Worker {worker} cannot do the work: {error}") from error
        if weights != self.weights:
            raise ClusterError(
                f"Worker {worker} has other weights of the same name or path than the machine that "
                f"gives out the work (SHA-256 {str(weights)[:12]}…, not "
                f"{str(self.weights)[:12]}…). Put the same file there."
            )
        return job

    def _job(self, worker: object) -> BatchJob:
        given = self.detector
        detector = get_detector(given) if isinstance(given, str) else given
        device = assign_device(worker, self.device, detector)
        return make_batch_job(
            self.output,
            detector,
            options=self.options,
            thresholds=self.thresholds,
            device=device,
            formats=self.formats,
            overwrite=self.overwrite,
        )


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """What became of a lot of images, and the lesions of those that are done."""

    outcomes: tuple[ImageOutcome, ...]
    lesions: pa.Table


class BatchWorkerPlugin(WorkerPlugin):
    """Keeps the detector of a worker, and lets one image at a time have it.

    Workers that come later, or again after they were killed, get one too.

    Parameters
    ----------
    order
        What is to be done.
    name
        Of this run among those that share the cluster.
    """

    def __init__(self, order: WorkerJobSpec, name: str) -> None:
        self.order, self.name = order, name

    def setup(self, worker: Worker) -> None:
        """Begin on a worker; the detector is made with its first image, which can tell errors."""
        self._worker_name = worker.name
        self._job: BatchJob | None = None
        self._turn = threading.Lock()

    def work(self, items: Sequence[BatchItem]) -> ChunkResult:
        """Work on images, each read while the one before it is on the device."""
        with self._turn:
            if self._job is None:
                self._job = self.order.job(self._worker_name)
            job = self._job
            monitor = Monitor()
            outcomes = tuple(
                process_item(i, f, job, monitor) for i, f in prefetch_images(items, job)
            )
        return ChunkResult(outcomes, read_lesion_rows(job.output, outcomes))


def assign_device(worker: object, request: str, detector: Detector) -> str:
    """Return the device of a worker: those of one machine share its GPUs out among them.

    Parameters
    ----------
    worker
        Name of the worker: a number, where this package started it.
    request
        As `napari_fundus.runtime.devices.choose_device` takes it.
    detector
        Whose devices count.
    """
    chosen = choose_device(request, supported=detector.devices)
    if chosen.kind != "cuda" or ":" in request or not isinstance(worker, int):
        return chosen.name
    cards = [device for device in available_devices().devices if device.kind == "cuda"]
    return cards[worker % len(cards)].name


def process_chunk(items: Sequence[BatchItem], station: str) -> ChunkResult:
    """Work on images at the station of this name; the task that the cluster runs."""
    held = get_worker().plugins[station]
    return cast("BatchWorkerPlugin", held).work(items)
