"""An archive on a Dask cluster: listed while it is worked on, and whatever dies loses nothing."""

from __future__ import annotations

import pkgutil
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fundus._version import __version__
from napari_fundus.batch.items import BatchItem
from napari_fundus.batch.iter_items import iter_items
from napari_fundus.batch.parquet import ParquetTables
from napari_fundus.batch.process import make_batch_job
from napari_fundus.batch.records import ImageOutcome
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import Cancelled, ClusterError, FundusError, OptionsError
from napari_fundus.export import DEFAULT_FORMATS, check_formats
from napari_fundus.runtime.monitor import Monitor

if TYPE_CHECKING:
    from napari_fundus.batch.worker import ChunkResult, WorkerJobSpec

__all__ = ["ClusterConfig", "ClusterReport", "run_on_cluster"]

_POLL_SECONDS = 0.5
"""Seconds after which a wait for results looks whether it shall go on."""

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
    """

    written: int
    skipped: int
    failed: int
    failures: tuple[ImageOutcome, ...]
    output: Path
    interrupted: bool = False
    stopped: str = ""


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
    names = check_formats({"csv", *formats})
    # Another machine may have the device that this one lacks: workers look for themselves.
    own = device if cluster.scheduler is None else "auto"
    probe = make_batch_job(
        output, detector, options=options, thresholds=thresholds, device=own, formats=names
    )
    weights = probe.detector.weights_sha256(probe.options)
    place = probe.output.resolve()
    tables = ParquetTables(place, probe.detector.lesions, overwrite=overwrite)
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        client = stack.enter_context(_connect_client(cluster))
        _check_versions(client)
        from napari_fundus.batch.worker import WorkerJobSpec

        order = WorkerJobSpec(
            output=place,
            detector=detector,
            options=probe.options.model_dump(),
            thresholds=probe.thresholds,
            device=device,
            formats=names,
            overwrite=overwrite,
            weights=weights,
        )
        if on_dashboard is not None and client.dashboard_link:
            on_dashboard(client.dashboard_link)
        stack.enter_context(tables)
        run = _ClusterRun(client, order, cluster, tables, monitor or Monitor(), on_outcome)
        return run.over(iter_items(sources, place))


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
    distributed: Any = untyped  # Dask tells few types
    with ExitStack() as stack:
        if cluster.scheduler is not None:
            try:
                client = distributed.Client(cluster.scheduler, timeout=20)
            except (OSError, TimeoutError, ValueError) as error:
                raise ClusterError(
                    f"No Dask scheduler answers at {cluster.scheduler}: {error}"
                ) from None
            yield stack.enter_context(client)
            return
        ours = {
            # A lot that killed two workers is given out again image by image, to find the one.
            "distributed.scheduler.allowed-failures": 1,
            # Dask's profile of each second of an hour takes a worker several hundred MB.
            "distributed.worker.profile.enabled": False,
        }
        stack.enter_context(dask.config.set(ours))
        own = distributed.LocalCluster(
            n_workers=cluster.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs="ERROR",
        )
        stack.enter_context(own)
        yield stack.enter_context(distributed.Client(own))


def _check_versions(client: Any) -> None:
    """Refuse workers whose package is missing or another version, before work is sent to them.

    Workers that come later are asked when they begin; see
    `napari_fundus.batch.worker.WorkerJobSpec`.
    """
    # A function of the standard library: one of ours could not be sent to where ours is missing.
    told = client.run(pkgutil.resolve_name, "napari_fundus:__version__", on_error="return")
    bad = {worker: found for worker, found in told.items() if found != __version__}
    if not bad:
        return
    worker, found = min(bad.items())
    what = (
        f"has no napari-fundus that can be imported ({found})"
        if isinstance(found, Exception)
        else f"has napari-fundus {found}"
    )
    more = f", and {len(bad) - 1} more do not fit either" if len(bad) > 1 else ""
    raise ClusterError(
        f"Worker {worker} {what}, the machine that gives out the work {__version__}{more}. Install "
        "the same version on all of them."
    )


@dataclass(frozen=True)
class _Chunk:
    """Images that one task works on, and how often they were tried before.

    A suspect is an image that was with a worker when that died. It is tried alone, while nothing
    else is under way: Dask blames all that a dead worker had in hand.
    """

    items: tuple[BatchItem, ...]
    tried: int = 0
    suspect: bool = False


@dataclass
class _ClusterRun:
    """The client's side of a run: a few lots are on their way, none is remembered once done."""

    client: Any
    order: WorkerJobSpec
    cluster: ClusterConfig
    tables: ParquetTables
    monitor: Monitor
    on_outcome: Callable[[ImageOutcome], None] | None
    again: deque[_Chunk] = field(default_factory=deque)
    in_flight: dict[Any, _Chunk] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("written", "skipped", "failed"), 0)
    )
    failures: list[ImageOutcome] = field(default_factory=list)
    listed: int = 0
    listing_done: bool = False

    def over(self, items: Iterator[BatchItem]) -> ClusterReport:
        """Work on all images, and tell what became of them."""
        from napari_fundus.batch.worker import BatchWorkerPlugin

        self.station = f"napari-fundus-{secrets.token_hex(6)}"
        try:
            self.client.register_plugin(BatchWorkerPlugin(self.order, self.station))
        except (ImportError, AttributeError) as error:
            raise ClusterError(
                f"A worker cannot take the detector {self.order.detector!r}: {error}. Install what "
                "it is part of on all workers."
            ) from error
        interrupted, stopped = False, ""
        try:
            while self._submit(items) or self.in_flight:
                self._tell()
                for future in self._finished():
                    self._take(future, self.in_flight.pop(future))
                    future.release()
                most = self.cluster.max_failures
                if most is not None and self.counts["failed"] > most:
                    stopped = f"More than {most} images failed."
                    break
        except (KeyboardInterrupt, Cancelled):
            interrupted = True
        finally:
            self._leave()
        return ClusterReport(
            **self.counts,
            failures=tuple(self.failures),
            output=self.order.output,
            interrupted=interrupted,
            stopped=stopped,
        )

    def _submit(self, items: Iterator[BatchItem]) -> bool:
        """Give out lots until each worker has one in hand and one to come; say whether any."""
        from napari_fundus.batch.worker import process_chunk

        given = False
        wanted = 2 * max(len(self.client.nthreads()), 1)
        while len(self.in_flight) < wanted:
            if any(lot.suspect for lot in self.in_flight.values()):
                break
            if self.again:
                if self.again[0].suspect and self.in_flight:
                    break
                lot = self.again.popleft()
            else:
                lot = _Chunk(tuple(islice(items, self.cluster.images_per_task)))
                self.listed += len(lot.items)
                if not lot.items:
                    self.listing_done = True
                    break
            future = self.client.submit(process_chunk, lot.items, self.station, pure=False)
            self.in_flight[future] = lot
            given = True
        return given

    def _finished(self) -> list[Any]:
        """Wait for a while, and return what has ended."""
        import distributed as untyped

        distributed: Any = untyped
        try:
            distributed.wait(
                list(self.in_flight), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED"
            )
        except TimeoutError:
            return []
        return [future for future in self.in_flight if future.done()]

    def _take(self, future: Any, lot: _Chunk) -> None:
        """Keep what a lot has come to, and give out again what may go better another time."""
        if future.status == "finished":
            self._keep(future.result(), lot)
            return
        if future.status != "error":
            raise ClusterError("The Dask scheduler went away. The same command goes on from here.")
        error = future.exception()
        if isinstance(error, FundusError):
            raise error
        if not lot.suspect:
            self.again.extend(_Chunk((item,), lot.tried, suspect=True) for item in lot.items)
        else:
            (item,) = lot.items
            message = f"Its worker died, or could not tell: {type(error).__name__}: {error}"
            self._done([ImageOutcome(item.path, item.place, "failed", message=message)])

    def _keep(self, done: ChunkResult, lot: _Chunk) -> None:
        places = {item.place: item for item in lot.items}
        retried = [
            outcome
            for outcome in done.outcomes
            if outcome.retryable and lot.tried < self.cluster.retries
        ]
        self.again.extend(_Chunk((places[o.place],), lot.tried + 1) for o in retried)
        kept = [outcome for outcome in done.outcomes if outcome not in retried]
        self._done(kept, done.lesions)

    def _done(self, outcomes: list[ImageOutcome], lesions: Any = None) -> None:
        self.tables.add(outcomes, lesions)
        for outcome in outcomes:
            self.counts[outcome.status] += 1
            if outcome.status == "failed" and len(self.failures) < _MAX_REPORTED_FAILURES:
                self.failures.append(outcome)
            if self.on_outcome is not None:
                self.on_outcome(outcome)

    def _tell(self) -> None:
        done = sum(self.counts.values())
        part = done / max(self.listed, 1) if self.listing_done else 0.0
        failed = f", {self.counts['failed']} failed" if self.counts["failed"] else ""
        self.monitor.step(
            part, f"{done} of {self.listed}{'' if self.listing_done else '+'}{failed}"
        )

    def _leave(self) -> None:
        """Take back what is not done, and leave the workers as they were."""
        self.client.cancel(list(self.in_flight), reason="the run has ended")
        self.client.unregister_worker_plugin(self.station)
