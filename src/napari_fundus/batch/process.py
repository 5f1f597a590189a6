"""One image of a batch, from its file to its results: read ahead, detect, write, remember."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_fundus.batch.items import BatchItem
from napari_fundus.batch.records import ImageOutcome, ProvenanceRecord, read_record, source_stamp
from napari_fundus.detector import Detector, DetectorOptions, coerce_options
from napari_fundus.errors import Cancelled, FundusError, OptionsError, OutputExistsError
from napari_fundus.export import check_formats, export
from napari_fundus.image import FundusImage, read_image
from napari_fundus.landmarks import Landmarks
from napari_fundus.plugins import get_detector
from napari_fundus.results.quantification import quantify
from napari_fundus.runtime.devices import choose_device, release_memory
from napari_fundus.runtime.files import atomic_write
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import describe_error, printable

_LOG_SUFFIX = ".error.log"


@dataclass(frozen=True)
class BatchJob:
    """What is the same for all images of a run."""

    output: Path
    detector: Detector
    options: DetectorOptions
    thresholds: Mapping[str, float]
    device: str
    formats: tuple[str, ...]
    overwrite: bool

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for, as JSON has it: two runs with the same one give the same numbers."""
        return {
            "detector": self.detector.name,
            "detector_version": self.detector.version,
            "options": self.options.model_dump(mode="json"),
            "thresholds": dict(self.thresholds),
        }


@dataclass(frozen=True)
class PrefetchedImage:
    """An image as read ahead, and the record of an earlier result of it."""

    image: FundusImage
    stamp: dict[str, int]
    record: ProvenanceRecord | None


Loaded = PrefetchedImage | ProvenanceRecord
"""An image, or the record of its complete result."""


def make_batch_job(
    output: str | Path,
    detector: str | Detector,
    *,
    options: DetectorOptions | Mapping[str, Any] | None = None,
    thresholds: Mapping[str, float] | None = None,
    device: str = "auto",
    formats: Collection[str],
    overwrite: bool = False,
) -> BatchJob:
    """Return what is the same for all images; parameters as in `napari_fundus.batch.run_batch`.

    Raises
    ------
    OptionsError, DeviceError, UnknownDetectorError
        What was asked for cannot be done.
    """
    chosen = get_detector(detector) if isinstance(detector, str) else detector
    choose_device(device, supported=chosen.devices)
    return BatchJob(
        output=Path(output).expanduser(),
        detector=chosen,
        options=coerce_options(chosen.Options, options),
        thresholds=_checked_thresholds(thresholds or {}, chosen),
        device=device,  # "auto" stays: what is left can do without a GPU that is lost
        formats=check_formats(formats),
        overwrite=overwrite,
    )


def _checked_thresholds(thresholds: Mapping[str, float], detector: Detector) -> dict[str, float]:
    if unknown := sorted(set(thresholds) - set(detector.lesions)):
        raise OptionsError(
            f"{detector.title} does not look for {', '.join(unknown)}; it finds "
            f"{', '.join(detector.lesions)}."
        )
    if bad := [value for value in thresholds.values() if not 0 <= value <= 1]:
        raise OptionsError(f"A threshold lies between 0 and 1, not {bad[0]}.")
    return {str(code): float(value) for code, value in thresholds.items()}


def prefetch_images(
    items: Iterable[BatchItem], job: BatchJob
) -> Iterator[tuple[BatchItem, Future[Loaded]]]:
    """Yield each item with its image to come, while the next one is being read."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        waiting: deque[tuple[BatchItem, Future[Loaded]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(_load, item, job)))
                if len(waiting) > 1:
                    yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _load(item: BatchItem, job: BatchJob) -> Loaded:
    """Read an image, unless its results are there."""
    if item.error:
        raise FundusError(item.error)
    stamp = source_stamp(item.path)
    record = read_record(job.output, item.output_stem)
    if record is None or job.overwrite:
        return PrefetchedImage(read_image(item.path), stamp, record)
    weights = job.detector.weights_sha256(job.options)
    same_weights = weights is None or weights == record.provenance.checkpoint_sha256
    if record.request != job.request or not same_weights:
        changed = [k for k, v in job.request.items() if record.request.get(k) != v] or ["weights"]
        raise OutputExistsError(
            f"{job.output / item.output_stem} holds a result with another {' and '.join(changed)}. "
            "Choose another folder, or overwrite it (--overwrite)."
        )
    complete = set(job.formats) <= set(record.formats)
    if complete and record.source == stamp:
        return record
    image = read_image(item.path)
    if image.sha256 != record.provenance.image_sha256:
        raise OutputExistsError(
            f"{job.output / item.output_stem} holds the result of another image, or of this one "
            "before it was changed. Choose another folder, or overwrite it (--overwrite)."
        )
    return record if complete else PrefetchedImage(image, stamp, record)


def process_item(
    item: BatchItem, future: Future[Loaded], job: BatchJob, monitor: Monitor
) -> ImageOutcome:
    """Process one image. This is the boundary at which all errors are caught.

    Ctrl-C and a monitor that was cancelled end the run; whatever else a detector or a decoder
    raises, `SystemExit` included, is the failure of one image.
    """
    start = time.perf_counter()

    def failed(message: str, error: BaseException, *, again: bool = True) -> ImageOutcome:
        seconds = time.perf_counter() - start
        line = " ".join(message.split())
        details = _traceback(error)
        return ImageOutcome(
            item.path, item.output_stem, "failed", {}, seconds, line, details, retryable=again
        )

    try:
        loaded = future.result()
        if isinstance(loaded, ProvenanceRecord):
            return loaded.skipped(item.path, item.output_stem)
        found = _detect_and_write(item, loaded, job, monitor)
        (job.output / item.output_stem.parent / f"{item.output_stem.name}{_LOG_SUFFIX}").unlink(
            missing_ok=True
        )
    except KeyboardInterrupt:
        raise
    except FundusError as error:
        if isinstance(error, Cancelled) and monitor.cancelled:
            raise
        return failed(describe_error(error), error, again=isinstance(error, OSError))
    except OSError as error:
        return failed(describe_error(error), error)
    except MemoryError as error:
        return failed("Out of memory: close other programs, or use smaller images.", error)
    except BaseException as error:  # noqa: BLE001 - a detector may raise anything
        release_memory(job.device)
        log = _write_log(item, job, error)
        where = f" The traceback is in {printable(str(log))}." if log else ""
        return failed(f"{type(error).__name__}: {describe_error(error)}.{where}", error)
    seconds = time.perf_counter() - start
    return ImageOutcome(item.path, item.output_stem, "written", seconds=seconds, **found)


def _detect_and_write(
    item: BatchItem, loaded: PrefetchedImage, job: BatchJob, monitor: Monitor
) -> dict[str, Any]:
    """Write all results; return `counts`, `extent`, `scores`, `warnings` of `ImageOutcome`."""
    image = loaded.image
    found = job.detector.detect(image, job.options, device=job.device, monitor=monitor.part(0, 0.9))
    if job.thresholds:
        found = found.threshold({c: t for c, t in job.thresholds.items() if c in found.lesions})
    found = replace(found, given_landmarks=_known_landmarks(item, image))
    extent = quantify(found).record()
    counts = {code: int(known["count"]) for code, known in extent["classes"].items()}
    monitor.step(0.9, item.path.name)
    earlier = () if loaded.record is None or job.overwrite else loaded.record.formats
    export(
        found,
        job.output / item.output_stem.parent,
        item.output_stem.name,
        formats=job.formats,
        image=image,
        more={
            "request": job.request,
            "source": loaded.stamp,
            "formats": check_formats({*job.formats, *earlier}),
            "counts": counts,
        },
        # With a record of the same request, what is there is our own, and incomplete.
        overwrite=job.overwrite or loaded.record is not None,
    )
    return {
        "counts": counts,
        "extent": extent,
        "scores": dict(found.image_score),
        "warnings": found.provenance.warnings,
    }


def _known_landmarks(item: BatchItem, image: FundusImage) -> Landmarks:
    """Return disc and fovea as the item's data set gives them."""
    if item.sample is None:
        return Landmarks()
    try:
        return item.sample.landmarks(image.shape)
    except (FundusError, OSError):
        # A mask that cannot be read is no reason to leave the lesions of a good image unsought.
        return Landmarks()


def _write_log(item: BatchItem, job: BatchJob, error: BaseException) -> Path | None:
    """Write the traceback beside where the results would be; None where that fails too."""
    path = job.output / item.output_stem.parent / f"{item.output_stem.name}{_LOG_SUFFIX}"
    try:
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text(
                f"{item.path}\n{job.request}\n\n{_traceback(error)}",
                encoding="utf-8",
                errors="backslashreplace",
            )
    except OSError:
        return None
    return path


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as problem:  # noqa: BLE001 - what an error of others tells may fail in any way
        return f"The traceback of {type(error).__name__} cannot be told: {describe_error(problem)}"
