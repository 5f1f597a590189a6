"""Buttons of a training, how far it is, and how long it will take."""

# mypy: disable-error-code="misc"
from __future__ import annotations

import time
from typing import Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

__all__ = ["ControlState", "RemainingTimeEstimator", "TrainingControls", "format_duration"]

ControlState = Literal["idle", "checking", "training", "pausing", "paused", "stopping"]


class TrainingControls(QWidget):
    """Check, preview, start, pause and stop; each can be pressed only where it makes sense."""

    check_clicked = Signal()
    patches_clicked = Signal()
    start_clicked = Signal()
    pause_clicked = Signal()
    stop_clicked = Signal()
    open_run_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.check = QPushButton("Check")
        self.check.setToolTip("Tell what would be trained on what, and how long it would take")
        self.patches = QPushButton("Preview patches")
        self.patches.setToolTip("Show what the network will be shown, as layers")
        self.open = QPushButton("Open a run…")
        self.open.setToolTip("Go on with a training that was stopped, such as by closing napari")
        self.start = QPushButton("Train")
        self.pause = QPushButton("Pause")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("Stop and keep the best weights; the run can be resumed")
        grid = QGridLayout()
        grid.setHorizontalSpacing(4)
        for place, button in enumerate((self.check, self.patches, self.open)):
            grid.addWidget(button, 0, place)
        for place, button in enumerate((self.start, self.pause, self.stop)):
            grid.addWidget(button, 1, place)
        column.addLayout(grid)
        for button, signal in (
            (self.check, self.check_clicked),
            (self.patches, self.patches_clicked),
            (self.open, self.open_run_clicked),
            (self.start, self.start_clicked),
            (self.pause, self.pause_clicked),
            (self.stop, self.stop_clicked),
        ):
            button.clicked.connect(signal)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.message = QLabel()
        self.message.setWordWrap(True)
        column.addWidget(self.progress)
        column.addWidget(self.message)
        self.set_state("idle")

    def set_state(self, state: ControlState) -> None:
        """Let the buttons fit what is going on."""
        self.state = state
        idle, running = state == "idle", state in ("training", "pausing", "paused")
        for button in (self.check, self.patches, self.open, self.start):
            button.setEnabled(idle)
        self.pause.setEnabled(running)
        self.pause.setText("Go on" if state in ("pausing", "paused") else "Pause")
        self.stop.setEnabled(running or state == "checking")
        self.progress.setVisible(not idle)

    def say(self, text: str) -> None:
        """Show a line below the buttons; none hides it."""
        self.message.setText(text)
        self.message.setVisible(bool(text))


class RemainingTimeEstimator:
    """Guesses from the progress made how long the rest will take; stands still while paused."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None
        self._paused_at: float | None = None
        self._held = 0.0

    def paused(self, *, paused: bool) -> None:
        """Note that the training is held, or goes on."""
        now = time.monotonic()
        if paused and self._paused_at is None:
            self._paused_at = now
        elif not paused and self._paused_at is not None:
            self._held += now - self._paused_at
            self._paused_at = None

    def seconds(self, fraction: float) -> float | None:
        """Return the seconds left at `fraction` of the work, or None while that is unknown."""
        now = time.monotonic() - self._held
        if self._start is None:
            self._start = fraction, now
        first, since = self._start
        done = fraction - first
        return (now - since) * (1 - fraction) / done if done > 0.002 else None


def format_duration(seconds: float) -> str:
    """Return a time in the two largest units.

    Examples
    --------
    >>> duration(42), duration(125), duration(7320)
    ('42 s', '2 min 5 s', '2 h 2 min')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
