"""The learning rate over a run, and when to stop; its whole state is five numbers."""

from __future__ import annotations

import math
from typing import Any

from napari_fundus.training.loop.settings import TrainingSettings


class Schedule:
    """Learning rate, plateau and early stopping.

    torch's own schedulers keep their state in attributes that only pickle stores faithfully, and
    know no end in time; this one is a formula of counters that JSON holds exactly.

    Parameters
    ----------
    settings
        Of the training.
    steps_per_epoch
        Steps of an epoch.
    higher_is_better
        Whether the watched metric is to grow.
    """

    def __init__(
        self, settings: TrainingSettings, steps_per_epoch: int, *, higher_is_better: bool
    ) -> None:
        self._settings = settings
        self._steps = steps_per_epoch
        self._sign = 1.0 if higher_is_better else -1.0
        self.best: float | None = None
        self.best_epoch = -1
        self._since_best = 0
        self._since_change = 0
        self._scale = 1.0

    def factor(self, epoch: int, step: int, elapsed: float) -> float:
        """Return what the learning rates are multiplied with.

        Parameters
        ----------
        epoch, step
            Counters from 0.
        elapsed
            Seconds since the start, which count for the schedule cosine under a time limit.
        """
        settings = self._settings
        done = epoch * self._steps + step
        factor = self._scale
        if settings.schedule == "cosine":
            progress = done / max(settings.max_epochs * self._steps, 1)
            if settings.max_minutes:
                progress = max(progress, elapsed / 60 / settings.max_minutes)
            factor = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        elif settings.schedule == "exponential":
            factor = settings.factor**epoch
        elif settings.schedule == "steps":
            factor = settings.factor ** sum(epoch >= milestone for milestone in settings.milestones)
        return factor * min(1.0, (done + 1) / (settings.warmup_steps + 1))

    def record_epoch(self, epoch: int, value: float) -> bool:
        """Take in the watched metric of an epoch; return whether it is the best so far."""
        improved = self.best is None or self._sign * value > self._sign * self.best
        if improved:
            self.best, self.best_epoch = value, epoch
            self._since_best = self._since_change = 0
            return True
        self._since_best += 1
        self._since_change += 1
        if self._settings.schedule == "plateau" and self._since_change >= self._settings.patience:
            self._scale *= self._settings.factor
            self._since_change = 0
        return False

    @property
    def should_stop(self) -> bool:
        """Whether early stopping ends the run."""
        return 0 < self._settings.early_stopping <= self._since_best

    def state(self) -> dict[str, Any]:
        """Return the state, fit for JSON."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "since_best": self._since_best,
            "since_change": self._since_change,
            "scale": self._scale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._since_best, self._since_change = state["since_best"], state["since_change"]
        self._scale = state["scale"]
