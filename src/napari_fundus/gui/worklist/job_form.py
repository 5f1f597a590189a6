"""Where a worklist writes, with which method, and in which formats."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QWidget

from napari_fundus.batch.worklist import whole_result_format
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import OptionsError
from napari_fundus.export import DEFAULT_FORMATS, FORMATS
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.controls.layouts import column_layout, form_layout, shrink_combo
from napari_fundus.plugins import Discovery


class JobForm(QWidget):
    """The choice of output folder, method, options, device and formats.

    Parameters
    ----------
    discovery
        The detectors to offer.
    """

    output_changed = Signal(object)
    """The output folder (a path), or None."""

    def __init__(self, discovery: Discovery) -> None:
        super().__init__()
        self._detectors = discovery.detectors
        self._options: ModelForm | None = None
        self.output = FolderEdit("Output folder", "Where results and corrections are kept")
        self.output.line.editingFinished.connect(self._emit_output)
        self.output.button.clicked.connect(self._emit_output)
        self.detector_choice = shrink_combo(QComboBox())
        for name, detector in self._detectors.items():
            self.detector_choice.addItem(detector.title, name)
        self.detector_choice.currentIndexChanged.connect(lambda _: self._show_options())
        self.device_choice = DeviceChoice()
        self.overwrite = QCheckBox("Analyse anew what is done already")
        self.overwrite.setToolTip(
            "Results in the output folder are replaced. Corrections are kept beside them."
        )
        self._options_box = collapsible_box("Options")
        column_layout(
            self,
            form_layout(("Output", self.output), ("Method", self.detector_choice)),
            self._options_box,
            collapsible_box("Files and device", self._build_formats(), self.device_choice),
            self.overwrite,
        )
        self.show_job(DEFAULT_DETECTOR, {}, {*DEFAULT_FORMATS, whole_result_format()})

    def _build_formats(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        self.format_boxes: dict[str, QCheckBox] = {}
        for number, form in enumerate(FORMATS.values()):
            check = self.format_boxes[form.name] = QCheckBox(form.title)
            check.setToolTip(f"NAME{form.suffix}")
            grid.addWidget(check, number, 0)
        return box

    @property
    def detector(self) -> Detector:
        """The chosen detector."""
        return self._detectors[self.detector_choice.currentData()]

    @property
    def device(self) -> str:
        """The chosen device."""
        return self.device_choice.device()

    def options(self) -> DetectorOptions:
        """Return the options.

        Raises
        ------
        OptionsError
            One of them is out of bounds.
        """
        if self._options is None:
            raise OptionsError("No method is chosen.")
        options: DetectorOptions = self._options.instance()
        return options

    def formats(self) -> tuple[str, ...]:
        """Return the chosen formats; a whole result is always among them.

        Without one a photograph could not be opened with its sliders.
        """
        chosen = [name for name, box in self.format_boxes.items() if box.isChecked()]
        if not {"zarr", "probability"} & set(chosen):
            chosen.append(whole_result_format())
        return tuple(chosen)

    def show_job(self, detector: str, options: Mapping[str, Any], formats: Collection[str]) -> None:
        """Show a method that is installed, its options, and formats."""
        self.detector_choice.setCurrentIndex(max(self.detector_choice.findData(detector), 0))
        self._show_options(options if self.detector_choice.currentData() == detector else {})
        for name, box in self.format_boxes.items():
            box.setChecked(name in formats)

    def _show_options(self, values: Mapping[str, Any] | None = None) -> None:
        if self.detector_choice.currentData() is None:
            return
        if self._options is not None:
            self._options_box.removeWidget(self._options.native)
            self._options.native.deleteLater()
        self._options = ModelForm(self.detector.Options, values)
        self._options_box.addWidget(self._options.native)
        self.device_choice.set_detector(self.detector)

    def _emit_output(self) -> None:
        self.output_changed.emit(self.output.path())

    def set_output(self, folder: str | Path) -> None:
        """Choose the output folder."""
        self.output.set_path(folder)
        self._emit_output()

    def shutdown(self) -> None:
        """Stop looking for devices."""
        self.device_choice.cancel_silently()
