"""Below the classes: what is known of disc and fovea, and how much disease is near the fovea."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.thread_job import JobSlot
from napari_fundus.gui.layers.landmarks import (
    POINT_STYLE_KEYS,
    landmark_layer,
    read_landmarks,
    store_landmarks,
)
from napari_fundus.gui.layers.placement import placement_of, with_leading
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import LayerMetadata, layer_metadata
from napari_fundus.results.quantification import format_percent, quantify

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Points


class FoveaRow(QWidget):
    """Tells of the landmarks and of what lies near the fovea, and lets a person mark the fovea.

    Parameters
    ----------
    viewer
        The viewer that holds the layers.
    layers
        Those of the result.
    """

    landmarks_edited = Signal(object)
    """A person changed the landmarks: those that a data set or a person gave."""

    def __init__(self, viewer: ViewerModel, layers: list[Layer]) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers = layers
        self._job = JobSlot(self)
        self._known = Landmarks()
        self._shape = (0, 0)
        self._layer: Points | None = None
        self._own_change = False
        line = QHBoxLayout()
        self.text = MessageLabel()
        self.mark_button = QPushButton("Mark fovea")
        self.mark_button.setToolTip(
            "Click on the fovea in the picture: distances and the share of disease near it are "
            "then known. The points of the layer 'landmarks' can be moved."
        )
        self.mark_button.clicked.connect(self.mark_fovea)
        line.addWidget(self.text, 1)
        line.addWidget(self.mark_button)
        self.near = MessageLabel()
        column_layout(self, line, self.near, spacing=2)
        for layer in layers:
            if layer_metadata(layer).kind == "landmarks":
                self._watch(layer)

    @property
    def busy(self) -> bool:
        """Whether the measurement is still on its way."""
        return self._job.busy

    def measure(self, result: Callable[[], Detections], shape: tuple[int, int]) -> None:
        """Measure a result in a thread, and show the outcome instead of that of the call before.

        Parameters
        ----------
        result
            Makes the result; called in the thread.
        shape
            Height and width of the image.
        """
        self._shape = shape
        self._job.start(lambda _: _measured(result()), self._show)

    def shutdown(self) -> None:
        """Stop measuring, and watching the landmarks: their layer may show those of another run."""
        self._job.cancel_silently()
        if self._layer is not None:
            self._layer.events.data.disconnect(self._on_data)
            self._layer = None

    def _show(self, measured: tuple[Landmarks, pd.DataFrame]) -> None:
        known, summary = measured
        self.text.setText(_landmarks_text(known))
        self.near.setText(_near_fovea_html(summary))
        self._known = known
        self._own_change = True
        if self._layer is not None and self._layer in self._viewer.layers:
            self._redraw(self._layer)
        elif self._layer is None and known:  # a layer that a person removed stays away
            self._add_layer()
        self._own_change = False

    def _redraw(self, layer: Points) -> None:
        data, meta, _ = landmark_layer(self._known, name="", shape=self._shape)
        data = with_leading(data, layer_metadata(layer).index)
        if np.array_equal(layer.data, data):
            return
        layer.data = data
        layer.features = meta["features"]
        for key in POINT_STYLE_KEYS:
            if key in meta:
                setattr(layer, key, meta[key])

    def _add_layer(self) -> None:
        from napari.layers import Layer

        beside = next((x for x in self._layers if x in self._viewer.layers), None)
        about = layer_metadata(beside)
        one = landmark_layer(
            self._known,
            name=getattr(about.source, "name", "image"),
            shape=self._shape,
            placement=placement_of(beside) if beside is not None else None,
            metadata=LayerMetadata(source=about.source, provenance=about.provenance),
        )
        if about.stack is not None:
            self._watch(about.stack.add(one, about.index))
            return
        layer = Layer.create(*one)
        self._viewer.add_layer(layer)
        self._watch(layer)

    def _watch(self, layer: Points) -> None:
        self._layer = layer
        layer.events.data.connect(self._on_data)

    def mark_fovea(self) -> None:
        """Let the next click in the picture put the fovea."""
        if self._layer is None or self._layer not in self._viewer.layers:
            self._add_layer()
        layer: Any = self._layer
        layer.feature_defaults = {"structure": describe("FOVEA").name}
        layer.current_symbol = "cross"
        layer.current_size = max(self._shape) / 60
        layer.current_face_color = layer.current_border_color = describe("FOVEA").colour
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = "add"

    def _on_data(self, event: Any) -> None:
        # napari reports a change before it is made, too; and again while a point is dragged.
        if self._own_change or str(getattr(event, "action", "")).endswith("ing"):
            return
        # Features follow the data only after this event.
        QTimer.singleShot(0, self._read)

    def _read(self) -> None:
        layer: Any = self._layer
        if layer is None or self._own_change:
            return
        now = read_landmarks(layer, self._known)
        if now == self._known:
            return
        if layer.mode == "add":
            layer.mode = "pan_zoom"
        given = Landmarks(
            disc=now.disc if now.disc and now.disc.source == "annotated" else None,
            fovea=now.fovea if now.fovea and now.fovea.source == "annotated" else None,
        )
        photograph = layer_metadata(layer).source
        if photograph is not None and not layer_metadata(layer).index:
            store_landmarks(photograph, given)
        self.landmarks_edited.emit(given)


def _measured(detections: Detections) -> tuple[Landmarks, pd.DataFrame]:
    known = detections.landmarks
    if known.fovea is None or known.disc is None or known.disc.diameter is None:
        return known, pd.DataFrame()
    # Of a copy, with which its label images go: of 12 megapixels they take 50 MB a class.
    return known, quantify(replace(detections)).summary


def _landmarks_text(known: Landmarks) -> str:
    if not known:
        return "Optic disc and fovea are not known."
    disc = "Optic disc not known"
    if known.disc is not None:
        size = "" if known.disc.diameter is None else f", {known.disc.diameter:.0f} px across"
        disc = f"Optic disc {known.disc.source}{size}"
    fovea = "fovea not known" if known.fovea is None else f"fovea {known.fovea.source}"
    return f"{disc}; {fovea}."


def _near_fovea_html(summary: pd.DataFrame) -> str:
    """Return a small table of what lies near the fovea; empty where that is not known."""
    if summary.empty:
        return ""
    lines = []
    for row in summary.to_dict("records"):
        number, share = int(row["near_fovea_count"]), row["near_fovea_percent"]
        info = describe(str(row["lesion"]))
        if number:
            area = "" if pd.isna(share) else format_percent(share)
            name = info.name if number == 1 else info.plural
            lines.append(
                f"<tr><td align=right><b>{number}</b></td><td>&nbsp;{name}&nbsp;</td>"
                f"<td align=right>{escape(area)}</td></tr>"
            )
    title = "Within 1 disc diameter of the fovea"
    if not lines:
        return f"{title}: no lesion."
    return f"{title} (% of field):<table>{''.join(lines)}</table>"
