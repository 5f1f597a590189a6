"""The report before a run's first step, with time and memory measured on a copy of the network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_fundus.training.loop.fabric import seeded
from napari_fundus.training.loop.learner import make_optimizer
from napari_fundus.training.loop.preflight import Preflight, split_report
from napari_fundus.training.loop.trial_steps import TrialTiming, time_trial_steps

if TYPE_CHECKING:
    from napari_fundus.training.loop.run import TrainingRun

__all__ = ["preflight"]


def preflight(run: TrainingRun, leaks: tuple[str, ...], warnings: tuple[str, ...]) -> Preflight:
    """Time a few steps on a copy, and return the report.

    Parameters
    ----------
    run
        Set up, and resumed where it is to be.
    leaks, warnings
        Of `check_data`; a warning is added where the device may have too little memory.
    """
    settings, learner = run.settings, run.learner
    dry = _time_trial_steps(run)
    if 0 < run.device.memory_bytes < learner.nbytes + dry.activation_bytes:
        warnings += (f"{run.device.title} may have too little memory: use smaller batches.",)
    return Preflight(
        task=run.task.name,
        device=run.device.name,
        precision=run.precision,
        scheme=settings.scheme,
        train=split_report(run.facts.train),
        validation=split_report(run.facts.validation),
        leaks=leaks,
        warnings=warnings,
        parameters=learner.parameters,
        trainable=learner.trainable,
        data_bytes=run.facts.memory_bytes,
        network_bytes=learner.nbytes,
        activation_bytes=dry.activation_bytes,
        steps_per_epoch=run.steps_per_epoch,
        max_epochs=settings.max_epochs,
        seconds_per_step=dry.seconds_per_step,
        estimated_seconds=_estimated_seconds(run, dry),
    )


def _time_trial_steps(run: TrainingRun) -> TrialTiming:
    """Make the dry steps that the settings ask for."""
    settings = run.settings
    if not settings.dry_steps or not run.learner.trainable:
        return TrialTiming()
    optimizer = partial(make_optimizer, run.task, settings=settings)
    key = (settings.seed, 0, 0, run.together.rank)
    with seeded(*key, device=run.device):
        dry = time_trial_steps(run.fabric, run.learner.network, run.task, settings, optimizer, key)
    if dry.seconds_per_step is None:
        return dry
    return replace(dry, seconds_per_step=dry.seconds_per_step * settings.accumulate)


def _estimated_seconds(run: TrainingRun, dry: TrialTiming) -> float | None:
    """Return the longest time of the run, in seconds; None where no step was timed."""
    if dry.seconds_per_step is None:
        return None
    settings = run.settings
    epoch = dry.seconds_per_step * run.steps_per_epoch
    epoch += (dry.seconds_per_validation or 0) * run.task.validation_steps(settings)
    seconds = epoch * settings.max_epochs
    return min(seconds, 60 * settings.max_minutes) if settings.max_minutes else seconds
