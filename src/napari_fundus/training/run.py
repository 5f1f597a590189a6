"""One run of the training loop: network, optimizer, counters, and what is done with them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_fundus.checkpoints import Checkpoint, Parent, Split
from napari_fundus.devices import Device, preferred_precision
from napari_fundus.errors import CheckpointError, TrainingError
from napari_fundus.monitor import Monitor
from napari_fundus.training import state
from napari_fundus.training.dry import DryRun, measure
from napari_fundus.training.fabric import add_up, make_fabric, repeatable, seeded
from napari_fundus.training.freezing import freeze, set_training_mode
from napari_fundus.training.prefetch import Prefetcher
from napari_fundus.training.preflight import DataFacts, Preflight, part_report
from napari_fundus.training.schedule import Schedule
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Run"]

_EPOCH_START, _VALIDATION = 1 << 40, 1 << 41
"""Steps that no epoch has, to seed what happens before and after its steps."""

_MAY_CHANGE = frozenset(
    {"max_epochs", "max_minutes", "report_every", "save_minutes", "preview_every", "dry_steps"}
    | {"data_threads", "early_stopping", "allow_leakage"}
)
"""Settings that a resumed run may have otherwise than the one that was interrupted."""


class Run:
    """The state of a training, and its single actions; `loop` says in which order they come.

    Parameters
    ----------
    task, settings, folder, device, monitor, initial
        As in :func:`napari_fundus.training.loop.train`.
    """

    network: nn.Module
    optimizer: Optimizer
    schedule: Schedule

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        folder: Path,
        device: Device,
        monitor: Monitor,
        initial: Checkpoint | None,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.device, self.monitor, self.initial = device, monitor, initial
        self.precision = (
            preferred_precision(device) if settings.precision == "auto" else settings.precision
        )
        self.epoch = self.step = self.total_steps = 0
        self.history: list[dict[str, float]] = []
        self._loss_sum: Tensor | float = 0.0
        self._epoch_loss, self._reported = 0.0, 0
        self._before = 0.0
        self._start = self._saved_at = time.perf_counter()
        self._waited = self._stepping = 0.0

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Hold torch to repeatable operations while the block runs, if that was asked for."""
        self.fabric = make_fabric(self.device, self.precision, self.settings.devices)
        with repeatable(wanted=self.settings.deterministic):
            yield

    @property
    def is_first(self) -> bool:
        """Whether this is the first, or only, process."""
        return bool(self.fabric.global_rank == 0)

    def set_up(self, facts: DataFacts) -> None:
        """Build network and optimizer, and put them on the device."""
        import torch
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        self.facts = facts
        with seeded(self.settings.seed):
            network = self.task.build()
        if self.initial is not None:
            _load_weights(network, self.initial.tensors, self.initial.card.name)
        freeze(network, self.settings.scheme)
        if self.task.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.parameters = sum(p.numel() for p in network.parameters())
        self.trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        state.check_space(self.folder, 4 * (self.parameters * 3 + 2 * self.trainable))
        self.network = network
        if self.trainable:
            self.optimizer = make_optimizer(self.task, network, self.settings)
            self._wrapped, self._stepper = self.fabric.setup(network, self.optimizer)
        else:
            self._wrapped = network.to(self.fabric.device)
        self._average = None
        if self.settings.ema:
            rule = get_ema_multi_avg_fn(self.settings.ema)  # type: ignore[no-untyped-call]
            self._average = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
        self.steps_per_epoch = self.settings.steps_per_epoch or self.task.steps_per_epoch(
            self.settings
        )
        if self.steps_per_epoch < 1:
            raise TrainingError("An epoch has no step: there are too few data for one batch.")
        self.schedule = Schedule(
            self.settings, self.steps_per_epoch, higher_is_better=self.task.higher_is_better
        )

    def preflight(self, leaks: tuple[str, ...], warnings: tuple[str, ...]) -> Preflight:
        """Time a few steps on a copy, and return the report."""
        settings = self.settings
        dry = DryRun()
        if settings.dry_steps and self.trainable:
            optimizer = partial(make_optimizer, self.task, settings=settings)
            key = (settings.seed, 0, 0, self.fabric.global_rank)
            with seeded(*key, device=self.device):
                dry = measure(self.fabric, self.network, self.task, settings, optimizer, key)
        network_bytes = 4 * (self.parameters * (2 if settings.ema else 1) + 3 * self.trainable)
        if 0 < self.device.memory_bytes < network_bytes + dry.activation_bytes:
            warnings += (f"{self.device.title} may have too little memory: use smaller batches.",)
        estimate = None
        if dry.seconds_per_step is not None:
            epoch = dry.seconds_per_step * self.steps_per_epoch
            epoch += (dry.seconds_per_validation or 0) * self.task.validation_steps(settings)
            estimate = epoch * settings.max_epochs
            if settings.max_minutes:
                estimate = min(estimate, 60 * settings.max_minutes)
        return Preflight(
            task=self.task.name,
            device=self.device.name,
            precision=self.precision,
            scheme=settings.scheme,
            train=part_report(self.facts.train),
            validation=part_report(self.facts.validation),
            leaks=leaks,
            warnings=warnings,
            parameters=self.parameters,
            trainable=self.trainable,
            data_bytes=self.facts.memory_bytes,
            network_bytes=network_bytes,
            activation_bytes=dry.activation_bytes,
            steps_per_epoch=self.steps_per_epoch,
            max_epochs=settings.max_epochs,
            seconds_per_step=dry.seconds_per_step,
            estimated_seconds=estimate,
        )

    def begin_epoch(self) -> None:
        """Put the network into training mode; tell the task, unless the epoch was resumed."""
        self._clock = time.perf_counter()
        if self.step == 0:
            self._epoch_loss = 0.0
            with seeded(self.settings.seed, self.epoch, _EPOCH_START, device=self.device):
                self.task.start_epoch(self._wrapped, self.epoch)
        set_training_mode(self.network, self.settings.scheme)

    def prefetcher(self) -> Prefetcher[Any]:
        """Return the source of this epoch's batches."""
        settings, epoch, rank = self.settings, self.epoch, self.fabric.global_rank

        def make(step: int) -> Any:
            return self._pinned(self.task.batch(settings, (settings.seed, epoch, step, rank)))

        return Prefetcher(make, threads=settings.data_threads)

    def _pinned(self, batch: Any) -> Any:
        """Put a batch into memory from which a GPU can fetch it while it computes."""
        if self.device.kind != "cuda":
            return batch
        import torch
        from torch.utils._pytree import tree_map

        return tree_map(lambda x: x.pin_memory() if isinstance(x, torch.Tensor) else x, batch)

    def check_monitor(self) -> None:
        """Tell how far the run is, and raise `Cancelled` if it shall stop."""
        total = self.settings.max_epochs * self.steps_per_epoch
        fraction = (self.epoch * self.steps_per_epoch + self.step) / total
        if self.settings.max_minutes:
            fraction = max(fraction, self.elapsed() / 60 / self.settings.max_minutes)
        self.monitor.step(0.99 * fraction, f"epoch {self.epoch + 1}, step {self.step + 1}")

    def make_step(self, batch: Any) -> float:
        """Train on one batch; return the learning rate."""
        settings = self.settings
        factor = self.schedule.factor(self.epoch, self.step, self._agreed_time())
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        key = (settings.seed, self.epoch, self.step, self.fabric.global_rank)
        with seeded(*key, device=self.device):
            batch = self.task.augment(self.fabric.to_device(batch))
            loss = self.task.loss(self._wrapped, batch)
            self._stepper.zero_grad()
            self.fabric.backward(loss)
        if settings.clip_norm:
            self.fabric.clip_gradients(
                self._wrapped, self._stepper, max_norm=settings.clip_norm, error_if_nonfinite=False
            )
        self._stepper.step()
        if self._average is not None:
            self._average.update_parameters(self.network)
        self._loss_sum = self._loss_sum + loss.detach().float()
        self._reported += 1
        self.step += 1
        self.total_steps += 1
        return float(self.optimizer.param_groups[0]["lr"])

    def report_loss(self) -> float:
        """Return the mean loss since the last call; raise if it is not finite."""
        total = float(self._loss_sum)
        mean = total / max(self._reported, 1)
        self._loss_sum, self._reported = 0.0, 0
        if not math.isfinite(mean):
            raise TrainingError(
                f"The loss is {mean} at step {self.step} of epoch {self.epoch + 1}: the training "
                "diverged. Start again with a lower learning rate, a warm-up or clipped gradients."
            )
        self._epoch_loss += total
        return mean

    def validate(self) -> dict[str, float]:
        """Return the metrics of the weights as they are now."""
        import torch

        settings, task, rank = self.settings, self.task, self.fabric.global_rank
        network = self.evaluated
        network.eval()
        sums: dict[str, float] = {}
        steps = range(rank, task.validation_steps(settings), self.fabric.world_size)

        def make(step: int) -> Any:
            return self._pinned(task.validation_batch(settings, steps[step]))

        with (
            seeded(settings.seed, self.epoch, _VALIDATION, device=self.device),
            torch.inference_mode(),
            self.fabric.autocast(),
            Prefetcher(make, threads=settings.data_threads) as prefetcher,
        ):
            for _, batch in prefetcher.steps(0, len(steps)):
                self.monitor.check()
                for name, value in task.validate(network, self.fabric.to_device(batch)).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        sums = add_up(sums, self.fabric.world_size)
        if self._reported:
            self.report_loss()
        found = {name: float(value) for name, value in task.metrics(sums).items()}
        if self.step:
            found["train_loss"] = self._epoch_loss / self.step
        if task.best_metric not in found or not math.isfinite(found[task.best_metric]):
            raise TrainingError(
                f"{task.name} gave no finite {task.best_metric!r} for epoch {self.epoch + 1}."
            )
        return found

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self._average is None else self._average.module

    def preview_images(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the task's pictures."""
        import torch

        self.evaluated.eval()
        with (
            seeded(self.settings.seed, self.epoch, _VALIDATION, device=self.device),
            torch.inference_mode(),
            self.fabric.autocast(),
        ):
            return self.task.preview(self.evaluated)

    def next_epoch(self) -> None:
        """Turn the counters to the next epoch."""
        self.epoch += 1
        self.step = 0
        self._epoch_loss = 0.0

    def save_best(self, metrics: Mapping[str, float]) -> None:
        """Write the weights with their card."""
        if not self.is_first:
            return
        card = self.task.card(self.settings)
        parent = self.initial and Parent(name=self.initial.card.name, sha256=self.initial.sha256)
        card = card.model_copy(
            update={
                "recipe": {**card.recipe, "training": self.settings.model_dump(mode="json")},
                "metrics": {**card.metrics, **metrics, "epoch": float(self.epoch)},
                "parent": parent or card.parent,
                "split": Split(
                    train=tuple(s.id for s in self.facts.train.samples),
                    validation=tuple(s.id for s in self.facts.validation.samples),
                ),
            }
        )
        state.save(self.folder / state.BEST, self.evaluated.state_dict(), card)

    def save(self) -> None:
        """Write the state to go on from."""
        self._saved_at = time.perf_counter()
        if not self.is_first:
            return
        if self._reported:
            self.report_loss()
        tensors: dict[str, Tensor] = {}
        for prefix, values in (
            ("network.", self.network.state_dict()),
            ("average.", self._average.state_dict() if self._average is not None else {}),
            ("optimizer.", state.optimizer_tensors(self.optimizer) if self.trainable else {}),
            ("task.", self.task.state()),
        ):
            tensors.update({prefix + name: value for name, value in values.items()})
        numbers = {
            "settings": self.settings.model_dump(mode="json"),
            "train": [s.id for s in self.facts.train.samples],
            "validation": [s.id for s in self.facts.validation.samples],
            "epoch": self.epoch,
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch_loss": self._epoch_loss,
            "seconds": self.elapsed(),
            "schedule": self.schedule.state(),
            "history": self.history,
        }
        state.write_state(self.folder / state.LAST, tensors, numbers, self.task.name)

    def load(self) -> None:
        """Take back what :meth:`save` wrote.

        Raises
        ------
        TrainingError
            Settings, data or network are others than those of the run.
        """
        tensors, numbers = state.read_state(self.folder / state.LAST, self.task.name)
        now = self.settings.model_dump(mode="json")
        changed = [
            f"{name} was {numbers['settings'].get(name)!r} and is {value!r}"
            for name, value in now.items()
            if name not in _MAY_CHANGE and numbers["settings"].get(name) != value
        ]
        for name, samples in (("train", self.facts.train), ("validation", self.facts.validation)):
            if numbers[name] != [s.id for s in samples.samples]:
                changed.append(f"the images of the {name} part are others")
        if changed:
            raise TrainingError(
                f"{self.folder} cannot be resumed like this: {'; '.join(changed)}. Use the former "
                "ones, or another folder."
            )
        _load_weights(self.network, state.part(tensors, "network."), "last")
        if self._average is not None:
            self._average.load_state_dict(state.part(tensors, "average."))
        if self.trainable:
            state.load_optimizer(self.optimizer, state.part(tensors, "optimizer."))
        self.task.load_state(state.part(tensors, "task."))
        self.epoch, self.step = numbers["epoch"], numbers["step"]
        self.total_steps, self._epoch_loss = numbers["total_steps"], numbers["epoch_loss"]
        self._before, self.history = numbers["seconds"], numbers["history"]
        self._start = time.perf_counter()
        self.schedule.load_state(numbers["schedule"])

    def save_is_due(self) -> bool:
        """Whether the last saved state is older than the settings allow."""
        return time.perf_counter() - self._saved_at >= 60 * self.settings.save_minutes

    def elapsed(self) -> float:
        """Return the seconds of the run, in all sessions together."""
        return self._before + time.perf_counter() - self._start

    def _agreed_time(self) -> float:
        """Return the same time in all processes, which must do the same."""
        if self.fabric.world_size == 1 or not self.settings.max_minutes:
            return self.elapsed()
        return float(self.fabric.broadcast(self.elapsed()))

    def out_of_time(self) -> bool:
        """Whether the time limit is reached."""
        limit = self.settings.max_minutes
        return bool(limit) and self._agreed_time() >= 60 * limit

    def count_wait(self, waited: float) -> None:
        """Add up the time waited for batches, of that of the whole epoch's steps."""
        self._waited += waited
        self._stepping += time.perf_counter() - self._clock

    @property
    def wait_share(self) -> float:
        """Share of the time in steps that was spent waiting for batches."""
        return self._waited / self._stepping if self._stepping else 0.0


def make_optimizer(task: Task, network: nn.Module, settings: TrainingSettings) -> Optimizer:
    """Return the optimizer; each group keeps its first learning rate as ``"initial_lr"``."""
    import torch

    groups = list(task.parameter_groups(network, settings))
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer: Optimizer
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=settings.momentum)
    else:
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(groups, lr=rate, weight_decay=decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _load_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights {name!r} do not fit the network: {' '.join(str(error).split())[:300]}. "
            "Build it with the architecture of their model card."
        ) from error
