"""The widget *Resemblance*: lesions coloured by what they look like to the refinement network."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyqtgraph as pg
from napari.layers import Labels, Points
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QLabel, QSizePolicy, QWidget

from napari_fundus.backends.multiscale import (
    DEFAULT_CHECKPOINT,
    embed_points,
    nearest_neighbours,
    project_pca,
)
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.controls.scroll_area import scrollable_layout
from napari_fundus.gui.layers.box_layer import features_of
from napari_fundus.gui.layers.build import add_layers
from napari_fundus.gui.layers.go_to import go_to
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.layers.placement import ImageSource, image_source
from napari_fundus.plugins import find_detectors
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari

    from napari_fundus.results.live import LiveResult

_REFINER_DETECTOR = "multiscale"
"""Name of the detector whose network looks at the lesions."""

_SIMILAR_SHOWN = 6
_THUMBNAIL = 104
_SURROUNDINGS = 1 / 40
"""Half the side of a thumbnail as a share of the picture's longer side."""


@dataclass(frozen=True, eq=False)
class _EmbeddedLesions:
    source: ImageSource
    table: pd.DataFrame
    embeddings: npt.NDArray[np.float32]
    plane: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]


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
    plot goes to the lesion, and shows those most alike to it.

    Parameters
    ----------
    viewer
        The napari viewer.
    checkpoint
        Weights of the multi-scale detector.
    """

    shown = Signal(object)
    """The layer of points, once it is in the viewer."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        *,
        checkpoint: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        viewer = self._viewer = unwrap_viewer(viewer)
        self._checkpoint = checkpoint
        self._found: _EmbeddedLesions | None = None
        self._live: LiveResult | None = None
        self.points: Points | None = None
        layout = scrollable_layout(self)
        about = QLabel(
            "Looks at each lesion of a result with the refinement network, and colours those alike "
            "that it takes for alike: a false alarm often stands apart."
        )
        about.setWordWrap(True)
        layout.addWidget(about)
        self.labels_choice = QComboBox()
        self.labels_choice.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.labels_choice.setMinimumContentsLength(12)
        self.labels_choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.device_choice = DeviceChoice()
        if (refining := find_detectors().detectors.get(_REFINER_DETECTOR)) is not None:
            self.device_choice.set_detector(refining)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Lesions", self.labels_choice)
        form.addRow("Device", self.device_choice)
        layout.addLayout(form)
        self.run_bar = RunBar("Compare lesions")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.returned.connect(self._show)
        layout.addWidget(self.run_bar)
        self.plot = pg.PlotWidget(background=None)
        self.plot.setMinimumHeight(240)
        self.plot.setAspectLocked(True)
        self.plot.hideAxis("left")
        self.plot.hideAxis("bottom")
        self.dots = pg.ScatterPlotItem(size=9, hoverable=True, hoverSize=13, tip=None)
        self.dots.sigClicked.connect(self._clicked)
        self.plot.addItem(self.dots)
        layout.addWidget(self.plot)
        self.plot.setVisible(False)
        self.similar_title = QLabel()
        self.similar_title.setWordWrap(True)
        layout.addWidget(self.similar_title)
        self.gallery = QGridLayout()
        layout.addLayout(self.gallery)
        self.thumbnails: list[QLabel] = []
        layout.addStretch(1)
        self._layers: list[Labels] = []
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._list)
        self._list()
        on_widget_removed(self, self.shutdown)

    def _list(self, event: Any = None) -> None:
        """Offer the lesions of results, the newest first."""
        chosen = self.labels_layer()
        self._layers = [
            layer
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, Labels) and layer_metadata(layer).kind == "labels"
        ]
        self.labels_choice.clear()
        self.labels_choice.addItems([layer.name for layer in self._layers])
        # At first the class of which most was found: with one lesion there is nothing to compare.
        counts = [len(layer.features) for layer in self._layers]
        if chosen is None and counts:
            self.labels_choice.setCurrentIndex(counts.index(max(counts)))
        for index, layer in enumerate(self._layers):
            if layer is chosen:
                self.labels_choice.setCurrentIndex(index)
        self.run_bar.show_message("" if self._layers else "Detect lesions first.")

    def labels_layer(self) -> Labels | None:
        """Return the chosen lesions."""
        index = self.labels_choice.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def run(self) -> None:
        """Compare the lesions of the chosen layer."""
        labels = self.labels_layer()
        image = layer_metadata(labels).source
        if labels is None or self.run_bar.running:
            return
        if image is None or image not in self._viewer.layers:
            self.run_bar.show_message("The photograph with these lesions is not open.")
            return
        lesions = _lesion_table(labels)
        source = image_source(image, self._viewer.dims.point)
        device, weights = self.device_choice.device(), self._checkpoint

        def work(monitor: Monitor) -> _EmbeddedLesions:
            table = lesions()
            if not len(table):
                raise FundusError("This layer has no lesion to compare.")
            photograph = source.load()
            places = table[["centroid_row", "centroid_col"]].to_numpy(np.float64)
            embeddings, probability = embed_points(
                photograph,
                places,
                checkpoint=weights or DEFAULT_CHECKPOINT,
                device=device,
                monitor=monitor,
            )
            columns = [c for c in ("index", "lesion", "score", "area_px") if c in table]
            looked_at = table[["centroid_row", "centroid_col", *columns]].copy()
            looked_at["refiner"] = probability
            plane = project_pca(embeddings)
            return _EmbeddedLesions(source, looked_at, embeddings, plane, photograph.rgb8)

        self._follow(layer_metadata(labels).live)
        self.run_bar.start(work)

    def _follow(self, live: LiveResult | None) -> None:
        """Say when the lesions of `live` are no longer those that were compared."""
        if self._live is not None:
            self._live.settings_changed.disconnect(self._on_changed)
            self._live.edited_changed.disconnect(self._on_changed)
        self._live = live
        if live is not None:
            live.settings_changed.connect(self._on_changed)
            live.edited_changed.connect(self._on_changed)

    def _on_changed(self) -> None:
        self.run_bar.show_message("The lesions have changed since: compare them again.")

    def _show(self, found: _EmbeddedLesions) -> None:
        self._found = found
        colours = embedding_colours(found.plane)
        if self.points is not None and self.points in self._viewer.layers:
            self._viewer.layers.remove(self.points)
        data = found.table[["centroid_row", "centroid_col"]].to_numpy(np.float64)
        meta = {
            "name": f"{found.source.name}: resemblance",
            "size": max(found.pixels.shape) / 120,
            "face_color": colours,
            "border_color": "black",
            "features": found.table.drop(columns=["centroid_row", "centroid_col"]),
            "metadata": {METADATA_KEY: LayerMetadata(kind="resemblance")},
            **found.source.placement,
        }
        active = self._viewer.layers.selection.active
        (layer,) = add_layers(self._viewer, [(data, meta, "points")])
        self._viewer.layers.selection.active = active
        self.points = layer
        brushes = [pg.mkBrush(*(255 * colour).astype(int)) for colour in colours]
        self.dots.setData(
            found.plane[:, 1], found.plane[:, 0], brush=brushes, data=list(range(len(colours)))
        )
        self.plot.setVisible(True)
        self.plot.autoRange()
        self.similar_title.setText("Click a point to see the lesion, and those most alike.")
        self.run_bar.show_message("")
        self.shown.emit(layer)

    def _clicked(self, _: Any, dots: Any, *__: Any) -> None:
        if len(dots):
            self.go_to(int(dots[0].data()))

    def go_to(self, index: int) -> None:
        """Move the view to a lesion, by its row in the points' table; show those most alike."""
        if self._found is None:
            return
        place = self._found.table.loc[index, ["centroid_row", "centroid_col"]].to_numpy(float)
        if self.points is not None and self.points in self._viewer.layers:
            go_to(self._viewer, self.points, *place)
            self.points.selected_data = {index}
        alike = nearest_neighbours(self._found.embeddings, index, _SIMILAR_SHOWN - 1)
        self.similar_title.setText("This lesion, and those most alike:")
        for label in self.thumbnails:
            self.gallery.removeWidget(label)
            label.deleteLater()
        self.thumbnails = [self._thumbnail(int(row)) for row in (index, *alike)]
        for number, label in enumerate(self.thumbnails):
            self.gallery.addWidget(label, number // 3, number % 3)

    def _thumbnail(self, row: int) -> QLabel:
        assert self._found is not None  # noqa: S101  # only called with a result
        pixels = self._found.pixels
        half = max(int(max(pixels.shape) * _SURROUNDINGS), 8)
        at = self._found.table.loc[row, ["centroid_row", "centroid_col"]].to_numpy(float)
        top, left = (
            int(np.clip(round(v) - half, 0, max(n - 2 * half, 0)))
            for v, n in zip(at, pixels.shape, strict=False)
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
        known = self._found.table.loc[row]
        label.setToolTip(", ".join(f"{name} {_short(value)}" for name, value in known.items()))
        return label

    def shutdown(self) -> None:
        """Cancel everything and stop listening: the widget was closed."""
        self._follow(None)
        self.run_bar.cancel_silently()
        self.device_choice.cancel_silently()
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self._list)


def _lesion_table(labels: Labels) -> Callable[[], pd.DataFrame]:
    """Return a function, for a thread, that gives the lesions a layer shows now, one row each.

    They are those of its live result, edits included; of labels without one, those of its features.
    """
    known, features = layer_metadata(labels), pd.DataFrame(labels.features)
    if known.live is not None:
        snapshot, code = known.live.snapshot(), known.lesion
        return lambda: features_of(snapshot().instances, code)
    if "centroid_row" not in features:
        return pd.DataFrame
    table = features[np.isfinite(features["centroid_row"])].reset_index(drop=True)
    return lambda: table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
