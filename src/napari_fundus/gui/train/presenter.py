"""From a training's events to what the window shows of them."""

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
from napari_fundus.gui.train.session import RunRequest, TrainingOutcome, TrainingUpdate
from napari_fundus.gui.train.training_layers import ContactSheet, PreviewStrip, TrainingLayers
from napari_fundus.training.loop.events import EpochEnd, Started, Step
from napari_fundus.training.loop.state import LAST_FILE

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLabel

__all__ = ["TrainingPresenter"]

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
    controls, curves, pictures, report, card
        The parts.
    """

    def __init__(
        self,
        controls: TrainingControls,
        curves: TrainingCurves,
        pictures: TrainingLayers,
        report: QLabel,
        card: QLabel,
    ) -> None:
        self._controls, self._curves, self._pictures = controls, curves, pictures
        self._report, self._card = report, card
        self._time_estimator = RemainingTimeEstimator()
        self._epochs = 0
        self._figure = ""

    def begin(self, request: RunRequest) -> None:
        """Show that a training or a check starts."""
        self._time_estimator = RemainingTimeEstimator()
        self._figure = ""
        self._controls.progress.setValue(0)
        self._controls.set_state("checking" if request.config.check else "training")
        self._controls.say("Starting…")
        if not request.config.check:
            self._curves.setVisible(True)
        if request.config.resume and not self._curves.figures:
            self.show_history(request.folder)
        elif not request.config.check and not request.config.resume:
            self._curves.clear()

    def hear(self, events: list[TrainingUpdate]) -> None:
        """Show what has happened."""
        steps = [event for event in events if isinstance(event, Step)]
        for event in events:
            if isinstance(event, Started):
                self._start(event)
            elif isinstance(event, EpochEnd):
                self._curves.add_epoch(event)
                value = event.metrics.get(event.metric, float("nan"))
                self._figure = f", {event.metric} {value:.4g}" + " (best)" * event.improved
            elif isinstance(event, PreviewStrip):
                self._pictures.show_preview(event)
            elif isinstance(event, ContactSheet):
                self._pictures.show_patches(event)
                self._pictures.look()
        if steps:
            self._curves.add_steps(steps)

    def _start(self, event: Started) -> None:
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

    def progress(self, fraction: float, message: str) -> None:
        """Show how far it is."""
        controls = self._controls
        if controls.state == "stopping":
            return
        if message == "paused":
            if controls.state == "pausing":
                controls.set_state("paused")
                controls.say("Paused. The state is saved.")
            return
        controls.progress.setValue(round(fraction * 1000))
        if controls.state == "pausing":
            return
        left = self._time_estimator.seconds(fraction) if message.startswith("epoch ") else None
        text = message[:1].upper() + message[1:]
        if message.startswith("epoch ") and self._epochs:
            epoch, _, step = message.removeprefix("epoch ").partition(",")
            text = f"Epoch {epoch} of {self._epochs},{step}{self._figure}"
        controls.say(text + (f". About {format_duration(left)} left" if left is not None else ""))

    def pausing(self, *, pausing: bool) -> None:
        """Show that the user holds the training, or lets it go on."""
        self._time_estimator.paused(paused=pausing)
        self._controls.set_state("pausing" if pausing else "training")
        self._controls.say("Pausing at the next step…" if pausing else "Going on…")

    def stopping(self) -> None:
        """Show that the user stops the training."""
        self._controls.set_state("stopping")
        self._controls.say("Stopping at the next step…")

    def finish(self, outcome: TrainingOutcome) -> None:
        """Show how the training has ended."""
        finished = outcome.finished
        text = _REASONS[finished.reason] if finished is not None else "Stopped; it can be resumed"
        if outcome.card is None:
            text += ". No epoch was validated yet, so there are no weights."
        elif outcome.problem:
            text += f". {outcome.problem}"
        else:
            text += f". The best weights are among the others as {outcome.name!r}."
        self._controls.say(text)
        if outcome.card is not None:
            self._card.setText(card_html(outcome.card))

    def show_history(self, folder: Path) -> None:
        """Show the epochs that a run has made."""
        self._curves.clear()
        self._curves.setVisible(True)
        try:
            state = read_card(folder / LAST_FILE).recipe.get("training_state", {})
        except CheckpointError:
            return
        history = state.get("history", [])
        best = state.get("schedule", {}).get("best_epoch")
        self._curves.set_history(history, best if isinstance(best, int) and best >= 0 else None)
