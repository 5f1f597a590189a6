"""The results of one run: counts, sliders that act at once on the kept maps, copying, export."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import pandas as pd
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.sliders import AreaRow, ClassRow
from napari_fundus.gui.controls.thread_job import ThreadJob, show_error
from napari_fundus.gui.detect.bounding_box_layers import BoundingBoxLayers
from napari_fundus.gui.detect.fovea_row import FoveaRow
from napari_fundus.gui.layers.boxes import features_of
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import dock_below
from napari_fundus.gui.layers.rethreshold import (
    ShownLesions,
    ThresholdSettings,
    apply_thresholds,
    show_labels,
)
from napari_fundus.gui.writers import FORMATS, write_result
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import DR_EVIDENCE
from napari_fundus.results.detections import Detections
from napari_fundus.results.edits import apply_edited_labels
from napari_fundus.results.layer_metadata import METADATA_KEY
from napari_fundus.results.quantification import is_lesion_class
from napari_fundus.snippets import as_command, as_python

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["ResultsPanel", "find_results_panel"]

_panels: WeakSet[ResultsPanel] = WeakSet()
"""Those that are in use, so that other widgets move the same thresholds."""

_TABLE_HEIGHT = 230
"""Pixels."""

_THROTTLE_MS = 10
"""Slider events within this time are answered together."""

_IDLE_MS = 250
"""Time without slider events after which ids are made consecutive over all classes again."""


class ResultsPanel(QWidget):
    """Shows one result and lets its thresholds be moved.

    Parameters
    ----------
    viewer
        The viewer that holds the layers.
    detections
        The result as the detector gave it.
    layers
        Its layers; found by class and kind in their metadata.
    source
        Python expression for the image, where it has no file.
    quiet
        Whether the panel stays out of sight, and so adds no layer of landmarks.
    """

    updated = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        detections: Detections,
        layers: list[Layer],
        *,
        source: str | None = None,
        quiet: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run = detections
        self._source, self._quiet = source, quiet
        self._layers = layers
        field = detections.field_of_view
        self._field_px = None if field is None else int(np.count_nonzero(field)) or None
        self._labels = {_known(x)["lesion"]: x for x in layers if _known(x)["kind"] == "labels"}
        boxes = {_known(x)["lesion"]: x for x in layers if _known(x)["kind"] == "boxes"}
        self._boxes = BoundingBoxLayers(viewer, detections, self._labels, boxes)
        self._step_runner = StepRunner(self)
        self._edited: set[str] = set()
        self._settings = ThresholdSettings(dict(detections.thresholds), detections.min_area)
        self._shown: dict[str, ShownLesions] = {}
        self._job: ThreadJob | None = None
        self._stale = False
        self._throttle_timer = self._timer(_THROTTLE_MS, self._compute)
        self._rest = self._timer(_IDLE_MS, lambda: self._compute(renumber=True))
        self._build()
        _panels.add(self)
        self.extent.measure(self._make_detections_later(), detections.shape)
        # The components at the first thresholds, so that the first move is as quick as the others.
        first = self._settings
        self._start(lambda: apply_thresholds(detections, first, {}, renumber=True), self._keep)
        self._painted: dict[str, Callable[[Any], None]] = {
            code: lambda _, code=code: self._on_painted(code) for code in self._labels
        }
        for code, layer in self._labels.items():
            layer.events.paint.connect(self._painted[code])

    def _timer(self, milliseconds: int, action: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(action)
        return timer

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        ran = self._run.provenance
        self.headline = QLabel(_headline(self._run))
        self.headline.setWordWrap(True)
        self.headline.setToolTip(
            f"{ran.detector} on {ran.device}, {ran.seconds:.1f} s, {ran.created}"
        )
        layout.addWidget(self.headline)
        self.rows: dict[str, ClassRow] = {}
        lesions = self._run.instances
        for code in self._run.lesions:
            row = ClassRow(code, self._run.thresholds[code])
            mine = lesions[lesions["lesion"] == code]
            row.set_count(len(mine), self._percent(mine))
            row.changed.connect(lambda value, code=code: self.set_threshold(code, value))
            self.rows[code] = row
            layout.addWidget(row)
        self.area = AreaRow(self._run.min_area)
        self.area.changed.connect(self.set_min_area)
        self.area.setVisible(bool(self.rows))
        layout.addWidget(self.area)
        self.extent = FoveaRow(self._viewer, self._layers, adds=not self._quiet)
        self.extent.setVisible(bool(self.rows))
        self.extent.given.connect(self._on_landmarks)
        layout.addWidget(self.extent)
        for buttons in (
            (
                ("Copy as Python", "Copy a script that gives these very lesions", self.copy_python),
                ("Copy as command", "Copy the command line that gives them", self.copy_command),
            ),
            (
                ("Export…", "Write CSV, COCO, GeoJSON or TIFF", self.choose_export),
                ("Table", "Show napari's table of the selected lesions layer", self.show_table),
            ),
        ):
            line = QHBoxLayout()
            for text, tip, action in buttons:
                button = QPushButton(text)
                button.setToolTip(tip)
                button.clicked.connect(lambda _=False, action=action: action())
                line.addWidget(button)
            layout.addLayout(line)

    @property
    def busy(self) -> bool:
        """Whether a slider's answer is still on its way."""
        waiting = self._throttle_timer.isActive() or self._rest.isActive()
        working = self._job is not None or self._step_runner.busy
        return waiting or working or self.extent.busy

    @property
    def settings(self) -> ThresholdSettings:
        """Where the sliders stand."""
        return self._settings

    @property
    def shown(self) -> Mapping[str, ShownLesions]:
        """What each class shows; a class may be missing, or be that of an earlier threshold."""
        return self._shown

    @property
    def edited(self) -> frozenset[str]:
        """Classes that a person painted in, whose sliders are at rest."""
        return frozenset(self._edited)

    def set_slider(self, code: str, value: float) -> None:
        """Move the slider of one class, as a person would, to just this value."""
        self.rows[code].spin.set_exact(value)

    def set_threshold(self, code: str, value: float) -> None:
        """Move the threshold of one class."""
        thresholds = {**self._settings.thresholds, code: value}
        self._settings = ThresholdSettings(thresholds, self._settings.min_area)
        self._schedule()

    def set_min_area(self, value: int) -> None:
        """Leave out lesions of fewer pixels."""
        self._settings = ThresholdSettings(self._settings.thresholds, value)
        self._schedule()

    def _schedule(self) -> None:
        self._rest.stop()
        if not self._throttle_timer.isActive():
            self._throttle_timer.start()

    def _compute(self, *, renumber: bool = False) -> None:
        if self._job is not None:
            self._stale = True
            return
        run, settings, before = self._run, self._settings, dict(self._shown)
        self._start(
            lambda: self._apply_thresholds(run, settings, before, renumber=renumber),
            lambda shown: self._show(shown, renumber=renumber),
        )

    def _apply_thresholds(
        self,
        run: Detections,
        settings: ThresholdSettings,
        before: Mapping[str, ShownLesions],
        *,
        renumber: bool,
    ) -> dict[str, ShownLesions]:
        """Return what is to be shown, with the outlines that follow at rest; for a thread."""
        shown = apply_thresholds(run, settings, before, renumber=renumber)
        for code in self._boxes.outlined if renumber else ():
            assert shown[code].outlines is not None  # noqa: S101  # asked for to be computed
        return shown

    def _start(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        job = ThreadJob(lambda _: work(), self)
        job.returned.connect(then)
        job.failed.connect(show_error)
        job.ended.connect(self._computed)
        self._job = job
        job.start()

    def _computed(self) -> None:
        self._job = None
        if self._stale:
            self._stale = False
            self._compute()

    def _keep(self, shown: Mapping[str, ShownLesions]) -> None:
        self._shown = dict(shown)
        self._boxes.keep(shown)

    def _show(self, shown: Mapping[str, ShownLesions], *, renumber: bool) -> None:
        before, self._shown = self._shown, dict(shown)
        present = set(map(id, self._viewer.layers))
        for code, now in shown.items():
            self.rows[code].set_count(len(now.table), self._percent(now.table))
            layer = self._labels.get(code)
            if now.ids is None or layer is None or code in self._edited:
                continue
            if id(layer) in present:
                show_labels(layer, now, before.get(code))
                layer.features = features_of(now.table)
        if renumber:
            self._stamp()
            self._step_runner.start(self._boxes.steps(self._shown, self._edited), lambda: None)
        else:
            self._rest.start()
        self.updated.emit()

    def _stamp(self) -> None:
        """Write where the sliders now stand into the layers' metadata."""
        now = self.detections(edits=False)
        self.extent.measure(self._make_detections_later(), self._run.shape)
        for layer in (*self._labels.values(), *self._boxes.layers.values()):
            known = _known(layer)
            known["threshold"] = now.thresholds[known["lesion"]]
            known["min_area"] = now.min_area
            known["detections"] = now

    def _percent(self, table: pd.DataFrame) -> float | None:
        """Return the share of the field of view that lesions cover; None where it is not known."""
        return 100 * int(table["area_px"].sum()) / self._field_px if self._field_px else None

    def _on_landmarks(self, given: Landmarks) -> None:
        self._run = replace(self._run, given_landmarks=given)
        self._stamp()

    def _on_painted(self, code: str) -> None:
        """Keep what a person drew: from now on the class's sliders leave its layer alone."""
        if code not in self._edited:
            self._edited.add(code)
            self.rows[code].set_edited()

    def detections(self, *, edits: bool = True) -> Detections:
        """Return the result as it now stands: sliders, and what was drawn by hand."""
        return self._make_detections_later(edits=edits)()

    def _make_detections_later(self, *, edits: bool = True) -> Callable[[], Detections]:
        """Take from sliders and layers what :meth:`detections` is made of; a thread may make it."""
        settings = self._settings
        now = self._run.threshold(dict(settings.thresholds), min_area=settings.min_area)
        if not (edits and self._edited):
            return lambda: now
        drawn = {code: np.array(self._labels[code].data) for code in sorted(self._edited)}
        return lambda: apply_edited_labels(now, drawn)

    def edited_layers(self) -> list[Layer]:
        """Return the layers that a person changed."""
        return [self._labels[code] for code in sorted(self._edited)]

    def copy_python(self) -> None:
        """Put the script into the clipboard."""
        self._copy(as_python(self.detections(edits=False), source=self._source), "Python")

    def copy_command(self) -> None:
        """Put the command into the clipboard."""
        try:
            self._copy(as_command(self.detections(edits=False), self._run), "command")
        except FundusError as error:
            show_error(error)

    def _copy(self, text: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        if self._edited:
            show_warning(f"Copied as {what}. What you drew by hand is not part of it: export that.")
        else:
            show_info(f"Copied as {what}.")

    def choose_export(self) -> None:
        """Ask for a file and write to it; its suffix and filter say in which form."""
        name = self._run.provenance.image_name or "lesions"
        chosen, chosen_filter = QFileDialog.getSaveFileName(
            self, "Export lesions", f"{name}.csv", ";;".join(f.filter for f in FORMATS)
        )
        if chosen:
            self.export(Path(chosen), next(f.name for f in FORMATS if f.filter == chosen_filter))

    def export(self, path: Path, form: str) -> ThreadJob:
        """Write the result to `path` in a thread; the file dialog has asked before overwriting."""
        now = self.detections()
        job = ThreadJob(lambda _: write_result(now, path, form, overwrite=True), self)
        job.returned.connect(lambda written: show_info(f"Written: {written}"))
        job.failed.connect(show_error)
        return job.start()

    def show_table(self) -> None:
        """Open napari's own table of features for the class with the most lesions."""
        counts = {code: len(layer.features) for code, layer in self._labels.items()}
        active = self._viewer.layers.selection.active
        if active not in self._labels.values() and counts:
            best = self._labels[max(counts, key=lambda code: counts[code])]
            if best in self._viewer.layers:
                self._viewer.layers.selection.active = best
        dock, _ = self._viewer.window.add_plugin_dock_widget("napari", "Features table widget")
        dock_below(dock, _TABLE_HEIGHT)

    def shows(self, layers: Iterable[Layer]) -> bool:
        """Tell whether one of these layers is of the result."""
        mine = set(map(id, self._layers))
        return any(id(layer) in mine for layer in layers)

    def forget(self) -> None:
        """Stop all work and let go of the layers: they may show the result of another run."""
        _panels.discard(self)
        self._throttle_timer.stop()
        self._rest.stop()
        self._step_runner.stop()
        self.extent.release()
        for code, heard in self._painted.items():
            self._labels[code].events.paint.disconnect(heard)
        self._painted = {}
        if self._job is not None:
            self._job.forget()


def find_results_panel(layers: Iterable[Layer]) -> ResultsPanel | None:
    """Return the panel whose sliders move these layers, if there is one."""
    wanted = set(map(id, layers))
    return next((p for p in _panels if wanted & {id(x) for x in p._labels.values()}), None)


def _known(layer: Layer) -> dict[str, Any]:
    known: dict[str, Any] = layer.metadata[METADATA_KEY]
    return known


def _headline(detections: Detections) -> str:
    count = int(detections.instances["lesion"].map(is_lesion_class).sum())
    ran = detections.provenance
    # A classifier's regions speak for disease; they are no lesions.
    thing = "region" if set(detections.lesions) == {DR_EVIDENCE} else "lesion"
    what = f"No {thing}" if not count else f"{count} {thing}{'s' * (count > 1)}"
    text = (
        f"<b>{what}</b> in {ran.image_name} · {ran.detector}, {ran.seconds:.1f} s on {ran.device}"
    )
    if not count and detections.probability:
        text += "<br>Nothing lies above the thresholds; lower them to see weaker candidates."
    for name, score in detections.image_score.items():
        text += f"<br>{name}: <b>{score:.2f}</b>"
    return text
