"""Buttons of a training, its progress bar, and the time left."""

from __future__ import annotations

import time
from typing import Literal

from qtpy.QtWidgets import QGridLayout, QProgressBar, QPushButton, QWidget

from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel

ControlState = Literal["idle", "checking", "training", "pausing", "paused", "stopping"]


class TrainingControls(QWidget):
    """Check, preview, start, pause and stop; each is enabled only where it can be used."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout()
        grid.setHorizontalSpacing(4)

        def add(row: int, place: int, text: str, tip: str = "") -> QPushButton:
            button = QPushButton(text)
            button.setToolTip(tip)
            grid.addWidget(button, row, place)
            return button

        tip = "Show what would be trained on what, and how long it would take"
        self.check_button = add(0, 0, "Check", tip)
        self.patches_button = add(0, 1, "Preview patches", "Show training patches as layers")
        tip = "Resume a training that was stopped, such as by closing napari"
        self.open_run_button = add(0, 2, "Open a run…", tip)
        self.start_button = add(1, 0, "Train")
        self.pause_button = add(1, 1, "Pause")
        tip = "Stop and keep the best weights; the run can be resumed"
        self.stop_button = add(1, 2, "Stop", tip)
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, 1000)
        self.message_label = MessageLabel()
        column_layout(self, grid, self.progress_bar, self.message_label)
        self.set_state("idle")

    def set_state(self, state: ControlState) -> None:
        """Enable and label the buttons for a state."""
        self.state = state
        idle, running = state == "idle", state in ("training", "pausing", "paused")
        for button in (
            self.check_button,
            self.patches_button,
            self.open_run_button,
            self.start_button,
        ):
            button.setEnabled(idle)
        self.pause_button.setEnabled(running)
        self.pause_button.setText("Go on" if state in ("pausing", "paused") else "Pause")
        self.stop_button.setEnabled(running or state == "checking")
        self.progress_bar.setVisible(not idle)

    def show_message(self, text: str) -> None:
        """Show a line below the buttons; an empty one is hidden."""
        self.message_label.setText(text)


class RemainingTimeEstimator:
    """Estimates the time left from the progress so far; pauses do not count."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None
        self._paused_at: float | None = None
        self._paused_seconds = 0.0

    def set_paused(self, *, paused: bool) -> None:
        """Record that the training is paused, or resumed."""
        now = time.monotonic()
        if paused and self._paused_at is None:
            self._paused_at = now
        elif not paused and self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None

    def seconds(self, fraction: float) -> float | None:
        """Return the seconds left at `fraction` of the work, or None while that is unknown."""
        now = time.monotonic() - self._paused_seconds
        if self._start is None:
            self._start = fraction, now
        first, since = self._start
        done = fraction - first
        return (now - since) * (1 - fraction) / done if done > 0.002 else None


def format_duration(seconds: float) -> str:
    """Return a time in the two largest units.

    Examples
    --------
    >>> format_duration(42), format_duration(125), format_duration(7320)
    ('42 s', '2 min 5 s', '2 h 2 min')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
