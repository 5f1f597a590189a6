"""Run and Cancel buttons with a progress bar, for every widget that starts a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.thread_job import JobSlot, ThreadJob, show_error
from napari_fundus.runtime.progress import Monitor


class RunBar(QWidget):
    """Buttons that start and cancel one job at a time, with its progress and a message.

    Parameters
    ----------
    title
        Text of the run button, such as ``"Detect"``.
    """

    run_clicked = Signal()
    returned = Signal(object)
    stopped = Signal()

    def __init__(self, title: str) -> None:
        super().__init__()
        self.run_button = QPushButton(title)
        self.run_button.clicked.connect(self.run_clicked)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.message = MessageLabel()
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        column_layout(self, buttons, self.progress, self.message)
        self._slot = JobSlot(self)
        self._show_state()

    @property
    def job(self) -> ThreadJob | None:
        """The job that is running."""
        return self._slot.job

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._slot.busy

    def show_message(self, text: str) -> None:
        """Show a line below the buttons; an empty one hides it."""
        self.message.setText(text)

    def start(
        self,
        work: Callable[[Monitor], Any],
        returned: Callable[[Any], None] | None = None,
        *,
        message: str = "Starting…",
    ) -> None:
        """Run `work` in a thread; `returned` is called, or else emitted, with its value."""
        self.show_message(message)
        self.progress.setValue(0)
        job = self._slot.start(work, returned or self.returned.emit, self._failed)
        job.progressed.connect(self._progressed)
        job.cancelled.connect(lambda: self.show_message("Cancelled. Nothing was changed."))
        job.ended.connect(self._ended)
        self._show_state()

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self.job is not None:
            self.job.cancel()
            self.cancel_button.setEnabled(False)
            self.show_message("Cancelling…")

    def cancel_silently(self) -> None:
        """Cancel the job and emit nothing more."""
        self._slot.cancel_silently()
        self._show_state()

    def _progressed(self, fraction: float, message: str) -> None:
        if self.job is not None and not self.job.monitor.cancelled:
            self.progress.setValue(round(fraction * 1000))
            self.show_message(message[:1].upper() + message[1:])

    def _failed(self, error: Exception) -> None:
        self.show_message(f"Stopped: {error}")
        show_error(error)

    def _ended(self) -> None:
        self._show_state()
        self.stopped.emit()

    def _show_state(self) -> None:
        self.run_button.setEnabled(not self.running)
        self.cancel_button.setEnabled(self.running)
        self.progress.setVisible(self.running)
