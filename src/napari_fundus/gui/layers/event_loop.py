"""Work in the main thread piece by piece, so that the window draws and answers in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qtpy.QtCore import QObject, QTimer

_PAUSE_MS = 15
"""Between two pieces; without it Qt may do two of them before it looks at the mouse."""


def single_shot_timer(parent: QObject, milliseconds: int, action: Callable[[], object]) -> QTimer:
    """Return a timer that calls `action` once, `milliseconds` after it was started.

    Unlike superqt's throttled and debounced functions it says whether a call is pending.
    """
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(action)
    return timer


class StepRunner(QObject):
    """Does each piece of a work in a turn of the event loop of its own.

    For what only the main thread may do, such as letting layers come and go: napari needs some
    0.1 s for each, whatever its size.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work: Iterator[None] = iter(())
        self._then: Callable[[], None] | None = None
        self._timer = single_shot_timer(self, _PAUSE_MS, self._next)
        # The pause begins when the loop is reached, after whatever the piece left to be drawn.
        self._loop = single_shot_timer(self, 0, self._timer.start)

    @property
    def busy(self) -> bool:
        """Whether there is something left to do."""
        return bool(self._loop.isActive() or self._timer.isActive())

    def start(
        self, work: Iterator[None], then: Callable[[], None], *, first_step_now: bool = False
    ) -> None:
        """Do each step of `work` in a turn, and `then` in the last; what was under way is left.

        Parameters
        ----------
        work
            Yields after each step.
        then
            What follows.
        first_step_now
            Whether the first step is done now; and `then` too, where there is no step to do.
        """
        self.stop()
        self._work, self._then = work, then
        if first_step_now:
            self._next()
        else:
            self._loop.start()

    def finish(self) -> None:
        """Do all that is left now."""
        while self.busy:
            self._rest()
            self._next()

    def stop(self) -> None:
        """Leave the rest undone."""
        self._rest()
        self._work, self._then = iter(()), None

    def _rest(self) -> None:
        self._loop.stop()
        self._timer.stop()

    def _next(self) -> None:
        done = object()
        if next(self._work, done) is not done:
            # Unless that very step stopped or replaced the work, which starts the timer itself.
            if self._then is not None:
                self._loop.start()
            return
        then = self._then
        self.stop()
        if then is not None:
            then()
