"""Keeps an unfinished review on the disk while it goes on, off the main thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Lock

from qtpy.QtCore import QObject, Signal

from napari_fundus.gui.controls.thread_job import ThreadJob
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.review.autosave import SavedReview, delete_autosave, write_autosave
from napari_fundus.runtime.progress import Monitor

_IDLE_MS = 1500
"""Time without a command after which is saved."""

_MAX_DELAY_MS = 10_000
"""Time after which is saved even if commands come without a pause."""


class AutosaveTimer(QObject):
    """Saves a while after the last change, each review to a file of its own.

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
        self._replaces: tuple[Path, ...] = ()
        self._job: ThreadJob | None = None
        self._dirty = False
        self._lock, self._number = Lock(), 0
        self._written: dict[Path, int] = {}
        """Number of the latest save or deletion of a file: an earlier one comes too late."""
        self.written = Event()
        """Set once everything that was flushed is on the disk; to be waited for in a thread."""
        self.written.set()
        self._idle_timer = single_shot_timer(self, _IDLE_MS, self._on_timer)
        self._max_delay_timer = single_shot_timer(self, _MAX_DELAY_MS, self._on_timer)

    @property
    def busy(self) -> bool:
        """Whether something is still to be saved."""
        return self._dirty or self._job is not None

    def keep(self, path: Path | None, *, replaces: Iterable[Path] = ()) -> None:
        """Save to `path` from now on; None saves nowhere.

        What is not saved yet must have been flushed. Files that the review `replaces` are deleted
        as soon as it is saved.
        """
        self._rest()
        self._path, self._replaces = path, tuple(each for each in replaces if each != path)

    def touch(self) -> None:
        """Take note that something has changed."""
        if self._path is None:
            return
        self._dirty = True
        self._idle_timer.start()
        if not self._max_delay_timer.isActive():
            self._max_delay_timer.start()

    def flush(self) -> None:
        """Save now what has changed, also while another save is under way."""
        if not self._dirty or self._path is None:
            return
        self._rest()
        self._number += 1
        number, state, path, replaces = self._number, self._state(), self._path, self._replaces

        written = self.written = Event()

        def save(_: Monitor) -> None:
            try:
                with self._lock:
                    if self._written.get(path, 0) < number:
                        write_autosave(state, path)
                        self._written[path] = number
                        for each in replaces:
                            delete_autosave(each)
            finally:
                written.set()

        job = ThreadJob(save, self)
        job.failed.connect(self.failed)
        job.ended.connect(lambda: self._on_ended(job))
        self._job = job
        job.start()

    def finish(self) -> None:
        """Delete what was kept: the review is saved as corrections, or given up."""
        self._rest()
        if self._path is None:
            return
        self._number += 1
        with self._lock:
            self._written[self._path] = self._number
            for each in (self._path, *self._replaces):
                delete_autosave(each)

    def _rest(self) -> None:
        self._dirty = False
        self._idle_timer.stop()
        self._max_delay_timer.stop()

    def _on_timer(self) -> None:
        if self._job is None:
            self.flush()

    def _on_ended(self, job: ThreadJob) -> None:
        if self._job is job:
            self._job = None
            if self._dirty and not self._idle_timer.isActive():
                self.flush()
