"""Run and Cancel buttons with a progress bar: the same in every widget."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_fundus.gui.controls.thread_job import ThreadJob, show_error
from napari_fundus.runtime.monitor import Monitor

__all__ = ["RunBar"]


class RunBar(QWidget):
    """Starts one job at a time, shows how far it is, and cancels it.

    Parameters
    ----------
    title
        What the button says, such as ``"Detect"``.
    """

    run_clicked = Signal()
    returned = Signal(object)
    stopped = Signal()

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.run_button = QPushButton(title)
        self.run_button.clicked.connect(self.run_clicked)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.message = QLabel()
        self.message.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.message)
        self.job: ThreadJob | None = None
        self._show_state()

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self.job is not None

    def say(self, text: str) -> None:
        """Show a line below the buttons; none hides it."""
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def start(self, work: Callable[[Monitor], Any]) -> None:
        """Run `work` in a thread; its value comes with `returned`."""
        job = ThreadJob(work, self)
        job.progressed.connect(self._progressed)
        job.returned.connect(self.returned)
        job.failed.connect(self._failed)
        job.cancelled.connect(lambda: self.say("Cancelled. Nothing was changed."))
        job.ended.connect(self._ended)
        self.job = job
        self.say("Starting…")
        self.progress.setValue(0)
        self._show_state()
        job.start()

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self.job is not None:
            self.job.cancel()
            self.cancel_button.setEnabled(False)
            self.say("Cancelling…")

    def forget(self) -> None:
        """Stop the job and show nothing of it any more."""
        if self.job is not None:
            self.job.forget()
            self.job = None
            self._show_state()

    def _progressed(self, fraction: float, message: str) -> None:
        if self.job is not None and not self.job.monitor.cancelled:
            self.progress.setValue(round(fraction * 1000))
            self.say(message[:1].upper() + message[1:])

    def _failed(self, error: Exception) -> None:
        self.say(f"Stopped: {error}")
        show_error(error)

    def _ended(self) -> None:
        self.job = None
        self._show_state()
        self.stopped.emit()

    def _show_state(self) -> None:
        self.run_button.setEnabled(not self.running)
        self.cancel_button.setEnabled(self.running)
        self.progress.setVisible(self.running)
        if not self.message.text():
            self.message.setVisible(False)
