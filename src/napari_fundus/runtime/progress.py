"""Progress, pausing and cancellation of long jobs, with no Qt in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import TypeVar

from napari_fundus.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    fraction
        Share of the work done, 0 to 1.
    message
        What is being done now, for people.
    paused
        Whether nothing is being done now, until the job is resumed.
    """

    fraction: float
    message: str = ""
    paused: bool = field(default=False, repr=False)


class _Control:
    """What a monitor and its parts have in common: the watcher's wishes."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.not_paused = threading.Event()
        self.not_paused.set()
        self.paused_seconds = 0.0


class Monitor:
    """The line between a running job and whoever watches it.

    The job calls :meth:`step` often (at least once a batch); the watcher may call :meth:`cancel`
    from any thread, and the job's next step raises :class:`~napari_fundus.errors.Cancelled`. After
    :meth:`pause` the job's next step waits until :meth:`resume` or :meth:`cancel`.

    Parameters
    ----------
    on_progress
        Called with each :class:`Progress`, in the job's own thread.

    Examples
    --------
    >>> seen = []
    >>> monitor = Monitor(seen.append)
    >>> for tile in monitor.track(range(4), message="tiles"):
    ...     pass
    >>> seen[-1]
    Progress(fraction=1.0, message='tiles')
    """

    def __init__(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._on_progress = on_progress
        self._control = _Control()
        self._last = Progress(0.0)

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to stop."""
        return self._control.cancelled.is_set()

    @property
    def paused(self) -> bool:
        """Whether the job was asked to wait."""
        return not self._control.not_paused.is_set()

    @property
    def paused_seconds(self) -> float:
        """Seconds that the job has spent waiting to go on."""
        return self._control.paused_seconds

    def cancel(self) -> None:
        """Ask the job to stop at its next step; one that is paused stops too."""
        self._control.cancelled.set()
        self._control.not_paused.set()

    def pause(self) -> None:
        """Ask the job to wait at its next step."""
        if not self.cancelled:
            self._control.not_paused.clear()

    def resume(self) -> None:
        """Let a job that is paused go on."""
        self._control.not_paused.set()

    def check(self) -> None:
        """Wait while paused, and raise `Cancelled` if the job was asked to stop."""
        if self.paused:
            self._wait()
        if self.cancelled:
            raise Cancelled("Cancelled. Nothing was changed.")

    def step(self, fraction: float, message: str = "") -> None:
        """Report that `fraction` (0 to 1) of the job is done, after :meth:`check`."""
        self.check()
        self.report(Progress(min(max(fraction, 0.0), 1.0), message))

    def report(self, progress: Progress) -> None:
        """Pass `progress` on at once, whatever was asked of the job."""
        self._last = progress
        if self._on_progress is not None:
            self._on_progress(progress)

    def _wait(self) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(self._last.fraction, self._last.message, paused=True))
        start = time.perf_counter()
        self._control.not_paused.wait()
        self._control.paused_seconds += time.perf_counter() - start

    def part(self, start: float, stop: float, *, prefix: str = "") -> Monitor:
        """Return a monitor whose 0 to 1 is `start` to `stop` of this one, controlled with it.

        Its messages begin with `prefix`.
        """
        span = stop - start

        def pass_on(progress: Progress) -> None:
            fraction = min(max(start + progress.fraction * span, 0.0), 1.0)
            self.report(Progress(fraction, prefix + progress.message, paused=progress.paused))

        child = Monitor(pass_on)
        child._control = self._control
        return child

    def track(
        self, items: Iterable[T], *, total: int | None = None, message: str = ""
    ) -> Iterator[T]:
        """Yield `items`, with a step after each; `total` is needed where `items` has no length."""
        if total is None:
            total = len(items) if isinstance(items, Sized) else 0
        for done, item in enumerate(items, start=1):
            self.check()
            yield item
            self.step(done / total if total else 0.0, message)
