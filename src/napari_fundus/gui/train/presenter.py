"""Shows the events of a training in the window."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

from napari_fundus.checkpoints import read_card
from napari_fundus.errors import CheckpointError
from napari_fundus.gui.train.buttons import (
    RemainingTimeEstimator,
    TrainingControls,
    format_duration,
)
from napari_fundus.gui.train.card import card_html
from napari_fundus.gui.train.curves import TrainingCurves
from napari_fundus.gui.train.preview_layers import ContactSheet, PreviewStrip, TrainingLayers
from napari_fundus.gui.train.session import RunRequest, TrainingOutcome, TrainingUpdate
from napari_fundus.training.loop.events import EpochEnd, Started, Step
from napari_fundus.training.loop.state import LAST_FILE

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLabel

_REASONS = {
    "epochs": "All epochs are done",
    "early stopping": "Stopped early: nothing has improved for long",
    "time": "The time is up",
    "nothing to train": "Validated",
}


class TrainingPresenter:
    """Shows events in the widget's parts.

    Parameters
    ----------
    controls, curves, layers, report, card
        The parts.
    """

    def __init__(
        self,
        controls: TrainingControls,
        curves: TrainingCurves,
        layers: TrainingLayers,
        report: QLabel,
        card: QLabel,
    ) -> None:
        self._controls, self._curves, self._layers = controls, curves, layers
        self._report, self._card = report, card
        self._time_estimator = RemainingTimeEstimator()
        self._epochs = 0
        self._metric_text = ""

    def show_started(self, request: RunRequest) -> None:
        """Show that a training or a check starts."""
        self._time_estimator = RemainingTimeEstimator()
        self._metric_text = ""
        self._controls.progress_bar.setValue(0)
        self._controls.set_state("checking" if request.config.check else "training")
        self._controls.show_message("Starting…")
        if not request.config.check:
            self._curves.setVisible(True)
        if request.config.resume and not self._curves.metric_history:
            self.show_history(request.folder)
        elif not request.config.check and not request.config.resume:
            self._curves.clear()

    def show_events(self, events: list[TrainingUpdate]) -> None:
        """Show a list of events."""
        steps = [event for event in events if isinstance(event, Step)]
        for event in events:
            if isinstance(event, Started):
                self._show_report(event)
            elif isinstance(event, EpochEnd):
                self._curves.add_epoch(event)
                value = event.metrics.get(event.metric, float("nan"))
                self._metric_text = f", {event.metric} {value:.4g}" + " (best)" * event.improved
            elif isinstance(event, PreviewStrip):
                self._layers.show_preview(event)
            elif isinstance(event, ContactSheet):
                self._layers.show_patches(event)
                self._layers.reset_view()
        if steps:
            self._curves.add_steps(steps)

    def _show_report(self, event: Started) -> None:
        report = event.report
        self._epochs = report.max_epochs
        self._report.setTextFormat(Qt.TextFormat.RichText)
        # A proportional type, since the panel is narrow: the lines' indents are kept as they are.
        lines = html.escape(report.text()).replace("  WARNING", "<b>  WARNING</b>")
        self._report.setText(f"<qt><p style='white-space: pre-wrap'>{lines}</p></qt>")
        box = self._report.parentWidget()
        while box is not None and not hasattr(box, "expand"):
            box = box.parentWidget()
        if box is not None:
            box.setVisible(True)
            box.expand(animate=False)
        self._curves.set_steps_per_epoch(report.steps_per_epoch)

    def show_progress(self, fraction: float, message: str) -> None:
        """Show the progress and the time left."""
        controls = self._controls
        if controls.state == "stopping":
            return
        if message == "paused":
            if controls.state == "pausing":
                controls.set_state("paused")
                controls.show_message("Paused. The state is saved.")
            return
        controls.progress_bar.setValue(round(fraction * 1000))
        if controls.state == "pausing":
            return
        left = self._time_estimator.seconds(fraction) if message.startswith("epoch ") else None
        text = message[:1].upper() + message[1:]
        if message.startswith("epoch ") and self._epochs:
            epoch, _, step = message.removeprefix("epoch ").partition(",")
            text = f"Epoch {epoch} of {self._epochs},{step}{self._metric_text}"
        controls.show_message(
            text + (f". About {format_duration(left)} left" if left is not None else "")
        )

    def show_pausing(self, *, pausing: bool) -> None:
        """Show that the user pauses the training, or resumes it."""
        self._time_estimator.set_paused(paused=pausing)
        self._controls.set_state("pausing" if pausing else "training")
        self._controls.show_message("Pausing at the next step…" if pausing else "Going on…")

    def show_stopping(self) -> None:
        """Show that the user stops the training."""
        self._controls.set_state("stopping")
        self._controls.show_message("Stopping at the next step…")

    def show_outcome(self, outcome: TrainingOutcome) -> None:
        """Show how the training has ended."""
        finished = outcome.finished
        text = _REASONS[finished.reason] if finished is not None else "Stopped; it can be resumed"
        if outcome.card is None:
            text += ". No epoch was validated yet, so there are no weights."
        elif outcome.problem:
            text += f". {outcome.problem}"
        else:
            text += f". The best weights are among the others as {outcome.name!r}."
        self._controls.show_message(text)
        if outcome.card is not None:
            self._card.setText(card_html(outcome.card))

    def show_history(self, folder: Path) -> None:
        """Show the epochs of a run so far."""
        self._curves.clear()
        self._curves.setVisible(True)
        try:
            state = read_card(folder / LAST_FILE).recipe.get("training_state", {})
        except CheckpointError:
            return
        history = state.get("history", [])
        best = state.get("schedule", {}).get("best_epoch")
        self._curves.set_history(history, best if isinstance(best, int) and best >= 0 else None)
