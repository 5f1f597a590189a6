"""The one training loop of all methods: on any device, repeatable, resumable; it yields events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import Cancelled, TrainingError
from napari_fundus.runtime.devices import choose_device, is_lost
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.estimate import preflight
from napari_fundus.training.loop.events import (
    Best,
    CheckpointSaved,
    EpochEnd,
    Finished,
    Preview,
    Started,
    Step,
    StopReason,
    TrainingEvent,
)
from napari_fundus.training.loop.preflight import check_data
from napari_fundus.training.loop.run import TrainingRun
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.state import BEST_FILE, LAST_FILE, check_output
from napari_fundus.training.loop.task import Task


def train(
    task: Task,
    settings: TrainingSettings,
    output: str | Path,
    *,
    device: str = "auto",
    monitor: Monitor | None = None,
    resume: bool = False,
    overwrite: bool = False,
    initial: Checkpoint | None = None,
) -> Iterator[TrainingEvent]:
    """Train a network.

    Parameters
    ----------
    task
        Data, network, loss and figures of the method.
    settings
        How to train.
    output
        Folder for ``best.safetensors`` (the weights to use, with their card) and
        ``last.safetensors`` (the state to go on from).
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    monitor
        Takes progress; a cancelled run stops within a batch, and its state is saved. A paused one
        saves its state and waits.
    resume
        Go on from the state in `output`, with the same weights in the end as if it had never been
        interrupted; where nothing was saved yet, start from the beginning.
    overwrite
        Replace a run that is in `output`.
    initial
        Weights to start from, for fine-tuning; None for those that the task builds.

    Yields
    ------
    TrainingEvent
        In order of what happens; the last is `Finished`. Under several processes only the first
        yields any.

    Raises
    ------
    OutputExistsError, TrainingError
        The folder cannot be used, which is raised at once; or the training failed: diverged, its
        device lost or out of memory.
    LeakageError
        The same eye is in training and validation.
    DeviceError
        The device cannot be used.
    Cancelled
        The run was cancelled; it can be resumed.

    Notes
    -----
    Batches and all random numbers are functions of seed, epoch, step and the batch's number in the
    step, so that these counters are the whole state of samplers and generators. On the CPU a run is
    repeatable to the bit with the same number of threads, and on a GPU with ``deterministic`` as
    far as torch has such operations.

    A step follows the mean gradient of ``accumulate`` batches on each of ``devices``. How these
    numbers divide their product changes nothing but rounding, and the running averages of batch
    norm, which are those of the first process.
    """
    folder = Path(output)
    chosen = choose_device(device, supported=("cpu", "cuda", "mps"))
    check_output(folder, resume=resume, overwrite=overwrite)
    run = TrainingRun(task, settings, folder, chosen, monitor or Monitor(), initial)
    return _events(run, resume=resume)


def _events(run: TrainingRun, *, resume: bool) -> Iterator[TrainingEvent]:
    settings, task = run.settings, run.task
    run.monitor.step(0.0, "reading the data")
    facts = task.prepare(settings, run.monitor)
    seen = run.initial.card.split if run.initial else None
    leaks, warnings = check_data(facts, allow_leakage=settings.allow_leakage, seen_before=seen)
    with run.environment():
        run.set_up(facts)
        if resume and (run.folder / LAST_FILE).exists():
            run.load()
        report = preflight(run, leaks, warnings)
        events = _train(run)
        if run.is_rank_zero:
            if (patches := run.patches()) is not None:
                yield patches
            try:
                yield Started(report, run.epoch, run.step)
            except GeneratorExit:
                run.cancel_other_ranks()
                raise
            yield from events
        else:
            for _ in events:
                pass


def _train(run: TrainingRun) -> Iterator[TrainingEvent]:
    try:
        if run.settings.scheme == "none":
            yield from _end_epoch(run)
            yield _finished(run, "nothing to train")
            return
        while (reason := _reason_to_stop(run)) is None:
            yield from _epoch(run)
            yield from _end_epoch(run)
        yield _finished(run, reason)
    except Cancelled:
        run.save()
        raise Cancelled(
            f"Cancelled in epoch {run.epoch + 1}. The state is saved in {run.folder}: resume to go "
            "on."
        ) from None
    except RuntimeError as error:
        if message := _device_error_message(error, run):
            raise TrainingError(message) from error
        raise


def _device_error_message(error: RuntimeError, run: TrainingRun) -> str:
    """Return what to do about a device that failed; empty if it did not."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"{run.device.title} has no memory left for a batch of {run.settings.batch_size}. "
            "Start anew with half the batch_size and twice the batches a step (accumulate), or "
            "with smaller patches."
        )
    if is_lost(run.device, error):
        return (
            f"{run.device.title} no longer answers: {str(error).partition(chr(10))[0]}. Resume the "
            f"run in {run.folder} once it works, or on another device."
        )
    return ""


def _reason_to_stop(run: TrainingRun) -> StopReason | None:
    if run.schedule.should_stop:
        return "early stopping"
    if run.epoch >= run.settings.max_epochs:
        return "epochs"
    # At least one epoch, however short the limit: else there would be no weights to keep.
    return "time" if run.history and run.out_of_time() else None


def _epoch(run: TrainingRun) -> Iterator[TrainingEvent]:
    """Make the steps of an epoch, or the rest of one that was interrupted."""
    run.prepare_epoch()
    with run.prefetcher() as prefetcher:
        for _step, batches in prefetcher.steps(run.step, run.steps_per_epoch):
            if run.monitor.paused:
                # Who pauses may well turn the machine off.
                run.save()
                yield CheckpointSaved(run.folder / LAST_FILE, "last")
            run.report_progress()
            rate = run.make_step(batches)
            if run.step % run.settings.report_every == 0 or run.step == run.steps_per_epoch:
                yield Step(run.epoch, run.step, run.pop_mean_loss(), rate)
            if run.save_is_due() and run.step < run.steps_per_epoch:
                run.save()
                yield CheckpointSaved(run.folder / LAST_FILE, "last")
            if run.out_of_time():
                break
        run.clock.add_wait(prefetcher.wait_seconds)


def _end_epoch(run: TrainingRun) -> Iterator[TrainingEvent]:
    """Validate, keep the weights if they are the best, and save the state."""
    metrics = run.validate()
    improved = run.schedule.record_epoch(run.epoch, metrics[run.task.best_metric])
    run.history.append(metrics)
    yield EpochEnd(run.epoch, metrics, improved, run.task.best_metric)
    if improved:
        run.save_best(metrics)
        yield CheckpointSaved(run.folder / BEST_FILE, "best")
    every = run.settings.preview_every
    if every and (run.epoch + 1) % every == 0:
        yield Preview(run.epoch, run.preview_images())
    run.advance_epoch()
    run.save()
    yield CheckpointSaved(run.folder / LAST_FILE, "last")


def _finished(run: TrainingRun, reason: StopReason) -> Finished:
    run.monitor.step(1.0, "done")
    best = run.schedule.best_epoch
    return Finished(
        reason=reason,
        best=Best(
            run.folder / BEST_FILE,
            best,
            run.history[best],
            run.task.best_metric,
            run.task.higher_is_better,
        ),
        epochs=run.epoch,
        steps=run.total_steps,
        seconds=run.clock.elapsed(),
        wait_share=run.clock.wait_share,
    )
