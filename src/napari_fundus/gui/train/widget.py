"""The widget *Train or fine-tune*: the form, the buttons, and the progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QPushButton,
    QWidget,
)
from superqt.collapsible import QCollapsible

from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.layouts import scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.thread_job import show_error
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.train.buttons import TrainingControls
from napari_fundus.gui.train.command import training_command
from napari_fundus.gui.train.curves import TrainingCurves
from napari_fundus.gui.train.job_form import JobForm
from napari_fundus.gui.train.presenter import TrainingPresenter
from napari_fundus.gui.train.preview_layers import TrainingLayers
from napari_fundus.gui.train.session import TrainingOutcome, TrainingSession
from napari_fundus.plugins import Discovery
from napari_fundus.training.jobs.config import read_training_config

if TYPE_CHECKING:
    import napari

_PATCHES = 36


class TrainWidget(QWidget):
    """Trains a detector, or fine-tunes weights, and shows the progress.

    Parameters
    ----------
    viewer
        The napari viewer.
    discovery
        The detectors to offer; by default all installed ones that can be trained.

    Attributes
    ----------
    job_form
        What is trained on what, from where, how, and into which folder.
    curves, controls
        How it goes.
    session
        The training or check under way; None where there is none.
    """

    finished = Signal(object)
    """An `TrainingOutcome`, once a training has ended or was stopped."""
    checked = Signal()
    """A check, or a preview of patches, is done."""
    failed = Signal(object)
    """The error that ended a training or a check."""

    def __init__(self, viewer: napari.viewer.Viewer, *, discovery: Discovery | None = None) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self.session: TrainingSession | None = None
        self.outcome: TrainingOutcome | None = None
        self._build(discovery)
        self.training_layers = TrainingLayers(viewer)
        self.presenter = TrainingPresenter(
            self.controls, self.curves, self.training_layers, self.report, self.card
        )
        on_widget_removed(self, self.shutdown)

    def _build(self, discovery: Discovery | None) -> None:
        column = scrollable_layout(self)
        self.job_form = JobForm(self._viewer, discovery=discovery)
        column.addWidget(self.job_form)
        self.controls = TrainingControls()
        column.addWidget(self.controls)
        self.controls.check_button.clicked.connect(lambda: self.check())
        self.controls.patches_button.clicked.connect(lambda: self.preview_patches())
        self.controls.open_run_button.clicked.connect(lambda: self._ask_run())
        self.controls.start_button.clicked.connect(lambda: self.start())
        self.controls.pause_button.clicked.connect(lambda: self.pause())
        self.controls.stop_button.clicked.connect(lambda: self.stop())
        self.curves = TrainingCurves()
        self.curves.setVisible(False)
        column.addWidget(self.curves)
        self.report_box, self.report = _collapsible_text("Report")
        self.card_box, self.card = _collapsible_text("New weights")
        column.addWidget(self.report_box)
        column.addWidget(self.card_box)
        self.copy_button = QPushButton("Copy as command")
        self.copy_button.setToolTip("The line that trains the same from a terminal")
        self.copy_button.clicked.connect(self._copy)
        column.addWidget(self.copy_button)
        column.addStretch(1)

    def choose(self, detector: str) -> None:
        """Choose a method by name.

        Raises
        ------
        FundusError
            It cannot be trained here.
        """
        self.job_form.choose(detector)

    def start_from(self, detector: str, checkpoint: str | None) -> None:
        """Choose the method and the weights that made a result.

        Where they cannot be trained or are not here, the choices stay and a line says so.
        """
        try:
            self.choose(detector)
            self.job_form.checkpoint_choice.choose(checkpoint)
        except FundusError as error:
            self.controls.show_message(f"The result's method or weights are not taken: {error}")

    def set_data(self, path: str | Path | None) -> None:
        """Choose the folder to learn from; None for the open layers."""
        self.job_form.data_choice.set_data(path)

    def start(self) -> None:
        """Train as the form says, or resume the run in the folder."""
        self._begin()

    def check(self) -> None:
        """Show what would be trained on what, and stop before the first step."""
        self._begin(check=True)

    def preview_patches(self) -> None:
        """Show training patches with their masks as layers, and the report."""
        self._begin(check=True, show_patches=_PATCHES)

    def _begin(self, *, check: bool = False, **settings: Any) -> None:
        if self.session is not None:
            return
        try:
            request = self.job_form.run_request(check=check, **settings)
        except FundusError as error:
            self._fail(error)
            return
        session = TrainingSession(request, self)
        session.events_received.connect(self.presenter.show_events)
        session.progressed.connect(self.presenter.show_progress)
        session.finished.connect(self._finish)
        session.checked.connect(lambda: self.controls.show_message("Checked: nothing was trained."))
        session.checked.connect(self.checked)
        session.failed.connect(self._fail)
        session.ended.connect(self._ended)
        self.session = session
        self.presenter.show_started(request)
        session.start()

    def pause(self) -> None:
        """Pause the training at its next step, or resume it."""
        if self.session is None:
            return
        monitor = self.session.monitor
        if monitor.paused:
            monitor.resume()
        else:
            monitor.pause()
        self.presenter.show_pausing(pausing=monitor.paused)

    def stop(self) -> None:
        """Stop the training at its next step; the best weights are kept, the run can be resumed."""
        if self.session is not None:
            self.session.monitor.cancel()
            self.presenter.show_stopping()

    def open_run(self, folder: str | Path) -> None:
        """Show the job of the run in `folder`; `start` then resumes it.

        Raises
        ------
        FundusError
            There is no run, or its method or weights are not here.
        """
        folder = Path(folder).resolve()
        self.job_form.show_job(read_training_config(folder), folder)
        self.presenter.show_history(folder)
        self.controls.show_message(f"Press Train to go on with {folder.name}.")

    def _ask_run(self) -> None:
        start = str(self.job_form.run_folder.parent_folder.path() or "")
        if folder := QFileDialog.getExistingDirectory(self, "Folder of a run", start):
            try:
                self.open_run(folder)
            except FundusError as error:
                self._fail(error)

    def _finish(self, outcome: TrainingOutcome) -> None:
        self.outcome = outcome
        self.presenter.show_outcome(outcome)
        self.card_box.setVisible(outcome.card is not None)
        self.card_box.expand(animate=False)
        self.job_form.checkpoint_choice.refresh()
        if outcome.finished is not None:
            self.job_form.suggest_name()

    def _fail(self, error: Exception) -> None:
        self.controls.show_message(str(error))
        show_error(error)
        self.failed.emit(error)

    def _ended(self) -> None:
        session, self.session = self.session, None
        self.controls.set_state("idle")
        self.job_form.run_folder.refresh()
        if session is not None:
            session.deleteLater()
            if not session.request.config.check and self.outcome is not None:
                self.finished.emit(self.outcome)

    def _copy(self) -> None:
        try:
            text = training_command(self.job_form.run_request())
        except FundusError as error:
            self._fail(error)
            return
        QApplication.clipboard().setText(text)
        self.controls.show_message("Copied.")

    def shutdown(self) -> None:
        """Stop everything; is called when the widget is closed. The run can be resumed."""
        if self.session is not None:
            self.session.cancel_silently()
            self.session = None
        self.training_layers.shutdown()
        self.job_form.shutdown()


def _collapsible_text(title: str) -> tuple[QCollapsible, QLabel]:
    text = MessageLabel()
    text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    box = collapsible_box(title, text)
    box.setVisible(False)
    return box, text
