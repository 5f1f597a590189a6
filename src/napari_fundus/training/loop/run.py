"""One run of the training loop: its single actions, its counters, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_fundus.checkpoints import Checkpoint, Parent, Split
from napari_fundus.errors import Cancelled, DivergedError, TrainingError
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.runtime.devices import Device, preferred_precision
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop import state
from napari_fundus.training.loop.clock import TrainingClock
from napari_fundus.training.loop.distributed import DistributedContext, all_reduce_sums
from napari_fundus.training.loop.events import Patches
from napari_fundus.training.loop.fabric import deterministic_algorithms, make_fabric, seeded
from napari_fundus.training.loop.freezing import set_training_mode
from napari_fundus.training.loop.learner import Learner, load_weights
from napari_fundus.training.loop.prefetch import Prefetcher, pin_batch
from napari_fundus.training.loop.preflight import DataSummary
from napari_fundus.training.loop.schedule import Schedule
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task

if TYPE_CHECKING:
    from torch import Tensor

_EPOCH_START, _VALIDATION = 1 << 40, 1 << 41
"""Steps that no epoch has, to seed what happens before and after its steps."""


class TrainingRun:
    """The state of a training, and its single actions, which `loop` calls in order.

    Parameters
    ----------
    task, settings, folder, device, monitor, initial
        As in :func:`napari_fundus.training.loop.loop.train`.
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
        self.clock = TrainingClock(lambda: monitor.paused_seconds)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Launch the devices; use repeatable operations in the block, if that was asked for."""
        self.fabric = make_fabric(self.device, self.precision, self.settings.devices)
        self.distributed = DistributedContext(self.fabric)
        self.batches_per_step = self.settings.accumulate * self.distributed.count
        with deterministic_algorithms(enabled=self.settings.deterministic):
            yield

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the first, or only, process."""
        return self.distributed.rank == 0

    def set_up(self, facts: DataSummary) -> None:
        """Build network and optimizer, and put them on the device."""
        self.facts = facts
        with seeded(self.settings.seed):
            network = self.task.build()
        if self.initial is not None:
            load_weights(network, self.initial.tensors, self.initial.card.name)
        self.learner = Learner(network, self.task, self.settings, self.fabric)
        weights, trainable = self.learner.parameters, self.learner.trainable
        state.check_disk_space(self.folder, 4 * (weights * 3 + 2 * trainable))
        # The task counts batches: so many images are seen in an epoch, on however many devices.
        self.steps_per_epoch = self.settings.steps_per_epoch or -(
            -self.task.steps_per_epoch(self.settings) // self.batches_per_step
        )
        if self.steps_per_epoch < 1:
            raise TrainingError("An epoch has no step: there are too few data for one batch.")
        self.schedule = Schedule(
            self.settings, self.steps_per_epoch, higher_is_better=self.task.higher_is_better
        )

    def prepare_epoch(self) -> None:
        """Put the network into training mode; call the task's hook unless the epoch is resumed."""
        self.clock.prepare_epoch()
        if self.step == 0:
            self._epoch_loss = 0.0
            with seeded(self.settings.seed, self.epoch, _EPOCH_START, device=self.device):
                self.task.start_epoch(self.learner.fabric_module, self.epoch)
        set_training_mode(self.learner.network, self.settings.scheme)

    def _keys(self, epoch: int, step: int) -> list[tuple[int, ...]]:
        """Return what this process's batches of a step are drawn and varied from."""
        rank, count = self.distributed.rank, self.distributed.count
        parts = range(rank, self.batches_per_step, count)
        return [(self.settings.seed, epoch, step, part) for part in parts]

    def prefetcher(self) -> Prefetcher[list[Any]]:
        """Return the source of this epoch's steps: for each the batches of this process."""
        settings, epoch = self.settings, self.epoch

        def make(step: int) -> list[Any]:
            keys = self._keys(epoch, step)
            return [pin_batch(self.task.batch(settings, key), self.device) for key in keys]

        prefetch_count = max(4 // settings.accumulate, 1)
        return Prefetcher(make, prefetch_count=prefetch_count, threads=settings.data_threads)

    def report_progress(self) -> None:
        """Report the progress; raise `Cancelled` in all processes if one is cancelled."""
        total = self.settings.max_epochs * self.steps_per_epoch
        fraction = (self.epoch * self.steps_per_epoch + self.step) / total
        if self.settings.max_minutes:
            fraction = max(fraction, self.clock.elapsed() / 60 / self.settings.max_minutes)
        try:
            self.monitor.step(0.99 * fraction, f"epoch {self.epoch + 1}, step {self.step + 1}")
        except Cancelled:
            self._synchronize(cancelled=True)
        self._synchronize()

    def cancel_other_ranks(self) -> None:
        """Stop the other processes before their first step too."""
        with suppress(Cancelled):
            self._synchronize(cancelled=True)

    def _synchronize(self, *, cancelled: bool = False) -> None:
        self.distributed.synchronize(cancelled=cancelled, elapsed=self.clock.elapsed())

    def make_step(self, batches: list[Any]) -> float:
        """Follow the mean gradient of all processes' batches; return the learning rate."""
        learner = self.learner
        rate = learner.set_learning_rate(
            self.schedule.factor(self.epoch, self.step, self.distributed.elapsed)
        )
        losses: list[Tensor] = []
        for number, key in enumerate(keys := self._keys(self.epoch, self.step), start=1):
            with (
                seeded(*key, device=self.device),
                learner.gradient_accumulation(last=number == len(keys)),
            ):
                batch = self.task.augment(self.fabric.to_device(batches[number - 1]))
                loss = self.task.loss(learner.fabric_module, batch) / len(keys)
                learner.backward(loss)
            losses.append(loss.detach().float())
        learner.step()
        self._loss_sum = self._loss_sum + self.distributed.mean(sum(losses[1:], losses[0]))
        self._reported += 1
        self.step += 1
        self.total_steps += 1
        return rate

    def pop_mean_loss(self) -> float:
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

        settings, task, distributed = self.settings, self.task, self.distributed
        network = self.learner.eval_network
        distributed.broadcast_buffers(network)
        network.eval()
        sums: dict[str, float] = {}
        steps = range(distributed.rank, task.validation_steps(settings), distributed.count)

        def make(step: int) -> Any:
            return pin_batch(task.validation_batch(settings, steps[step]), self.device)

        with (
            seeded(settings.seed, self.epoch, _VALIDATION, device=self.device),
            torch.inference_mode(),
            self.fabric.autocast(),
            Prefetcher(make, threads=settings.data_threads) as prefetcher,
        ):
            for _, batch in prefetcher.steps(0, len(steps)):
                try:
                    self.monitor.check()
                except Cancelled:
                    break  # all processes end distributed, below
                for name, value in task.validate(network, self.fabric.to_device(batch)).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        self._synchronize(cancelled=self.monitor.cancelled)
        sums = all_reduce_sums(sums, distributed.count)
        if self._reported:
            self.pop_mean_loss()
        found = {name: float(value) for name, value in task.metrics(sums).items()}
        if self.step:
            found["train_loss"] = self._epoch_loss / self.step
        if task.best_metric not in found or not math.isfinite(found[task.best_metric]):
            raise TrainingError(
                f"{task.name} gave no finite {task.best_metric!r} for epoch {self.epoch + 1}."
            )
        return found

    def patches(self) -> Patches | None:
        """Return patches of the first step, if that was asked for."""
        if not self.settings.show_patches:
            return None
        with seeded(self.settings.seed, 0, 0, self.distributed.rank, device=self.device):
            return self.task.patches(self.settings)

    def preview_images(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the task's pictures."""
        import torch

        network = self.learner.eval_network
        network.eval()
        with (
            seeded(self.settings.seed, self.epoch, _VALIDATION, device=self.device),
            torch.inference_mode(),
            self.fabric.autocast(),
        ):
            return self.task.preview(network)

    def advance_epoch(self) -> None:
        """Advance the counters to the next epoch."""
        self.epoch += 1
        self.step = 0
        self._epoch_loss = 0.0

    def save_best(self, metrics: Mapping[str, float]) -> None:
        """Write the weights with their card."""
        if not self.is_rank_zero:
            return
        card = self.task.card(self.settings)
        parent = self.initial and Parent(name=self.initial.card.name, sha256=self.initial.sha256)
        training = {**self.settings.model_dump(mode="json"), "precision": self.precision}
        card = card.model_copy(
            update={
                "recipe": {**card.recipe, "training": training},
                "metrics": {**card.metrics, **metrics, "epoch": float(self.epoch)},
                "parent": parent or card.parent,
                "split": Split(
                    train=tuple(s.id for s in self.facts.train.samples),
                    validation=tuple(s.id for s in self.facts.validation.samples),
                    train_images=self._seen_images(),
                    validation_images=self.facts.validation.identities(),
                ),
            }
        )
        tensors = self.task.checkpoint_tensors(self.learner.eval_network.state_dict())
        state.save(self.folder / state.BEST_FILE, tensors, card)

    def _seen_images(self) -> tuple[ImageIdentity, ...]:
        """Return all photographs that the weights have seen, here and before; empty if not all."""
        own = self.facts.train.identities()
        if len(own) < len(self.facts.train.samples):
            return ()
        before = () if self.initial is None else self.initial.card.split.train_images
        return tuple({x.sha256: x for x in (*before, *self.facts.other_views, *own)}.values())

    def save(self) -> None:
        """Write the state to resume from."""
        self.clock.mark_saved()
        if not self.is_rank_zero:
            return
        if self._reported:
            self.pop_mean_loss()
        kept = {f"task.{name}": value for name, value in self.task.state().items()}
        numbers = {
            **self._resume_identity(),
            "epoch": self.epoch,
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch_loss": self._epoch_loss,
            "seconds": self.clock.elapsed(),
            "schedule": self.schedule.state(),
            "history": self.history,
        }
        tensors = {**self.learner.state_tensors(), **kept}
        state.write_state(self.folder / state.LAST_FILE, tensors, numbers, self.task.name)

    def _resume_identity(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with the saved one."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "batches_a_step": self.batches_per_step,
            "train": [s.id for s in self.facts.train.samples],
            "validation": [s.id for s in self.facts.validation.samples],
            "content": {
                sample.id: sample.content
                for sample in (*self.facts.train.samples, *self.facts.validation.samples)
            },
        }

    def load(self) -> None:
        """Restore what :meth:`save` wrote.

        Raises
        ------
        TrainingError
            Settings, data or network are others than those of the run.
        """
        tensors, numbers = state.read_state(self.folder / state.LAST_FILE, self.task.name)
        state.check_unchanged(self.folder, numbers, self._resume_identity())
        self.learner.load(tensors)
        self.task.load_state(state.select_prefix(tensors, "task."))
        self.epoch, self.step = numbers["epoch"], numbers["step"]
        self.total_steps, self._epoch_loss = numbers["total_steps"], numbers["epoch_loss"]
        self.history = numbers["history"]
        self.clock.restore_elapsed(numbers["seconds"])
        self.schedule.load_state(numbers["schedule"])
        self._synchronize()

    def save_is_due(self) -> bool:
        """Whether the last saved state is older than the settings allow."""
        return self.clock.seconds_since_save() >= 60 * self.settings.save_minutes

    def out_of_time(self) -> bool:
        """Whether the time limit was reached when the processes last agreed on the time."""
        limit = self.settings.max_minutes
        return bool(limit) and self.distributed.elapsed >= 60 * limit
