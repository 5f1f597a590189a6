"""The form of the widget *Train or fine-tune*: what to train on what, from where, and how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_fundus.checkpoints import check_checkpoint_name
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.layouts import column_layout, form_layout, make_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.train.data import DataChoice, LayerData
from napari_fundus.gui.train.run_folder import RunFolderForm
from napari_fundus.gui.train.session import RunRequest
from napari_fundus.gui.train.settings import SettingsForm
from napari_fundus.gui.train.starting_weights import SchemeChoice, StartCheckpointCombo
from napari_fundus.plugins import Discovery, find_detectors
from napari_fundus.training.jobs.config import TrainingConfig

if TYPE_CHECKING:
    from napari.components import ViewerModel


class JobForm(QWidget):
    """Form of all that is chosen before a training starts.

    Parameters
    ----------
    viewer
        The napari viewer, whose layers may be the data.
    discovery
        The detectors to offer; by default all installed ones that can be trained.
    """

    def __init__(self, viewer: ViewerModel, *, discovery: Discovery | None = None) -> None:
        super().__init__()
        found = discovery or find_detectors()
        self._detectors = {name: d for name, d in found.detectors.items() if d.trainable}
        self._build(viewer)
        self.settings = SettingsForm(None)
        self._column.insertWidget(1, self.settings)  # below the choices
        self._choose_detector()

    def _build(self, viewer: ViewerModel) -> None:
        self.detector_choice = make_combo(*((d.title, name) for name, d in self._detectors.items()))
        default = self.detector_choice.findData(DEFAULT_DETECTOR)
        self.detector_choice.setCurrentIndex(max(default, 0))
        self.detector_choice.currentIndexChanged.connect(lambda _: self._choose_detector())
        self.data_needs_label = MessageLabel()
        self.data_needs_label.setEnabled(False)
        self.data_choice = DataChoice(viewer)
        self.healthy = FolderEdit("Folder of healthy images", "optional")
        self.checkpoint_choice = StartCheckpointCombo()
        self.checkpoint_choice.chosen.connect(self._update_for_checkpoint)
        self.scheme_choice = SchemeChoice()
        self.device_choice = DeviceChoice()
        top = form_layout(
            ("Method", self.detector_choice),
            ("", self.data_needs_label),
            ("Learn from", self.data_choice),
            ("Healthy", self.healthy),
            ("Start from", self.checkpoint_choice),
            ("Trained", self.scheme_choice),
            ("Device", self.device_choice),
        )
        top.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.run_folder = RunFolderForm()
        self.subprocess_box = QCheckBox("In a process of its own")
        self.subprocess_box.setToolTip(
            "The window stays quick, and a training that crashes does not take napari along"
        )
        self.subprocess_box.setChecked(True)
        self._column = column_layout(self, top, self.run_folder, self.subprocess_box, spacing=8)

    @property
    def detector(self) -> Detector:
        """The chosen method."""
        name = self.detector_choice.currentData()
        if name is None:
            raise FundusError("No detector that can be trained is installed.")
        return self._detectors[name]

    def choose(self, detector: str) -> None:
        """Choose a method by name.

        Raises
        ------
        FundusError
            It cannot be trained here.
        """
        index = self.detector_choice.findData(detector)
        if index < 0:
            raise FundusError(f"No method called {detector!r} can be trained here.")
        self.detector_choice.setCurrentIndex(index)

    def _choose_detector(self) -> None:
        if not self._detectors:
            self.data_needs_label.setText("No detector that can be trained is installed.")
            return
        spec, before = self.detector.training_spec(), self.settings
        self.settings = SettingsForm(spec)
        self._column.removeWidget(before)
        before.deleteLater()
        self._column.insertWidget(1, self.settings)
        graded = spec is not None and spec.required_annotations == "grades"
        self.data_needs_label.setText(
            "Needs images with grades." if graded else "Needs images with drawn lesions."
        )
        self.device_choice.set_detector(self.detector)
        self.checkpoint_choice.set_detector(self.detector.name)

    def _update_for_checkpoint(self) -> None:
        """Fit form, schemes and name to the weights to start from."""
        card = self.checkpoint_choice.card()
        fine_tuning = self.checkpoint_choice.checkpoint() is not None
        spec = self.detector.training_spec()
        reason = spec.schemes_unsupported_reason if spec is not None else ""
        self.scheme_choice.offer(fine_tuning=fine_tuning, schemes_unsupported_reason=reason)
        self.settings.set_checkpoint(card)
        self.suggest_name()

    def suggest_name(self) -> None:
        """Show a name that no run has yet, unless the user has written one."""
        fine_tuning = self.checkpoint_choice.checkpoint() is not None
        self.run_folder.suggest(self.detector.name, fine_tuning=fine_tuning)

    def job_config(
        self, data: str, *, check: bool = False, **further_settings: Any
    ) -> TrainingConfig:
        """Return the content of the form.

        Parameters
        ----------
        data
            Folder of the data.
        check
            Whether to stop before the first step.
        **further_settings
            Settings of the training beside those of the form.

        Raises
        ------
        FundusError
            The form does not fit together.
        """
        healthy = self.healthy.path()
        return TrainingConfig(
            detector=self.detector.name,
            data=data,
            healthy=None if healthy is None else str(healthy.resolve()),
            checkpoint=self.checkpoint_choice.checkpoint(),
            settings={**self.settings.settings(self.scheme_choice.scheme()), **further_settings},
            name=self.run_folder.name.text().strip(),
            device=self.device_choice.device(),
            resume=self.run_folder.resume(),
            overwrite=self.run_folder.overwrite(),
            check=check,
        )

    def run_request(self, *, check: bool = False, **further_settings: Any) -> RunRequest:
        """Return the training that the form describes; the parameters are those of `job_config`.

        Raises
        ------
        FundusError
            The form does not fit together, or there are no data.
        """
        data = self.data_choice.data()
        layers = data if isinstance(data, LayerData) else None
        config = self.job_config(
            str(data) if layers is None else "layers", check=check, **further_settings
        )
        folder = self.run_folder.folder()
        check_checkpoint_name(config.name, run=folder)
        return RunRequest(config, folder, layers, in_subprocess=self.subprocess_box.isChecked())

    def show_job(self, config: TrainingConfig, folder: Path) -> None:
        """Show the job of a run, and its folder as the one to go on in.

        Raises
        ------
        FundusError
            Its method or its weights are not here, or a setting is unknown.
        """
        self.choose(config.detector)
        self.data_choice.set_data(config.data)
        self.healthy.set_path(config.healthy)
        self.checkpoint_choice.choose(config.checkpoint)
        self.settings.set_settings(config.settings)
        self.scheme_choice.set_scheme(str(config.settings.get("scheme", "full")))
        self.device_choice.choose(config.device)
        self.run_folder.show_run(folder)

    def shutdown(self) -> None:
        """Disconnect everything; is called when the widget is closed."""
        self.device_choice.cancel_silently()
        self.data_choice.disconnect_viewer()
