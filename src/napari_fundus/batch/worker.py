"""What a worker of a Dask cluster does: it holds one detector, and processes images in chunks."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from distributed import WorkerPlugin, get_worker

from napari_fundus._version import __version__
from napari_fundus.batch.items import BatchItem
from napari_fundus.batch.parquet import read_lesion_rows
from napari_fundus.batch.process import BatchJob, prefetch_images, process_item
from napari_fundus.batch.records import ImageOutcome
from napari_fundus.detector import Detector
from napari_fundus.errors import ClusterError, FundusError
from napari_fundus.runtime.devices import available_devices, choose_device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import pyarrow as pa
    from distributed import Worker


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """The outcomes of a chunk of images, in their order, and the lesions of those that are done."""

    outcomes: tuple[ImageOutcome, ...]
    lesions: pa.Table


class BatchWorkerPlugin(WorkerPlugin):
    """Keeps the detector of a worker, for one chunk of images at a time.

    Dask gives it to workers that join later, or were restarted, too.

    Parameters
    ----------
    job
        What to do, as on the machine that gives out the work; the output is absolute.
    weights
        SHA-256 of the weights there; None where the detector has none.
    """

    def __init__(self, job: BatchJob, weights: str | None) -> None:
        self.job, self.weights, self.version = job, weights, __version__
        self.name = f"napari-fundus-{secrets.token_hex(6)}"

    def setup(self, worker: Worker) -> None:
        """Begin on a worker; the job is checked with its first images, which report errors."""
        self._worker_name = worker.name
        self._checked: BatchJob | None = None
        self._lock = threading.Lock()

    def process(self, items: Sequence[BatchItem]) -> ChunkResult:
        """Process images, each read while the one before it is on the device."""
        with self._lock:
            job = self._checked = self._checked or self._check()
            monitor = Monitor()
            outcomes = tuple(
                process_item(i, f, job, monitor) for i, f in prefetch_images(items, job)
            )
        return ChunkResult(outcomes, read_lesion_rows(job.output, outcomes))

    def _check(self) -> BatchJob:
        """Return the job with this worker's device.

        Raises
        ------
        ClusterError
            The worker has another version or other weights, or not the device: its images would
            fail one by one, or differ from those of the others.
        """
        worker, job = self._worker_name, self.job
        if self.version != __version__:
            raise ClusterError(
                f"Worker {worker} has napari-fundus {__version__}, the machine that gives out the "
                f"work {self.version}. Install the same version on all of them."
            )
        try:
            job = replace(job, device=assign_device(worker, job.device, job.detector))
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


def assign_device(worker: object, device: str, detector: Detector) -> str:
    """Return the device of a worker: those of one machine share its GPUs out among them.

    Parameters
    ----------
    worker
        Name of the worker: a number, where this package started it.
    device
        As `napari_fundus.runtime.devices.choose_device` takes it.
    detector
        Whose devices count.
    """
    chosen = choose_device(device, supported=detector.devices)
    if chosen.kind != "cuda" or ":" in device or not isinstance(worker, int):
        return chosen.name
    cards = [card for card in available_devices().devices if card.kind == "cuda"]
    return cards[worker % len(cards)].name


def process_chunk(items: Sequence[BatchItem], plugin_name: str) -> ChunkResult:
    """Process images with the plugin of this name; the task that the cluster runs."""
    return cast("BatchWorkerPlugin", get_worker().plugins[plugin_name]).process(items)
