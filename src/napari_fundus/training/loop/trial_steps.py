"""A few steps on a copy of the network, to tell time and memory before the run starts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_fundus.training.loop.freezing import set_training_mode
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["TrialTiming", "time_trial_steps"]


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


def time_trial_steps(
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
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
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
        seconds, checking, sum(n for place, n in kept.items() if place not in weights)
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
