"""Work in the main thread piece by piece, so that the window draws and answers in between."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Callable, Iterator

from qtpy.QtCore import QObject, QTimer

__all__ = ["Turns"]

_PAUSE_MS = 15
"""Between two pieces; without it Qt may do two of them before it looks at the mouse."""


class Turns(QObject):
    """Does each piece of a work in a turn of the event loop of its own.

    For what only the main thread may do, such as letting layers come and go: napari needs some
    0.1 s for each, whatever its size.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work: Iterator[None] = iter(())
        self._then: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._next)

    @property
    def busy(self) -> bool:
        """Whether there is something left to do."""
        return bool(self._timer.isActive())

    def start(self, work: Iterator[None], then: Callable[[], None]) -> None:
        """Do each step of `work` in a turn, and `then` in the last; what was under way is left."""
        self._work, self._then = work, then
        self._timer.start()

    def stop(self) -> None:
        """Leave the rest undone."""
        self._timer.stop()
        self._work, self._then = iter(()), None

    def _next(self) -> None:
        done = object()
        if next(self._work, done) is not done:
            # Unless that very step stopped or replaced the work, which starts the timer itself.
            if self._then is not None:
                self._timer.start()
            return
        then = self._then
        self.stop()
        if then is not None:
            then()
