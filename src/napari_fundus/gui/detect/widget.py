"""The widget *Detect lesions*: choose image, method and options, run, and judge the result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget
from superqt.collapsible import QCollapsible

from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.layouts import form_layout, scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.controls.thread_job import show_error
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.build import LayerTuple, detection_layers
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.landmarks import stored_landmarks
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.layers.placement import ImageSource, image_source
from napari_fundus.gui.layers.update import LayerUpdate
from napari_fundus.landmarks import Landmarks
from napari_fundus.plugins import Discovery, find_detectors
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import METADATA_KEY
from napari_fundus.results.live import LiveResult
from napari_fundus.runtime.devices import release_memory
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer


class DetectWidget(QWidget):
    """Finds lesions in an image layer and shows them as layers over it.

    Parameters
    ----------
    viewer
        The napari viewer.
    discovery
        The detectors to offer; by default all installed ones.
    """

    shown = Signal(object)
    """The layers of a result, once all of them are in the viewer."""

    def __init__(self, viewer: napari.viewer.Viewer, *, discovery: Discovery | None = None) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._found = discovery or find_detectors()
        self._form: ModelForm | None = None
        self._entered_options: dict[str, dict[str, Any]] = {}
        self._detector: Detector | None = None
        self.results: ResultsPanel | None = None
        self._step_runner = StepRunner(self)
        self._build()
        self._choose_detector()
        on_widget_removed(self, self.shutdown)

    def _build(self) -> None:
        layout = scrollable_layout(self)
        self._layout = layout

        self.layer_choice = LayerChoice(self._viewer)
        self.layer_choice.changed.connect(self._update_slice_message)
        self.detector_choice = QComboBox()
        for name, detector in self._found.detectors.items():
            self.detector_choice.addItem(detector.title, name)
            source = self._found.sources.get(name, "")
            self.detector_choice.setItemData(
                self.detector_choice.count() - 1,
                f"{name}, from {source}" if source else name,
                Qt.ItemDataRole.ToolTipRole,
            )
        default = self.detector_choice.findData(DEFAULT_DETECTOR)
        self.detector_choice.setCurrentIndex(max(default, 0))
        self.detector_choice.currentIndexChanged.connect(lambda _: self._choose_detector())
        chooser = QHBoxLayout()
        chooser.setContentsMargins(0, 0, 0, 0)
        chooser.addWidget(self.detector_choice, 1)
        self.problems_button = self._problems_button()
        chooser.addWidget(self.problems_button)
        layout.addLayout(form_layout(("Image", self.layer_choice.native), ("Method", chooser)))
        self.about = MessageLabel()
        self.about.setTextFormat(Qt.TextFormat.RichText)
        self.about.setOpenExternalLinks(True)
        layout.addWidget(self.about)
        self.options_box = QCollapsible("Options")
        self.options_box.setDuration(0)
        layout.addWidget(self.options_box)
        self.device_choice = DeviceChoice()
        layout.addLayout(form_layout(("Device", self.device_choice)))
        self.run_bar = RunBar("Detect lesions")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.returned.connect(self._finish)
        layout.addWidget(self.run_bar)
        layout.addStretch(1)
        self._update_slice_message()

    def _problems_button(self) -> QToolButton:
        """Return the warning that lists plugins which could not be used, hidden if all could."""
        button = QToolButton()
        button.setText("⚠")
        problems = self._found.problems
        lines = "".join(
            f"<li><b>{p.plugin}</b> ({p.distribution}): {p.reason}</li>" for p in problems
        )
        button.setToolTip(f"<qt>These plugins could not be used:<ul>{lines}</ul></qt>")
        button.setAccessibleName("Plugins that could not be used")
        button.setVisible(bool(problems))
        button.clicked.connect(
            lambda: self.run_bar.show_message(
                "; ".join(f"{p.plugin}: {p.reason}" for p in problems)
            )
        )
        return button

    def _choose_detector(self) -> None:
        name = self.detector_choice.currentData()
        if name is None:
            self.about.setText("No detector is installed.")
            return
        if self._detector is not None and self._form is not None:
            self._entered_options[self._detector.name] = self._form.values()
        self._detector = self._found.detectors[name]
        self.about.setText(_about(self._detector))
        if self._form is not None:
            self.options_box.removeWidget(self._form.native)
            self._form.native.deleteLater()
        self._form = ModelForm(self._detector.Options, self._entered_options.get(name))
        self.options_box.addWidget(self._form.native)
        self.options_box.expand(animate=False)
        self.device_choice.set_detector(self._detector)

    @property
    def form(self) -> ModelForm:
        """The form of the chosen detector's options."""
        if self._form is None:
            raise FundusError("No detector is chosen.")
        return self._form

    def choose(self, detector: str) -> None:
        """Choose a detector by name."""
        self.detector_choice.setCurrentIndex(self.detector_choice.findData(detector))

    def _update_slice_message(self, _: object = None) -> None:
        layer = self.layer_choice.layer()
        if layer is None:
            self.run_bar.show_message("Open a fundus photograph first.")
        elif layer.ndim > 2:
            self.run_bar.show_message("A stack: the slice now shown will be used.")
        else:
            self.run_bar.show_message("")

    def run(self) -> None:
        """Start the chosen detector on the chosen layer."""
        layer = self.layer_choice.layer()
        if layer is None or self._detector is None or self.run_bar.running:
            self._update_slice_message()
            return
        try:
            options = self.form.instance()
            source = image_source(layer, self._viewer.dims.point)
        except FundusError as error:
            self.run_bar.show_message(str(error))
            show_error(error)
            return
        detector, device = self._detector, self.device_choice.device()
        landmarks = stored_landmarks(layer) if not source.index else Landmarks()

        def work(monitor: Monitor) -> tuple[LiveResult, list[LayerTuple], ImageSource]:
            monitor.step(0.0, "reading the image")
            image = source.load()
            try:
                found = detector.detect(
                    image, options, device=device, monitor=monitor.part(0.02, 0.97)
                )
            finally:
                release_memory(device)
            live = LiveResult(replace(found, given_landmarks=landmarks))
            monitor.step(0.98, "making layers")
            return live, detection_layers(live, placement=source.placement), source

        self.run_bar.start(work)

    def _finish(self, result: tuple[LiveResult, list[LayerTuple], ImageSource]) -> None:
        live, tuples, source = result
        present = source.layer in self._viewer.layers
        if not present:
            show_info(
                f"{source.name!r} was removed while its lesions were searched for; they are shown "
                "at its place all the same."
            )
        name = source.layer.name if present else source.name
        self._show(live, _renamed(tuples, live.original, name), source)

    def show_detections(self, detections: Detections, layer: Image) -> None:
        """Show a result that was found elsewhere, over `layer`."""
        source = image_source(layer, self._viewer.dims.point)
        live = LiveResult(detections)
        tuples = detection_layers(live, placement=source.placement, name=layer.name)
        self._show(live, tuples, source)

    def _show(self, live: LiveResult, tuples: list[LayerTuple], source: ImageSource) -> None:
        for _, meta, _ in tuples:
            known = meta["metadata"][METADATA_KEY]
            meta["metadata"] = {METADATA_KEY: replace(known, source=source.layer)}
        # Layers that are being added are in the viewer before the update looks at what is there.
        self._step_runner.stop()
        edited = self.results.live_layers.edited_layers() if self.results is not None else []
        update = LayerUpdate(
            self._viewer, tuples, live.original.provenance, source, keep_layers=edited
        )
        if self.results is not None and self.results.uses_layers(update.outdated):
            # Its sliders would write what was found before over what is found now.
            self.results.shutdown()
            self.results.setEnabled(False)

        def finish() -> None:
            added = update.finish()
            active, layers = self._viewer.layers.selection.active, self._viewer.layers
            labels = [x for x in added if isinstance(x, Labels) and x in layers]
            if labels and (active is None or active is source.layer):
                # The status bar describes the active layer: here, the lesion under the pointer.
                layers.selection.active = max(labels, key=lambda layer: len(layer.features))
            self._set_results(live, added, source)
            self.shown.emit(added)

        self._step_runner.start(update.steps(), finish)

    def _set_results(self, live: LiveResult, layers: list[Layer], source: ImageSource) -> None:
        if self.results is not None:
            self.results.shutdown()
            self._layout.removeWidget(self.results)
            self.results.deleteLater()
        self.results = ResultsPanel(
            self._viewer, live, layers, source=source.expression, parent=self
        )
        self._layout.insertWidget(self._layout.count() - 1, self.results)
        self.options_box.collapse(animate=False)
        self.run_bar.show_message("")

    def shutdown(self) -> None:
        """Cancel everything and stop listening: the widget was closed."""
        self.run_bar.cancel_silently()
        self._step_runner.stop()
        self.device_choice.cancel_silently()
        if self.results is not None:
            self.results.shutdown()
        self.layer_choice.disconnect_viewer()


def _renamed(tuples: list[LayerTuple], detections: Detections, name: str) -> list[LayerTuple]:
    """Begin the layers' names with the source's present one: it may have changed meanwhile."""
    old = detections.provenance.image_name
    return [
        (data, {**meta, "name": name + meta["name"].removeprefix(old)}, kind)
        for data, meta, kind in tuples
    ]


def _about(detector: Detector) -> str:
    finds = ", ".join(detector.lesions)
    text = f"{detector.summary}<br><small>Finds {finds}"
    if detector.licence:
        text += f" · {detector.licence}"
    if reference := detector.reference:
        link = reference if reference.startswith("http") else ""
        if reference.startswith("10."):
            link = f"https://doi.org/{reference}"
        text += f'<br><a href="{link}">{reference}</a>' if link else f"<br>{reference}"
    return text + "</small>"
