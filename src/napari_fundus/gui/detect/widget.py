"""The widget *Detect lesions*: choose image, method and options, run, and judge the result."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QToolButton, QWidget
from superqt.collapsible import QCollapsible

from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detector import Detector
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.controls.layouts import form_layout, scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.photograph_switcher import PhotographSwitcher
from napari_fundus.gui.controls.photographs import (
    is_photograph,
    newest_result,
    photograph_of,
    photographs,
    result_layers,
    show_photograph,
)
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.controls.thread_job import show_error
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.build import LayerTuple, detection_layers, with_source
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.landmarks import stored_landmarks
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.layers.placement import (
    ImageSource,
    has_channels_first,
    image_source,
    stack_shape,
)
from napari_fundus.gui.layers.stack_layers import StackLayers, stacks_of
from napari_fundus.gui.layers.update import LayerUpdate
from napari_fundus.landmarks import Landmarks
from napari_fundus.plugins import Discovery, find_detectors
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import layer_metadata
from napari_fundus.results.live import LiveResult
from napari_fundus.results.slice_stack import SliceIndex
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
        self._stack: StackLayers | None = None
        self._photograph: Layer | None = None
        self._result_layers: list[Layer] = []
        self._waiting_slices: deque[SliceIndex] = deque()
        self._slice_count = 0
        self._build()
        self._choose_detector()
        self._layer_connections, self._connections = Connections(), Connections()
        self._connections.connect(self._follow, self._viewer.layers.selection.events.active)
        self._connections.connect(self._on_removed, self._viewer.layers.events.removed)
        self._follow()
        on_widget_removed(self, self.shutdown)

    def _build(self) -> None:
        layout = scrollable_layout(self)
        self._layout = layout

        self.switcher = PhotographSwitcher(self._viewer)
        self.layer_choice = self.switcher.choice
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
        layout.addLayout(form_layout(("Image", self.switcher), ("Method", chooser)))
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
        self.run_bar.stopped.connect(self._slices_stopped)
        layout.addWidget(self.run_bar)
        self.all_button = QPushButton("All slices")
        self.all_button.setToolTip(
            "Detect lesions in each slice of the stack that has no result of this method yet; "
            "what is done stays when you cancel"
        )
        self.all_button.clicked.connect(lambda _=False: self.run_all_slices())
        layout.addWidget(self.all_button)
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
        message, is_stack = "Open a fundus photograph first.", False
        if layer is not None:
            try:
                channels = has_channels_first(layer)
                is_stack = layer.ndim > 2 and not channels
                message = "A stack: the slice now shown will be used." if is_stack else ""
                if channels:
                    message = (
                        f"The {len(layer.data)} slices are taken as the colour channels of one "
                        "photograph. If they are photographs, name their axis "
                        "(layer.axis_labels), such as 'visit'."
                    )
            except FundusError as error:
                message = str(error)
        self.all_button.setVisible(is_stack)
        if not self.run_bar.running:
            self.run_bar.show_message(message)

    def run(self) -> None:
        """Start the chosen detector on the chosen layer."""
        self._waiting_slices.clear()
        self._run_slice(None)

    def run_all_slices(self) -> None:
        """Start the chosen detector on all slices of a stack that it has no result of yet."""
        layer = self.layer_choice.layer()
        if layer is None or self._detector is None or self.run_bar.running:
            return
        name = self._detector.name
        done = {
            index
            for stack in stacks_of(self._viewer, layer)
            for index, live in stack.results.items()
            if live.original.provenance.detector == name
        }
        waiting = [index for index in np.ndindex(*stack_shape(layer)) if index not in done]
        self._waiting_slices = deque(waiting)
        self._slice_count = len(waiting)
        if waiting:
            self._run_slice(self._waiting_slices.popleft())
        else:
            self.run_bar.show_message("All slices have a result of this method.")

    def _run_slice(self, index: SliceIndex | None) -> None:
        """Start the detector on one slice of the chosen layer, by default on that in view."""
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
        count, done, prefix = 1, 0, ""
        if index is not None:
            source = replace(source, index=index)
            count, done = self._slice_count, self._slice_count - len(self._waiting_slices) - 1
            prefix = f"slice {done + 1} of {count}: "
        detector, device = self._detector, self.device_choice.device()
        landmarks = stored_landmarks(layer) if not source.index else Landmarks()

        def work(monitor: Monitor) -> tuple[LiveResult, list[LayerTuple], ImageSource]:
            monitor = monitor.part(done / count, (done + 1) / count, prefix=prefix)
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

    def _next_slice(self) -> None:
        if self._waiting_slices:
            self._run_slice(self._waiting_slices.popleft())

    def _slices_stopped(self) -> None:
        """Say what was done of all slices when the rest is cancelled, or one of them failed."""
        job_failed = self.run_bar.message.text().startswith(("Cancelled", "Stopped"))
        if self._waiting_slices and job_failed:
            done = self._slice_count - len(self._waiting_slices) - 1
            text = self.run_bar.message.text().removesuffix(" Nothing was changed.")
            self.run_bar.show_message(
                f"{text} {done} of {self._slice_count} slices were done; their results stay."
            )
            self._waiting_slices.clear()

    def _finish(self, result: tuple[LiveResult, list[LayerTuple], ImageSource]) -> None:
        live, tuples, source = result
        present = source.layer in self._viewer.layers
        if not present:
            show_info(
                f"{source.name!r} was removed while its lesions were searched for. They are in the "
                "list all the same, hidden where another photograph is open."
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
        tuples = [with_source(one, source.layer) for one in tuples]
        # Layers that are being added are in the viewer before the update looks at what is there.
        self._step_runner.stop()
        if source.index:
            self._show_in_stack(live, tuples, source)
            return
        edited = self.results.live_layers.edited_layers() if self.results is not None else []
        present = source.layer in self._viewer.layers
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
            self._watch_stack(None)
            self._set_results(live, added, source.expression, source.layer if present else None)
            if present:
                show_photograph(self._viewer, source.layer)
            elif photographs(self._viewer):
                # Its own photograph is gone: it must not lie over another one.
                for layer in added:
                    layer.visible = False
            self.shown.emit(added)

        self._step_runner.start(update.steps(), finish)

    def _show_in_stack(
        self, live: LiveResult, tuples: list[LayerTuple], source: ImageSource
    ) -> None:
        """Let the result of a slice join those of the same method in the other slices."""
        stacks = stacks_of(self._viewer, source.layer)
        stack = next((x for x in stacks if x.is_of(live.original.provenance, source.layer)), None)
        before = None if stack is None else stack.results.get(source.index)
        if stack is None or (before is not None and before.edited):
            # What a person drew stays as it is: the new result has layers of its own.
            stack = StackLayers(self._viewer, source.layer)
        for other in stacks:
            if other is not stack:
                for layer in other.layers:
                    layer.visible = False
        if self.results is not None and self.results.live is before:
            self.results.shutdown()
            self.results.setEnabled(False)
        joined = stack

        def finish() -> None:
            self._watch_stack(joined)
            if source.layer in self._viewer.layers:
                show_photograph(self._viewer, source.layer)
            self.shown.emit([x for x in joined.layers if x in self._viewer.layers])
            self._next_slice()

        self._step_runner.start(joined.join_steps(live, tuples, source), finish)

    def _watch_stack(self, stack: StackLayers | None) -> None:
        """Show the result of the slice in view, and those of others as they come into view."""
        if self._stack is not None and self._stack is not stack:
            self._stack.changed.disconnect(self._show_slice)
        if self._stack is not stack and stack is not None:
            stack.changed.connect(self._show_slice)
        self._stack = stack
        self._show_slice()

    def _show_slice(self) -> None:
        stack = self._stack
        if stack is None:
            return
        live, index = stack.current, stack.index
        if live is not None:
            if self.results is None or self.results.live is not live:
                source = image_source(stack.source, self._viewer.dims.point)
                self._set_results(live, stack.layers, source.expression, stack.source)
            return
        self._clear_results()
        if not self.run_bar.running:
            where = ", ".join(map(str, index))
            self.run_bar.show_message(f"Slice {where} of {stack.source.name!r} has no result yet.")

    def _follow(self, event: object = None) -> None:
        """Show the result of the selected layer, or the newest of the selected photograph."""
        layer = self._viewer.layers.selection.active
        if layer is None or self._step_runner.busy:
            return
        known = layer_metadata(layer)
        if isinstance(known.stack, StackLayers):
            self._watch_stack(known.stack)
        elif known.live is not None:
            self._show_live(known.live)
        elif is_photograph(layer):
            stacks = stacks_of(self._viewer, layer)
            if stacks:
                self._watch_stack(self._stack if self._stack in stacks else stacks[-1])
            elif self._photograph is not layer or self.results is None:
                self._show_live(newest_result(self._viewer, layer))

    def _show_live(self, live: LiveResult | None) -> None:
        """Show the sliders, counts and export of a result in the viewer, or none."""
        self._watch_stack(None)
        if live is None or live.closed:
            self._clear_results()
        elif self.results is None or self.results.live is not live:
            layers = result_layers(self._viewer, live)
            photograph = photograph_of(self._viewer, layers[0])
            expression = None if photograph is None else image_source(photograph).expression
            self._set_results(live, layers, expression, photograph)

    def _on_removed(self, event: object = None) -> None:
        """Show no counts of layers that are gone."""
        if self.results is None or self._step_runner.busy:
            return
        gone = self._photograph is not None and self._photograph not in self._viewer.layers
        if gone or not any(x in self._viewer.layers for x in self._result_layers):
            self._clear_results()

    def _on_metadata(self, event: object = None) -> None:
        """Show another result that came into the layers of the one that is shown."""
        if self.results is None or self._stack is not None or self._step_runner.busy:
            return
        now = {layer_metadata(x).live for x in self._result_layers if x in self._viewer.layers}
        if self.results.live not in now:
            self._show_live(next((live for live in now if live is not None), None))

    def _clear_results(self) -> None:
        self._layer_connections.disconnect()
        self._photograph, self._result_layers = None, []
        if self.results is not None:
            self.results.shutdown()
            self._layout.removeWidget(self.results)
            self.results.deleteLater()
            self.results = None

    def _set_results(
        self,
        live: LiveResult,
        layers: list[Layer],
        expression: str | None,
        photograph: Layer | None = None,
    ) -> None:
        self._clear_results()
        self.results = ResultsPanel(self._viewer, live, layers, source=expression, parent=self)
        self._photograph = photograph
        self._result_layers = list(layers)
        labels = (x for x in layers if isinstance(x, Labels))
        self._layer_connections.connect(self._on_metadata, *(x.events.metadata for x in labels))
        self._layout.insertWidget(self._layout.count() - 1, self.results)
        self.options_box.collapse(animate=False)
        if not self._waiting_slices:
            self.run_bar.show_message("")

    def shutdown(self) -> None:
        """Cancel everything and stop listening: the widget was closed."""
        self.run_bar.cancel_silently()
        self._step_runner.stop()
        self.device_choice.cancel_silently()
        self._waiting_slices.clear()
        if self._stack is not None:
            self._stack.changed.disconnect(self._show_slice)
            self._stack = None
        if self.results is not None:
            self.results.shutdown()
        self._connections.disconnect()
        self._layer_connections.disconnect()
        self.switcher.disconnect_viewer()


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
