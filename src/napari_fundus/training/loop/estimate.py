"""The report before a run's first step, with time and memory measured on a copy of the network."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_fundus.training.loop.fabric import seeded
from napari_fundus.training.loop.freezing import set_training_mode
from napari_fundus.training.loop.learner import make_optimizer
from napari_fundus.training.loop.preflight import Preflight, split_report
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from napari_fundus.training.loop.run import TrainingRun


@dataclass(frozen=True)
class TrialTiming:
    """What was measured.

    Attributes
    ----------
    seconds_per_step, seconds_per_validation
        Shortest time of a training batch, and of a validation batch; None if not measured.
    activation_bytes
        Memory that a step keeps for the gradients.
    """

    seconds_per_step: float | None = None
    seconds_per_validation: float | None = None
    activation_bytes: int = 0


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
    key = (settings.seed, 0, 0, run.distributed.rank)
    with seeded(*key, device=run.device):
        dry = _run_trial_steps(run.fabric, run.learner.network, run.task, settings, optimizer, key)
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


def _run_trial_steps(
    fabric: Fabric,
    network: nn.Module,
    task: Task,
    settings: TrainingSettings,
    optimizer_factory: Callable[[nn.Module], Optimizer],
    key: tuple[int, ...],
) -> TrialTiming:
    """Make ``settings.dry_steps`` steps after one that warms up; `network` itself is untouched."""
    import torch

    trial = copy.deepcopy(network)
    set_training_mode(trial, settings.scheme)
    optimizer = optimizer_factory(trial)
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def step() -> None:
        batch = task.augment(fabric.to_device(task.batch(settings, key)))
        with fabric.autocast():
            loss = task.loss(trial, batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    weights = {p.untyped_storage().data_ptr() for p in trial.parameters()}
    seconds = _min_seconds(step, settings.dry_steps, fabric)
    trial.eval()

    def validation() -> Any:
        batch = fabric.to_device(task.validation_batch(settings, 0))
        with torch.inference_mode(), fabric.autocast():
            return task.validate(trial, batch)

    checking = None
    if task.validation_steps(settings):
        checking = _min_seconds(validation, 2, fabric)
    return TrialTiming(
        seconds, checking, sum(size for address, size in storages.items() if address not in weights)
    )


def _min_seconds(work: Callable[[], Any], times: int, fabric: Fabric) -> float:
    import torch

    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        elif fabric.device.type == "mps":
            torch.mps.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)
