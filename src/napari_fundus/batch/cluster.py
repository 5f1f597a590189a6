"""An archive on a Dask cluster: listed while it is worked on, and whatever dies loses nothing."""

from __future__ import annotations

import pkgutil
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fundus._version import __version__
from napari_fundus.batch.config import record_batch
from napari_fundus.batch.items import BatchItem
from napari_fundus.batch.iter_items import iter_items
from napari_fundus.batch.parquet import ParquetTables
from napari_fundus.batch.process import make_batch_job
from napari_fundus.batch.records import ImageOutcome
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import Cancelled, ClusterError, FundusError, OptionsError
from napari_fundus.export import DEFAULT_FORMATS
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import describe_error

if TYPE_CHECKING:
    import pyarrow as pa

    from napari_fundus.batch.worker import BatchWorkerPlugin, ChunkResult

_POLL_SECONDS = 0.5
"""Seconds after which a wait for results looks whether it shall go on."""

_POLLS_WITHOUT_WORKER = 60
"""Such waits without any worker, after which another one is started."""

_ANSWER_SECONDS = 60.0
"""Seconds after which a scheduler that does not answer is given up."""

_REGISTRATIONS = 5
"""How often the work is given to workers of which one dies meanwhile."""

_MAX_REPORTED_FAILURES = 100
"""Failures that the report names; the table of images has them all."""


@dataclass(frozen=True)
class ClusterConfig:
    """Where a run is worked on, and how much may go wrong.

    Attributes
    ----------
    scheduler
        Address of a Dask scheduler, such as ``"tcp://host:8786"``; None for workers of our own.
    workers
        Number of worker processes on this machine, where there is no scheduler.
    images_per_task
        Images that a worker gets at once.
    retries
        How often an image is tried again that failed for what may be a matter of the moment.
    max_failures
        Failed images beyond which the run is stopped, since something must be wrong with all of
        them; None for no limit.
    """

    scheduler: str | None = None
    workers: int | None = None
    images_per_task: int = 16
    retries: int = 2
    max_failures: int | None = None

    def __post_init__(self) -> None:
        if (self.scheduler is None) == (self.workers is None):
            raise OptionsError("Name either the address of a scheduler or a number of workers.")
        if self.workers is not None and self.workers < 1:
            raise OptionsError(f"There must be at least one worker, not {self.workers}.")
        if self.images_per_task < 1 or self.retries < 0 or (self.max_failures or 0) < 0:
            raise OptionsError(
                "A task has at least one image; retries and failures are not negative."
            )


@dataclass(frozen=True)
class ClusterReport:
    """What became of an archive; the tables in the output folder tell of each image.

    Attributes
    ----------
    written, skipped, failed
        Numbers of images. Those that a worker had finished before it was lost count as skipped.
    failures
        The first hundred that failed.
    output
        The folder written to.
    interrupted
        Whether the run was stopped before its end by the user.
    stopped
        Why it was stopped by itself; empty if it was not.
    passed_over
        What the folders hold beside the images: suffix, or another word for its kind, to number.
    """

    written: int
    skipped: int
    failed: int
    failures: tuple[ImageOutcome, ...]
    output: Path
    interrupted: bool = False
    stopped: str = ""
    passed_over: Mapping[str, int] = field(default_factory=dict)


def run_on_cluster(
    sources: Iterable[str | Path],
    output: str | Path,
    detector: str | Detector = DEFAULT_DETECTOR,
    *,
    cluster: ClusterConfig,
    options: DetectorOptions | Mapping[str, Any] | None = None,
    thresholds: Mapping[str, float] | None = None,
    device: str = "auto",
    formats: Collection[str] = DEFAULT_FORMATS,
    overwrite: bool = False,
    monitor: Monitor | None = None,
    on_outcome: Callable[[ImageOutcome], None] | None = None,
    on_dashboard: Callable[[str], None] | None = None,
) -> ClusterReport:
    """Find the lesions of an archive on a cluster; the files are those of `run_batch`.

    Workers must see sources and output at the same paths. Each image's files are written whole or
    not at all, with a record: what a lost worker had finished is known as done, the rest is given
    to another. ``images.parquet`` and ``lesions.parquet`` in the output folder have a row an image
    and a row a lesion; each image stands in them once. They tell of what this run went through:
    after one that was stopped, run it again to its end.

    Parameters
    ----------
    sources, output, detector, options, thresholds, device, overwrite, on_outcome
        As in `napari_fundus.batch.run_batch`.
    cluster
        Where to work, and how much may go wrong.
    formats
        As there; the table of lesions, ``csv``, is always written.
    monitor
        Takes the progress, and may cancel. As the archive is listed while it is worked on, how far
        it is shows only towards the end.
    on_dashboard
        Called with the address of the cluster's dashboard.

    Raises
    ------
    OptionsError, DeviceError, UnknownDetectorError
        What was asked for cannot be done.
    OutputExistsError
        The output folder holds tables of another origin.
    CheckpointError
        The weights cannot be read here.
    ClusterError
        There is no Dask here, no scheduler answers, or it went away; a worker has another version
        of the package, or not the weights.
    """
    job = make_batch_job(
        Path(output).expanduser().resolve(),
        detector,
        options=options,
        thresholds=thresholds,
        # Another machine may have the device that this one lacks: its workers check it.
        device=device if cluster.scheduler is None else "auto",
        formats={"csv", *formats},
        overwrite=overwrite,
    )
    sources = list(sources)
    weights = job.detector.weights_sha256(job.options)
    tables = ParquetTables(job.output, job.detector.lesions, overwrite=overwrite)
    record_batch(job, sources)
    with _connect_client(cluster) as client:
        _check_versions(client)
        from napari_fundus.batch.worker import BatchWorkerPlugin

        plugin = BatchWorkerPlugin(replace(job, device=device), weights)
        if on_dashboard is not None and client.dashboard_link:
            on_dashboard(client.dashboard_link)
        with tables.open():
            run = _ClusterRun(client, plugin, cluster, tables, monitor or Monitor(), on_outcome)
            passed: Counter[str] = Counter()
            report = run.process(iter_items(sources, job.output, passed))
            return replace(report, passed_over=passed)


@contextmanager
def _connect_client(cluster: ClusterConfig) -> Iterator[Any]:
    """Give a client of the scheduler, or of workers that end with the block."""
    try:
        import dask
        import distributed as untyped
    except ImportError as error:
        raise ClusterError(
            f"A batch on a cluster needs Dask: pip install 'napari-fundus[scale]' ({error})."
        ) from None
    distributed: Any = untyped  # Dask has few type hints
    if cluster.scheduler is not None:
        try:
            client = distributed.Client(cluster.scheduler, timeout=20)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {cluster.scheduler}: {error}"
            ) from None
        with client:
            yield client
        return
    settings = {
        # A chunk during which two workers died is split into its images, to find the one.
        "distributed.scheduler.allowed-failures": 1,
        # Dask's profile of each second of an hour takes a worker several hundred MB.
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=cluster.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs="ERROR",
        ) as own,
        distributed.Client(own) as client,
    ):
        yield client


def _answer(call: Callable[[], Any]) -> Any:
    """Return what a call to the scheduler returns, which is not waited for without end.

    Raises
    ------
    ClusterError
        It gave no answer in time: the scheduler hangs, or its machine does.
    """
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            answers.put((None, error))

    # A daemon: where it never ends, it keeps no process alive.
    threading.Thread(target=ask, name="ask-scheduler", daemon=True).start()
    try:
        value, error = answers.get(timeout=_ANSWER_SECONDS)
    except queue.Empty:
        raise ClusterError(
            f"The Dask scheduler has not answered for {_ANSWER_SECONDS:g} seconds. What is done is "
            "kept: the same command goes on from here."
        ) from None
    if error is not None:
        raise error
    return value


def _check_versions(client: Any) -> None:
    """Refuse workers whose package is missing or of another version, before any work is sent.

    Workers that join later are checked with their first images, by `BatchWorkerPlugin`.
    """
    # Dask's own versions are those of installed distributions, not of what is imported. A function
    # of the standard library is sent, as ours would not arrive where the package is missing.
    ask = partial(client.run, pkgutil.resolve_name, "napari_fundus:__version__", on_error="return")
    found = _answer(ask)
    # A worker that went away in between tells nothing of versions; another takes its place.
    lost = (OSError, TimeoutError)
    told = {worker: version for worker, version in found.items() if not isinstance(version, lost)}
    bad = [worker for worker in sorted(told) if told[worker] != __version__]
    if bad:
        version = found[bad[0]]
        has = (
            f"no napari-fundus that can be imported ({version})"
            if isinstance(version, Exception)
            else f"napari-fundus {version}"
        )
        more = f", and {len(bad) - 1} more do not fit either" if len(bad) > 1 else ""
        raise ClusterError(
            f"Worker {bad[0]} has {has}, the machine that gives out the work {__version__}{more}. "
            "Install the same version on all of them."
        )


@dataclass(frozen=True)
class _Chunk:
    """Images that one task processes, and how often they were tried before."""

    items: tuple[BatchItem, ...]
    attempts: int = 0


@dataclass
class _ClusterRun:
    """The client's side of a run; of its images only those in flight are kept in memory."""

    client: Any
    plugin: BatchWorkerPlugin
    cluster: ClusterConfig
    tables: ParquetTables
    monitor: Monitor
    on_outcome: Callable[[ImageOutcome], None] | None
    retry_queue: deque[_Chunk] = field(default_factory=deque)
    in_flight: dict[Any, _Chunk] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[ImageOutcome] = field(default_factory=list)
    listed_count: int = 0
    polls_without_worker: int = 0
    listing_done: bool = False

    def process(self, items: Iterator[BatchItem]) -> ClusterReport:
        """Process all images, and return the report."""
        try:
            self._register_plugin()
        except (ImportError, AttributeError) as error:
            raise ClusterError(
                f"A worker cannot take the detector {self.plugin.job.detector.name!r}: {error}. "
                "Install what it is part of on all workers."
            ) from error
        interrupted, stopped = False, ""
        most = self.cluster.max_failures
        try:
            while self._submit(items) and not stopped:
                self._report_progress()
                for future in self._wait():
                    self._handle_future(future, self.in_flight.pop(future))
                    future.release()
                if most is not None and self.counts["failed"] > most:
                    stopped = f"More than {most} images failed."
        except (KeyboardInterrupt, Cancelled):
            interrupted = True
        finally:
            with suppress(ClusterError, OSError):  # it went away, which is told already
                _answer(partial(self.client.cancel, list(self.in_flight), reason="the run ended"))
                _answer(partial(self.client.unregister_worker_plugin, self.plugin.name))
        return ClusterReport(
            written=self.counts["written"],
            skipped=self.counts["skipped"],
            failed=self.counts["failed"],
            failures=tuple(self.failures),
            output=self.plugin.job.output,
            interrupted=interrupted,
            stopped=stopped,
        )

    def _register_plugin(self) -> None:
        """Give the plugin to all workers; one that dies in between is tried without."""
        for attempt in range(_REGISTRATIONS):
            try:
                _answer(partial(self.client.register_plugin, self.plugin))
            except OSError as error:
                if attempt == _REGISTRATIONS - 1:
                    raise ClusterError(
                        f"The workers cannot be reached: {describe_error(error)}."
                    ) from error
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _submit(self, items: Iterator[BatchItem]) -> bool:
        """Submit a chunk for each worker that has none; return whether any is in flight.

        Dask blames a worker's death on all that the worker holds: it holds one chunk at a time.
        """
        from napari_fundus.batch.worker import process_chunk

        most = max(len(_answer(self.client.nthreads)), 1)
        while len(self.in_flight) < most:
            if self.retry_queue:
                chunk = self.retry_queue.popleft()
            else:
                chunk = _Chunk(tuple(islice(items, self.cluster.images_per_task)))
                self.listed_count += len(chunk.items)
            if not chunk.items:
                self.listing_done = True
                break
            future = self.client.submit(process_chunk, chunk.items, self.plugin.name, pure=False)
            self.in_flight[future] = chunk
        return bool(self.in_flight)

    def _wait(self) -> list[Any]:
        """Wait for a while, and return the futures that have ended."""
        import distributed as untyped

        distributed: Any = untyped
        with suppress(TimeoutError):
            distributed.wait(
                list(self.in_flight), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED"
            )
        self._replace_lost_workers()
        return [future for future in self.in_flight if future.done()]

    def _replace_lost_workers(self) -> None:
        """Start another worker where none has been left for a while.

        Dask does not restart one that dies before its nanny has heard that it started.
        """
        local = getattr(self.client, "cluster", None)
        if local is None or _answer(self.client.scheduler_info)["workers"]:
            self.polls_without_worker = 0
            return
        self.polls_without_worker += 1
        if self.polls_without_worker >= _POLLS_WITHOUT_WORKER:
            self.polls_without_worker = 0
            local.scale(len(local.worker_spec) + 1)

    def _handle_future(self, future: Any, chunk: _Chunk) -> None:
        """Record what a chunk has given; queue again what may succeed at another attempt."""
        if future.status == "finished":
            self._handle_result(future.result(), chunk)
            return
        if future.status != "error":
            raise ClusterError("The Dask scheduler went away. The same command goes on from here.")
        error = future.exception()
        if isinstance(error, FundusError):
            raise error
        if len(chunk.items) > 1:
            self.retry_queue.extend(_Chunk((item,), chunk.attempts) for item in chunk.items)
            return
        (item,) = chunk.items
        message = f"Its worker died, or could not tell: {type(error).__name__}: {error}"
        self._record([ImageOutcome(item.path, item.output_stem, "failed", message=message)])

    def _handle_result(self, result: ChunkResult, chunk: _Chunk) -> None:
        final: list[ImageOutcome] = []
        for item, outcome in zip(chunk.items, result.outcomes, strict=True):
            if outcome.retryable and chunk.attempts < self.cluster.retries:
                self.retry_queue.append(_Chunk((item,), chunk.attempts + 1))
            else:
                final.append(outcome)
        self._record(final, result.lesions)

    def _record(self, outcomes: list[ImageOutcome], lesions: pa.Table | None = None) -> None:
        self.tables.add(outcomes, lesions)
        for outcome in outcomes:
            self.counts[outcome.status] += 1
            if outcome.status == "failed" and len(self.failures) < _MAX_REPORTED_FAILURES:
                self.failures.append(outcome)
            if self.on_outcome is not None:
                self.on_outcome(outcome)

    def _report_progress(self) -> None:
        done = self.counts.total()
        part = done / max(self.listed_count, 1) if self.listing_done else 0.0
        failed = f", {self.counts['failed']} failed" if self.counts["failed"] else ""
        more = "" if self.listing_done else "+"
        self.monitor.step(part, f"{done} of {self.listed_count}{more}{failed}")
