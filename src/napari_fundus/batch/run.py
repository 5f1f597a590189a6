"""The batch in one process: image by image, and on whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_fundus.batch.config import record_batch
from napari_fundus.batch.items import SUMMARY_NAME, BatchItem, find_items
from napari_fundus.batch.listing import count_passed_over
from napari_fundus.batch.process import BatchJob, make_batch_job, prefetch_images, process_item
from napari_fundus.batch.records import BatchReport, ImageOutcome, check_summary, write_summary
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import Cancelled, OptionsError
from napari_fundus.export import DEFAULT_FORMATS
from napari_fundus.runtime.progress import Monitor


def run_batch(
    sources: Iterable[str | Path],
    output: str | Path,
    detector: str | Detector = DEFAULT_DETECTOR,
    *,
    options: DetectorOptions | Mapping[str, Any] | None = None,
    thresholds: Mapping[str, float] | None = None,
    device: str = "auto",
    formats: Collection[str] = DEFAULT_FORMATS,
    overwrite: bool = False,
    shard: tuple[int, int] | None = None,
    monitor: Monitor | None = None,
    on_outcome: Callable[[ImageOutcome], None] | None = None,
) -> BatchReport:
    """Find the lesions of many images and write the results to a folder.

    What is done already with the same detector, options, thresholds and weights is skipped. A
    file that cannot be read, or on which the detector fails, is reported and stops nothing.
    Ctrl-C, or cancelling, ends the run and keeps what is done.

    Parameters
    ----------
    sources
        Files, folders and data sets; see `napari_fundus.batch.find_items`.
    output
        The folder; made if missing. ``summary.csv`` in it has a row for each image, and
        ``batch.json`` says what was asked for, so that the window's worklist can go on.
    detector
        Its name, or the detector itself.
    options
        The detector's options, or the fields that differ from their defaults.
    thresholds
        Class code to threshold, for classes that shall have another than the options say.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    formats
        Names out of `napari_fundus.export.FORMATS`.
    overwrite
        Whether to do everything anew, and to replace results of other detectors and options.
    shard
        Do only part i of n, both from 1, as (i, n): every n-th image, so that n machines share the
        work. Each part writes ``summary-i-of-n.csv``; a run without `shard` afterwards finds all
        done, and writes the whole ``summary.csv``.
    monitor
        Takes the progress of the whole run, and may cancel it.
    on_outcome
        Called after each image.

    Raises
    ------
    OptionsError, DeviceError, UnknownDetectorError
        What was asked for cannot be done; nothing was read or written.
    OutputExistsError
        The output folder holds a ``summary.csv`` of another origin.
    """
    job = make_batch_job(
        output,
        detector,
        options=options,
        thresholds=thresholds,
        device=device,
        formats=formats,
        overwrite=overwrite,
    )
    part, parts = _checked_shard(shard)
    name = SUMMARY_NAME if parts == 1 else f"summary-{part}-of-{parts}.csv"
    check_summary(job.output / name, overwrite=overwrite)
    sources = list(sources)
    found = find_items(sources, job.output, summary=name)
    passed = count_passed_over(sources, (i.path for i in found), leave=job.output.resolve())
    record_batch(job, sources)
    items = found[part - 1 :: parts]
    report = run_items(items, job, summary=name, monitor=monitor, on_outcome=on_outcome)
    return replace(report, passed_over=passed)


def run_items(
    items: Sequence[BatchItem],
    job: BatchJob,
    *,
    summary: str = SUMMARY_NAME,
    monitor: Monitor | None = None,
    on_outcome: Callable[[ImageOutcome], None] | None = None,
) -> BatchReport:
    """Find the lesions of the images that `find_items` returned; otherwise as :func:`run_batch`.

    Parameters
    ----------
    items
        The images.
    job
        What is the same for all, see `napari_fundus.batch.process.make_batch_job`.
    summary
        Name of the table of all images.
    monitor, on_outcome
        As for :func:`run_batch`.
    """
    monitor = monitor or Monitor()
    outcomes: list[ImageOutcome] = []
    interrupted = False
    try:
        for number, (item, future) in enumerate(prefetch_images(items, job)):
            own = monitor.part(number / len(items), (number + 1) / len(items))
            own.step(0.0, item.path.name)
            outcome = process_item(item, future, job, own)
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
            own.step(1.0, item.path.name)
    except (KeyboardInterrupt, Cancelled):
        interrupted = True
    finally:
        write_summary(job.output / summary, outcomes, job.detector.lesions)
    return BatchReport(tuple(outcomes), job.output, interrupted)


def _checked_shard(shard: tuple[int, int] | None) -> tuple[int, int]:
    part, parts = shard or (1, 1)
    if not 1 <= part <= parts:
        raise OptionsError(f"There is no part {part} of {parts}: parts are counted from 1.")
    return part, parts
