"""The widget *Similarity of lesions*: colours that are alike where the refinement network is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyqtgraph as pg
from napari.layers import Labels, Points
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_fundus.backends.multiscale import (
    DEFAULT_CHECKPOINT,
    embed_points,
    nearest_neighbours,
    project_pca,
)
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.curve_canvas import PLOT_GROUND
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.layouts import form_layout, scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.layers.build import add_layers
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.gui.layers.go_to import go_to
from napari_fundus.gui.layers.napari_compat import (
    keep_active_layer,
    on_widget_removed,
    unwrap_viewer,
)
from napari_fundus.gui.layers.placement import ImageSource, image_source, lies_at
from napari_fundus.image import FundusImage
from napari_fundus.plugins import find_detectors
from napari_fundus.results.layer_metadata import (
    METADATA_KEY,
    LayerMetadata,
    layer_metadata,
    layer_snapshot,
)
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari

_REFINER_DETECTOR = "multiscale"
"""Name of the detector whose network looks at the lesions."""

_SIMILAR_SHOWN = 6
_THUMBNAIL = 96
_SURROUNDINGS = 1 / 40
"""Half the side of a thumbnail as a share of the picture's longer side."""

_IDLE_MS = 300
"""Time without changes of a result after which its lesions are compared again."""

_CENTRE = ["centroid_row", "centroid_col"]
_COLUMNS = ["index", "lesion", "score", "area_px"]


@dataclass(frozen=True, eq=False)
class _EmbeddedLesions:
    source: ImageSource
    photograph: FundusImage
    table: pd.DataFrame
    embeddings: npt.NDArray[np.float32]
    plane: npt.NDArray[np.float32]

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Row and column of each lesion."""
        return self.table[_CENTRE].to_numpy(np.float64)

    def row_at(self, centre: npt.NDArray[np.float64]) -> int | None:
        """Return the row of the lesion with this very centre; None if there is none."""
        rows = np.flatnonzero((self.centres == centre).all(axis=1))
        return int(rows[0]) if len(rows) else None


def _embed_lesions(
    source: ImageSource,
    lesions: pd.DataFrame,
    before: _EmbeddedLesions | None,
    *,
    checkpoint: str,
    device: str,
    monitor: Monitor,
) -> _EmbeddedLesions:
    """Run the network on lesions; those with a centre of `before` have the same embedding again."""
    table = lesions[np.isfinite(lesions[_CENTRE[0]])].rename(columns={"id": "index"})
    table = table[[*_CENTRE, *(c for c in _COLUMNS if c in table)]].reset_index(drop=True)
    photograph = source.load() if before is None else before.photograph
    centres = table[_CENTRE].to_numpy(np.float64)
    known: dict[tuple[float, ...], tuple[Any, float]] = {}
    if before is not None:
        values = zip(before.embeddings, before.table["refiner"], strict=True)
        known = dict(zip(map(tuple, before.centres), values, strict=True))
    new = np.array([tuple(centre) not in known for centre in centres], np.bool_)
    if new.any():
        fresh = embed_points(
            photograph, centres[new], checkpoint=checkpoint, device=device, monitor=monitor
        )
        known |= dict(zip(map(tuple, centres[new]), zip(*fresh, strict=True), strict=True))
    found = [known[tuple(centre)] for centre in centres]
    embeddings = np.array([embedding for embedding, _ in found], np.float32)
    table["refiner"] = np.array([probability for _, probability in found], np.float32)
    return _EmbeddedLesions(source, photograph, table, embeddings, project_pca(embeddings))


def embedding_colours(plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a colour for each point of a plane: hue by direction, paler towards the middle.

    Parameters
    ----------
    plane
        Float, shape (N, 2), from −1 to 1.

    Returns
    -------
    ndarray
        float64, shape (N, 4), RGBA in [0, 1].
    """
    from matplotlib.colors import hsv_to_rgb

    plane = np.asarray(plane, np.float64)
    hue = np.arctan2(plane[:, 0], plane[:, 1]) / (2 * np.pi) % 1
    pale = np.clip(np.hypot(plane[:, 0], plane[:, 1]), 0, 1)
    rgb = hsv_to_rgb(np.stack([hue, 0.25 + 0.75 * pale, np.ones(len(hue))], axis=1))
    return np.concatenate([rgb, np.ones((len(hue), 1))], axis=1)


class SimilarityWidget(QWidget):
    """Shows which lesions the multi-scale detector's refiner takes for alike.

    A layer of points over the lesions and a plot have the same colours; a click on a point of the
    plot goes to the lesion, and shows those most alike to it. Once lesions were compared, points
    and plot follow the thresholds, least area and edits of their result.

    Parameters
    ----------
    viewer
        The napari viewer.
    checkpoint
        Weights of the multi-scale detector.
    """

    shown = Signal(object)
    """The layer of points, once it shows the present lesions."""

    def __init__(self, viewer: napari.viewer.Viewer, *, checkpoint: str | None = None) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._checkpoint = checkpoint or DEFAULT_CHECKPOINT
        self._labels: Labels | None = None
        self._found: _EmbeddedLesions | None = None
        self._selected: npt.NDArray[np.float64] | None = None
        self.points: Points | None = None
        layout = scrollable_layout(self)
        about = MessageLabel(
            "Looks at each lesion of a result with the refinement network, and colours those alike "
            "that it takes for alike: a false alarm often stands apart."
        )
        layout.addWidget(about)
        self.labels_choice = LayerChoice(viewer, _shows_lesions, follow_selection=False)
        self.labels_choice.choose(max(self.labels_choice.choices, key=_count, default=None))
        self.device_choice = DeviceChoice()
        if (refining := find_detectors().detectors.get(_REFINER_DETECTOR)) is not None:
            self.device_choice.set_detector(refining)
        layout.addLayout(
            form_layout(("Lesions", self.labels_choice.native), ("Device", self.device_choice))
        )
        self.run_bar = RunBar("Compare lesions")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.returned.connect(self._show)
        layout.addWidget(self.run_bar)
        self.plot = pg.PlotWidget(background=PLOT_GROUND)
        self.plot.setMinimumHeight(240)
        self.plot.setAspectLocked(True)
        self.plot.hideAxis("left")
        self.plot.hideAxis("bottom")
        self.dots = pg.ScatterPlotItem(size=9, hoverable=True, hoverSize=13, tip=None)
        self.dots.sigClicked.connect(self._clicked)
        self.plot.addItem(self.dots)
        layout.addWidget(self.plot)
        self.plot.setVisible(False)
        self.similar_title = MessageLabel()
        layout.addWidget(self.similar_title)
        self.gallery = QGridLayout()
        layout.addLayout(self.gallery)
        self.thumbnails: list[QLabel] = []
        layout.addStretch(1)
        self._idle_timer = single_shot_timer(self, _IDLE_MS, self._compare_again)
        self._connections = Connections()
        self.labels_choice.changed.connect(self._show_choice)
        self._show_choice()
        on_widget_removed(self, self.shutdown)

    def _show_choice(self, *_: Any) -> None:
        self.run_bar.show_message("" if self.labels_layer() else "Detect lesions first.")

    def labels_layer(self) -> Labels | None:
        """Return the chosen lesions."""
        layer: Labels | None = self.labels_choice.layer()
        return layer

    def run(self) -> None:
        """Compare the lesions of the chosen layer, now and whenever its result changes."""
        labels = self.labels_layer()
        image = layer_metadata(labels).source
        if labels is None or self.run_bar.running:
            return
        if image is None or image not in self._viewer.layers:
            self.run_bar.show_message("The photograph with these lesions is not open.")
            return
        self._labels, self._found = labels, None
        self._compare(labels, image_source(image, self._viewer.dims.point))

    def _compare(self, labels: Labels, source: ImageSource) -> None:
        self._watch(labels)
        snapshot, before = layer_snapshot(labels), self._found
        options = {"checkpoint": self._checkpoint, "device": self.device_choice.device()}
        self.run_bar.start(
            lambda monitor: _embed_lesions(
                source, snapshot().table, before, monitor=monitor, **options
            )
        )

    def _watch(self, labels: Labels) -> None:
        """Compare again a while after a change: of settings, by hand, or to another result."""
        self._idle_timer.stop()
        self._connections.disconnect()
        events, live = labels.events, layer_metadata(labels).live
        self._connections.connect(self._schedule, events.paint, events.metadata)
        if live is not None:
            signals = live.settings_changed, live.shown_changed, live.edited_changed
            self._connections.connect(self._schedule, *signals)

    def _schedule(self, *_: Any) -> None:
        self._idle_timer.start()

    def _compare_again(self) -> None:
        if self.run_bar.running:
            self._idle_timer.start()
        elif self._labels is not None and self._found is not None:
            self._compare(self._labels, self._found.source)

    def _show(self, found: _EmbeddedLesions) -> None:
        self._found = found
        colours = embedding_colours(found.plane)
        look = {
            "size": max(found.photograph.shape) / 120,
            "face_color": colours if len(colours) else "white",
            "border_color": "black",
            "features": found.table.drop(columns=_CENTRE),
        }
        self.points = self._show_points(found, look)
        self.dots.setData(
            found.plane[:, 1],
            found.plane[:, 0],
            brush=[pg.mkBrush(*(255 * colour).astype(int)) for colour in colours],
            data=list(range(len(colours))),
        )
        self.plot.setVisible(len(colours) > 0)
        self.plot.autoRange()
        selected = None if self._selected is None else found.row_at(self._selected)
        self._show_similar(selected)
        self.run_bar.show_message("" if len(colours) else "This layer has no lesion to compare.")
        self.shown.emit(self.points)

    def _show_points(self, found: _EmbeddedLesions, look: dict[str, Any]) -> Points:
        """Show the lesions in the layer of points that is there, or in a new one."""
        layer = self.points
        if layer is not None and layer in self._viewer.layers:
            if lies_at(layer, found.source.placement):
                layer.selected_data = set()
                layer.data = found.centres
                for name, value in look.items():
                    setattr(layer, name, value)
                return layer
            self._viewer.layers.remove(layer)
        meta = {
            **look,
            "name": f"{found.source.name}: similarity",
            "metadata": {METADATA_KEY: LayerMetadata(kind="similarity")},
            **found.source.placement,
        }
        with keep_active_layer(self._viewer):
            (layer,) = add_layers(self._viewer, [(found.centres, meta, "points")])
        return layer

    def _clicked(self, _: Any, dots: Any, *__: Any) -> None:
        if len(dots):
            self.go_to(int(dots[0].data()))

    def go_to(self, index: int) -> None:
        """Move the view to a lesion, by its row in the points' table; show those most alike."""
        if self._found is None:
            return
        self._selected = self._found.centres[index]
        if self.points is not None and self.points in self._viewer.layers:
            go_to(self._viewer, self.points, *self._selected)
            self.points.selected_data = {index}
        self._show_similar(index)

    def _show_similar(self, index: int | None) -> None:
        """Show a lesion and those most alike to it; None for no lesion."""
        for label in self.thumbnails:
            self.gallery.removeWidget(label)
            label.deleteLater()
        self.thumbnails = []
        if self._found is None or index is None:
            self.similar_title.setText("Click a point to see the lesion, and those most alike.")
            return
        alike = nearest_neighbours(self._found.embeddings, index, _SIMILAR_SHOWN - 1)
        self.similar_title.setText("This lesion, and those most alike:")
        self.thumbnails = [self._thumbnail(self._found, int(row)) for row in (index, *alike)]
        for number, label in enumerate(self.thumbnails):
            self.gallery.addWidget(label, number // 3, number % 3)

    def _thumbnail(self, found: _EmbeddedLesions, row: int) -> QLabel:
        pixels = found.photograph.rgb8
        half = max(int(max(pixels.shape) * _SURROUNDINGS), 8)
        top, left = (
            int(np.clip(round(v) - half, 0, max(n - 2 * half, 0)))
            for v, n in zip(found.centres[row], pixels.shape, strict=False)
        )
        crop = np.ascontiguousarray(pixels[top : top + 2 * half, left : left + 2 * half])
        height, width = crop.shape[:2]
        # A copy: the picture's memory must outlive the array.
        image = QImage(crop.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        label = QLabel()
        label.setPixmap(
            QPixmap.fromImage(image).scaled(
                _THUMBNAIL,
                _THUMBNAIL,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        values = found.table.loc[row].items()
        label.setToolTip(", ".join(f"{name} {_short(value)}" for name, value in values))
        return label

    def shutdown(self) -> None:
        """Cancel everything and disconnect; is called when the widget is closed."""
        self._idle_timer.stop()
        self._connections.disconnect()
        self.run_bar.cancel_silently()
        self.device_choice.cancel_silently()
        self.labels_choice.disconnect_viewer()


def _shows_lesions(layer: Any) -> bool:
    return isinstance(layer, Labels) and layer_metadata(layer).kind == "labels"


def _count(layer: Labels) -> int:
    """Return how many lesions a layer has: with one lesion there is nothing to compare."""
    metadata = layer_metadata(layer)
    found = metadata.detections
    shown = None if metadata.live is None else metadata.live.shown.get(str(metadata.lesion))
    if shown is not None:
        return len(shown.table)
    return 0 if found is None else int((found.instances["lesion"] == metadata.lesion).sum())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
