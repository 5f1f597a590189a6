"""One run of the training loop: its single actions, its counters, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_fundus.checkpoints import Checkpoint, Parent, Split
from napari_fundus.devices import Device, preferred_precision
from napari_fundus.errors import DivergedError, TrainingError
from napari_fundus.monitor import Monitor
from napari_fundus.training import state
from napari_fundus.training.clock import Clock
from napari_fundus.training.events import Patches
from napari_fundus.training.fabric import add_up, make_fabric, repeatable, seeded
from napari_fundus.training.freezing import set_training_mode
from napari_fundus.training.learner import Learner, load_weights
from napari_fundus.training.prefetch import Prefetcher, pinned
from napari_fundus.training.preflight import DataFacts
from napari_fundus.training.schedule import Schedule
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Run"]

_EPOCH_START, _VALIDATION = 1 << 40, 1 << 41
"""Steps that no epoch has, to seed what happens before and after its steps."""


class Run:
    """The state of a training, and its single actions; `loop` says in which order they come.

    Parameters
    ----------
    task, settings, folder, device, monitor, initial
        As in :func:`napari_fundus.training.loop.train`.
    """

    learner: Learner
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
        self.clock = Clock(lambda: monitor.held)

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
        self.facts = facts
        with seeded(self.settings.seed):
            network = self.task.build()
        if self.initial is not None:
            load_weights(network, self.initial.tensors, self.initial.card.name)
        self.learner = Learner(network, self.task, self.settings, self.fabric)
        weights, trainable = self.learner.parameters, self.learner.trainable
        state.check_space(self.folder, 4 * (weights * 3 + 2 * trainable))
        self.steps_per_epoch = self.settings.steps_per_epoch or self.task.steps_per_epoch(
            self.settings
        )
        if self.steps_per_epoch < 1:
            raise TrainingError("An epoch has no step: there are too few data for one batch.")
        self.schedule = Schedule(
            self.settings, self.steps_per_epoch, higher_is_better=self.task.higher_is_better
        )

    def begin_epoch(self) -> None:
        """Put the network into training mode; tell the task, unless the epoch was resumed."""
        self.clock.begin_epoch()
        if self.step == 0:
            self._epoch_loss = 0.0
            with seeded(self.settings.seed, self.epoch, _EPOCH_START, device=self.device):
                self.task.start_epoch(self.learner.wrapped, self.epoch)
        set_training_mode(self.learner.network, self.settings.scheme)

    def prefetcher(self) -> Prefetcher[Any]:
        """Return the source of this epoch's batches."""
        settings, epoch, rank = self.settings, self.epoch, self.fabric.global_rank

        def make(step: int) -> Any:
            batch = self.task.batch(settings, (settings.seed, epoch, step, rank))
            return pinned(batch, self.device)

        return Prefetcher(make, threads=settings.data_threads)

    def check_monitor(self) -> None:
        """Tell how far the run is, and raise `Cancelled` if it shall stop."""
        total = self.settings.max_epochs * self.steps_per_epoch
        fraction = (self.epoch * self.steps_per_epoch + self.step) / total
        if self.settings.max_minutes:
            fraction = max(fraction, self.clock.elapsed() / 60 / self.settings.max_minutes)
        self.monitor.step(0.99 * fraction, f"epoch {self.epoch + 1}, step {self.step + 1}")

    def make_step(self, batch: Any) -> float:
        """Train on one batch; return the learning rate."""
        settings, learner = self.settings, self.learner
        rate = learner.set_rate(self.schedule.factor(self.epoch, self.step, self._agreed_time()))
        key = (settings.seed, self.epoch, self.step, self.fabric.global_rank)
        with seeded(*key, device=self.device):
            batch = self.task.augment(self.fabric.to_device(batch))
            loss = self.task.loss(learner.wrapped, batch)
            learner.backward(loss)
        learner.step()
        self._loss_sum = self._loss_sum + loss.detach().float()
        self._reported += 1
        self.step += 1
        self.total_steps += 1
        return rate

    def report_loss(self) -> float:
        """Return the mean loss since the last call; raise if it is not finite."""
        total = float(self._loss_sum)
        mean = total / max(self._reported, 1)
        self._loss_sum, self._reported = 0.0, 0
        if not math.isfinite(mean):
            raise DivergedError(
                f"The loss is {mean} at step {self.step} of epoch {self.epoch + 1}: the training "
                "diverged. Start again with a lower learning rate, a warm-up or clipped gradients."
            )
        self._epoch_loss += total
        return mean

    def validate(self) -> dict[str, float]:
        """Return the metrics of the weights as they are now."""
        import torch

        settings, task, rank = self.settings, self.task, self.fabric.global_rank
        network = self.learner.evaluated
        network.eval()
        sums: dict[str, float] = {}
        steps = range(rank, task.validation_steps(settings), self.fabric.world_size)

        def make(step: int) -> Any:
            return pinned(task.validation_batch(settings, steps[step]), self.device)

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

    def patches(self) -> Patches | None:
        """Return what the network will be shown first, if that was asked for."""
        if not self.settings.show_patches:
            return None
        with seeded(self.settings.seed, 0, 0, self.fabric.global_rank, device=self.device):
            return self.task.patches(self.settings)

    def preview_images(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the task's pictures."""
        import torch

        network = self.learner.evaluated
        network.eval()
        with (
            seeded(self.settings.seed, self.epoch, _VALIDATION, device=self.device),
            torch.inference_mode(),
            self.fabric.autocast(),
        ):
            return self.task.preview(network)

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
        tensors = self.task.kept(self.learner.evaluated.state_dict())
        state.save(self.folder / state.BEST, tensors, card)

    def save(self) -> None:
        """Write the state to go on from."""
        self.clock.saved()
        if not self.is_first:
            return
        if self._reported:
            self.report_loss()
        kept = {f"task.{name}": value for name, value in self.task.state().items()}
        numbers = {
            **self._identity(),
            "epoch": self.epoch,
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch_loss": self._epoch_loss,
            "seconds": self.clock.elapsed(),
            "schedule": self.schedule.state(),
            "history": self.history,
        }
        tensors = {**self.learner.tensors(), **kept}
        state.write_state(self.folder / state.LAST, tensors, numbers, self.task.name)

    def _identity(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with the saved one."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "train": [s.id for s in self.facts.train.samples],
            "validation": [s.id for s in self.facts.validation.samples],
        }

    def load(self) -> None:
        """Take back what :meth:`save` wrote.

        Raises
        ------
        TrainingError
            Settings, data or network are others than those of the run.
        """
        tensors, numbers = state.read_state(self.folder / state.LAST, self.task.name)
        state.check_unchanged(self.folder, numbers, self._identity())
        self.learner.load(tensors)
        self.task.load_state(state.part(tensors, "task."))
        self.epoch, self.step = numbers["epoch"], numbers["step"]
        self.total_steps, self._epoch_loss = numbers["total_steps"], numbers["epoch_loss"]
        self.history = numbers["history"]
        self.clock.resume(numbers["seconds"])
        self.schedule.load_state(numbers["schedule"])

    def save_is_due(self) -> bool:
        """Whether the last saved state is older than the settings allow."""
        return self.clock.since_save() >= 60 * self.settings.save_minutes

    def _agreed_time(self) -> float:
        """Return the same time in all processes, which must do the same."""
        if self.fabric.world_size == 1 or not self.settings.max_minutes:
            return self.clock.elapsed()
        return float(self.fabric.broadcast(self.clock.elapsed()))

    def out_of_time(self) -> bool:
        """Whether the time limit is reached."""
        limit = self.settings.max_minutes
        return bool(limit) and self._agreed_time() >= 60 * limit
