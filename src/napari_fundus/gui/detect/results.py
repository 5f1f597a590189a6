"""The panel below a result: counts, sliders for its thresholds, copying as code, and export."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_fundus.errors import FundusError
from napari_fundus.export.single_file import FILE_TYPES, write_file
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.sliders import AreaRow, ClassRow
from napari_fundus.gui.controls.thread_job import ThreadJob, show_error
from napari_fundus.gui.detect.landmarks_row import FoveaRow
from napari_fundus.gui.layers.live_layers import LiveLayers
from napari_fundus.gui.layers.napari_compat import dock_below
from napari_fundus.lesions import DR_EVIDENCE
from napari_fundus.results.detections import Detections
from napari_fundus.results.live import LiveResult
from napari_fundus.results.quantification import is_lesion_class
from napari_fundus.snippets import as_command, as_python

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_TABLE_HEIGHT = 230
"""Pixels."""


class ResultsPanel(QWidget):
    """Shows one result and moves its thresholds.

    Parameters
    ----------
    viewer
        The viewer that holds the layers.
    live
        The result.
    layers
        Its layers.
    source
        Python expression for the image, where it has no file.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        live: LiveResult,
        layers: list[Layer],
        *,
        source: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self.live, self._source = viewer, live, source
        self._layers = layers
        field = live.original.field_of_view
        self._field_px = None if field is None else int(np.count_nonzero(field)) or None
        self._build()
        self._measure()
        self.live_layers = LiveLayers(viewer, live, layers, self)
        """Show the result in the viewer."""
        self._connections = Connections()
        self._connections.connect(self._show_settings, live.settings_changed)
        self._connections.connect(self._show_counts, live.shown_changed)
        self._connections.connect(self._show_edited, live.edited_changed)
        self._connections.connect(self._measure, live.landmarks_changed)

    def _build(self) -> None:
        layout = column_layout(self, spacing=6)
        detections = self.live.detections(edits=False)
        ran = detections.provenance
        self.headline = MessageLabel(_headline(detections))
        self.headline.setToolTip(
            f"{ran.detector} on {ran.device}, {ran.seconds:.1f} s, {ran.created}"
        )
        layout.addWidget(self.headline)
        self.rows: dict[str, ClassRow] = {}
        lesions, settings = detections.instances, self.live.settings
        for code in detections.lesions:
            row = ClassRow(code, settings.thresholds[code])
            mine = lesions[lesions["lesion"] == code]
            row.set_count(len(mine), self._percent(mine))
            row.changed.connect(lambda value, code=code: self.live.set_threshold(code, value))
            self.rows[code] = row
            layout.addWidget(row)
        for code in self.live.edited:
            self.rows[code].set_edited(edited=True)
        self.area = AreaRow(settings.min_area)
        self.area.changed.connect(self.live.set_min_area)
        self.area.setVisible(bool(self.rows))
        layout.addWidget(self.area)
        self.fovea_row = FoveaRow(self._viewer, self._layers)
        self.fovea_row.setVisible(bool(self.rows))
        self.fovea_row.landmarks_edited.connect(self.live.set_landmarks)
        layout.addWidget(self.fovea_row)
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
        """Whether layers or figures do not show yet what the sliders ask for."""
        return self.live_layers.busy or self.fovea_row.busy

    def _show_settings(self) -> None:
        """Move the sliders to where the settings are, whoever changed them."""
        for code, value in self.live.settings.thresholds.items():
            if self.rows[code].spin.value() != value:
                self.rows[code].spin.setValue(value)
        self.area.spin.setValue(self.live.settings.min_area)

    def _show_counts(self) -> None:
        for code, lesions in self.live.shown.items():
            if code not in self.live.edited:
                self.rows[code].set_count(len(lesions.table), self._percent(lesions.table))
        if self.live.up_to_date:
            self._measure()

    def _show_edited(self, code: str) -> None:
        self.rows[code].set_edited(edited=code in self.live.edited)
        self._show_counts()

    def _measure(self) -> None:
        self.fovea_row.measure(self.live.snapshot(), self.live.original.shape)

    def _percent(self, table: pd.DataFrame) -> float | None:
        """Return the share of the field of view that lesions cover; None where it is not known."""
        return 100 * int(table["area_px"].sum()) / self._field_px if self._field_px else None

    def copy_python(self) -> None:
        """Put the script into the clipboard."""
        self._copy(as_python(self.live.detections(edits=False), source=self._source), "Python")

    def copy_command(self) -> None:
        """Put the command into the clipboard."""
        try:
            self._copy(as_command(self.live.detections(edits=False), self.live.original), "command")
        except FundusError as error:
            show_error(error)

    def _copy(self, text: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        if self.live.edited:
            show_warning(f"Copied as {what}. What you drew by hand is not part of it: export that.")
        else:
            show_info(f"Copied as {what}.")

    def choose_export(self) -> None:
        """Ask for a file and write to it; its suffix and filter say in which form."""
        name = self.live.original.provenance.image_name or "lesions"
        chosen, chosen_filter = QFileDialog.getSaveFileName(
            self, "Export lesions", f"{name}.csv", ";;".join(f.filter for f in FILE_TYPES)
        )
        if chosen:
            self.export(Path(chosen), next(f.name for f in FILE_TYPES if f.filter == chosen_filter))

    def export(self, path: Path, form: str) -> ThreadJob:
        """Write the result to `path` in a thread; the file dialog has asked before overwriting."""
        result = self.live.snapshot()
        job = ThreadJob(lambda _: write_file(result(), path, form, overwrite=True), self)
        job.returned.connect(lambda written: show_info(f"Written: {written}"))
        job.failed.connect(show_error)
        return job.start()

    def show_table(self) -> None:
        """Open napari's own table of features for the class with the most lesions."""
        labels = self.live_layers.labels
        active = self._viewer.layers.selection.active
        if active not in labels.values() and labels:
            best = max(labels.values(), key=lambda layer: len(layer.features))
            if best in self._viewer.layers:
                self._viewer.layers.selection.active = best
        dock, _ = self._viewer.window.add_plugin_dock_widget("napari", "Features table widget")
        dock_below(dock, _TABLE_HEIGHT)

    def uses_layers(self, layers: Iterable[Layer]) -> bool:
        """Return whether one of these layers is of the result."""
        return any(layer in self._layers for layer in layers)

    def shutdown(self) -> None:
        """Stop all work and disconnect from the layers: they may show the result of another run."""
        self.live_layers.close()
        self.fovea_row.shutdown()
        self._connections.disconnect()


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
    for warning in ran.warnings:
        text += f"<br>⚠ {warning}"
    return text
