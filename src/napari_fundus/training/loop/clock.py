"""The time of a run: in all sessions together, since the last save, and waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable


class TrainingClock:
    """Measures the time of a run without its pauses, from its creation on.

    Parameters
    ----------
    paused_seconds
        Returns the seconds that the run was paused.

    Examples
    --------
    >>> clock = TrainingClock()
    >>> clock.restore_elapsed(60.0)
    >>> 60 <= clock.elapsed() < 61
    True
    """

    def __init__(self, paused_seconds: Callable[[], float] = float) -> None:
        self._paused_seconds = paused_seconds
        self._before = 0.0
        self._start = self._saved_at = self._epoch_start = self._now()
        self._waited = self._stepping = 0.0

    def _now(self) -> float:
        return time.perf_counter() - self._paused_seconds()

    def restore_elapsed(self, seconds: float) -> None:
        """Start from 0 again, and add `seconds` of earlier sessions."""
        self._before = seconds
        self._start = self._now()

    def elapsed(self) -> float:
        """Return the seconds of the run, in all sessions together."""
        return self._before + self._now() - self._start

    def mark_saved(self) -> None:
        """Record that the state was saved just now."""
        self._saved_at = self._now()

    def seconds_since_save(self) -> float:
        """Return the seconds since the state was saved."""
        return self._now() - self._saved_at

    def prepare_epoch(self) -> None:
        """Record that the steps of an epoch start."""
        self._epoch_start = self._now()

    def add_wait(self, waited: float) -> None:
        """Add the seconds waited for batches; is called at the end of an epoch's steps."""
        self._waited += waited
        self._stepping += self._now() - self._epoch_start

    @property
    def wait_share(self) -> float:
        """Share of the time in steps that was spent waiting for batches."""
        return self._waited / self._stepping if self._stepping else 0.0
