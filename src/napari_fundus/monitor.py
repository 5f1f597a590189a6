"""Progress and cancellation of long jobs, with no Qt in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import TypeVar

from napari_fundus.errors import Cancelled

__all__ = ["Monitor", "Progress"]

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
    """

    fraction: float
    message: str = ""


class Monitor:
    """The line between a running job and whoever watches it.

    The job calls :meth:`step` often (at least once a batch); the watcher may call :meth:`cancel`
    from any thread, and the job's next step raises :class:`~napari_fundus.errors.Cancelled`.

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
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the job to stop at its next step."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Cancelled` if the job was asked to stop; report nothing."""
        if self.cancelled:
            raise Cancelled("Cancelled. Nothing was changed.")

    def step(self, fraction: float, message: str = "") -> None:
        """Report that `fraction` (0 to 1) of the job is done, after :meth:`check`."""
        self.check()
        if self._on_progress is not None:
            self._on_progress(Progress(min(max(fraction, 0.0), 1.0), message))

    def part(self, start: float, stop: float) -> Monitor:
        """Return a monitor whose 0 to 1 is `start` to `stop` of this one, cancelled with it."""
        span = stop - start
        child = Monitor(lambda p: self.step(start + p.fraction * span, p.message))
        child._cancelled = self._cancelled
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
