"""Keeps an unfinished review on the disk while it goes on, off the main thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_fundus.gui.controls.thread_job import ThreadJob
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.review.autosave import SavedReview, delete_autosave, write_autosave

_IDLE_MS = 1500
"""Time without a command after which is saved."""

_MAX_DELAY_MS = 10_000
"""Time after which is saved even if commands come without a pause."""


class AutosaveTimer(QObject):
    """Saves a while after the last change, one save at a time.

    Parameters
    ----------
    state
        Returns what is to be saved, with arrays that nobody changes any more; called in the main
        thread.
    """

    failed = Signal(object)

    def __init__(self, state: Callable[[], SavedReview], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._path: Path | None = None
        self._job: ThreadJob | None = None
        self._dirty = False
        self._idle_timer = single_shot_timer(self, _IDLE_MS, self.flush)
        self._max_delay_timer = single_shot_timer(self, _MAX_DELAY_MS, self.flush)

    @property
    def busy(self) -> bool:
        """Whether something is still to be saved."""
        return self._dirty or self._job is not None

    def keep(self, path: Path | None) -> None:
        """Save to `path` from now on; None saves nowhere."""
        self._path = path
        self._rest()

    def touch(self) -> None:
        """Take note that something has changed."""
        if self._path is None:
            return
        self._dirty = True
        self._idle_timer.start()
        if not self._max_delay_timer.isActive():
            self._max_delay_timer.start()

    def flush(self) -> None:
        """Save now what has changed."""
        if not self._dirty or self._path is None or self._job is not None:
            return
        self._rest()
        state, path = self._state(), self._path
        job = ThreadJob(lambda _: write_autosave(state, path), self)
        job.failed.connect(self.failed)
        job.ended.connect(self._ended)
        self._job = job
        job.start()

    def finish(self) -> None:
        """Delete what was kept: the review is saved as corrections, or given up."""
        self._rest()
        if self._path is not None:
            delete_autosave(self._path)

    def _rest(self) -> None:
        self._dirty = False
        self._idle_timer.stop()
        self._max_delay_timer.stop()

    def _ended(self) -> None:
        self._job = None
        if self._dirty and not self._idle_timer.isActive():
            self.flush()
