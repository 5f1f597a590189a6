"""Work in a thread, with progress and its end as Qt signals, and errors as notifications."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from napari.qt.threading import create_worker
from napari.utils.notifications import Notification, notification_manager, show_warning
from qtpy.QtCore import QCoreApplication, QObject, QThreadPool, Signal

from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.runtime.progress import Monitor, Progress

_INTERVAL = 0.05
_EXIT_TIMEOUT_MS = 20_000
"""How long Python waits for threads at its end: nothing can stop an import of torch."""

_jobs: WeakSet[ThreadJob] = WeakSet()


@atexit.register
def _wait_for_jobs_at_exit() -> None:
    """Wait for running threads before Python ends, since they would fail with tracebacks.

    Jobs still run here when a script closes its viewer without an event loop.
    """
    for job in list(_jobs):
        job.cancel_silently()
    if _jobs and (pool := QThreadPool.globalInstance()) is not None:
        pool.waitForDone(_EXIT_TIMEOUT_MS)


class ThreadJob(QObject):
    """One function that runs in a thread of its own.

    The function must not touch a viewer, a layer or a widget: it takes values and returns values.
    All signals are emitted in the main thread, `ended` last.

    Parameters
    ----------
    work
        Called in the thread with a :class:`~napari_fundus.runtime.progress.Monitor`.
    """

    progressed = Signal(float, str)
    returned = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    ended = Signal()

    def __init__(self, work: Callable[[Monitor], Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.monitor = Monitor(self._report)
        self._last = 0.0
        self._emits = True
        # Without ignore_errors the error is raised again inside a Qt slot, which ends the process.
        self._worker = create_worker(work, self.monitor, _ignore_errors=True, _start_thread=False)
        self._worker.returned.connect(self._on_returned)
        self._worker.errored.connect(self._on_errored)
        self._worker.finished.connect(self.deleteLater)
        application = QCoreApplication.instance()
        if application is not None:
            # Else the process would live on until the last detector is done.
            application.aboutToQuit.connect(self.cancel_silently)

    def start(self) -> ThreadJob:
        """Start the function."""
        _jobs.add(self)
        self._worker.finished.connect(lambda: _jobs.discard(self))
        self._worker.start()
        return self

    def cancel(self) -> None:
        """Ask the function to stop at its next step."""
        self.monitor.cancel()

    def cancel_silently(self) -> None:
        """Cancel, and emit nothing more."""
        self._emits = False
        self.monitor.cancel()

    def _report(self, progress: Progress) -> None:
        """Emit progress, at most twenty times a second; called in the job's thread."""
        now = time.monotonic()
        if self._emits and progress.paused:
            self.progressed.emit(progress.fraction, "paused")
        elif self._emits and (now - self._last >= _INTERVAL or progress.fraction >= 1):
            self._last = now
            self.progressed.emit(progress.fraction, progress.message)

    def _on_returned(self, result: Any) -> None:
        if not self._emits:
            return
        if self.monitor.cancelled:
            self.cancelled.emit()
        else:
            self.returned.emit(result)
        self.ended.emit()

    def _on_errored(self, error: Exception) -> None:
        if not self._emits:
            return
        if isinstance(error, Cancelled):
            self.cancelled.emit()
        else:
            self.failed.emit(error)
        self.ended.emit()


class JobSlot:
    """Runs one job at a time: the last one started counts, those before it emit nothing more.

    Parameters
    ----------
    parent
        With which the jobs end.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        self._parent = parent
        self.job: ThreadJob | None = None
        """The job that is running."""

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None

    def start(
        self,
        work: Callable[[Monitor], Any],
        returned: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> ThreadJob:
        """Run a function in a thread; the slot is free again before anything else is called.

        Parameters
        ----------
        work
            As for :class:`ThreadJob`.
        returned
            Called in the main thread with the function's value.
        failed
            Called in the main thread with its error; by default a notification shows that.
        """
        self.cancel_silently()
        job = self.job = ThreadJob(work, self._parent)
        for signal in (job.returned, job.failed, job.cancelled):
            signal.connect(lambda *_: self._release(job))
        if returned is not None:
            job.returned.connect(returned)
        job.failed.connect(failed or show_error)
        return job.start()

    def _release(self, job: ThreadJob) -> None:
        if self.job is job:
            self.job = None

    def cancel_silently(self) -> None:
        """Cancel the job, if there is one; it emits nothing more."""
        if self.job is not None:
            self.job.cancel_silently()
            self.job = None


def short_message(error: Exception) -> str:
    """Return what a widget writes of an error: the message of our own, no detail of any other."""
    return str(error) if isinstance(error, FundusError) else "Stopped by an error."


def show_error(error: Exception) -> None:
    """Show a notification: the message of our own errors, the traceback of any other."""
    if isinstance(error, FundusError | OSError):
        show_warning(str(error))
    else:
        notification_manager.dispatch(Notification.from_exception(error))
