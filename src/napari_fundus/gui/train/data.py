"""The training data: a data set's folder, corrections, or the viewer's own layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_fundus.datasets import write_correction
from napari_fundus.errors import DatasetError
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.layouts import column_layout, form_layout, make_combo
from napari_fundus.gui.layers.placement import ImageSource, image_source
from napari_fundus.results.layer_metadata import as_array, layer_metadata, lesion_in_name

if TYPE_CHECKING:
    from napari.components import ViewerModel

FOLDER, LAYERS = "folder", "layers"


@dataclass(frozen=True, eq=False)
class LayerData:
    """An image and its labels, taken from the viewer.

    Attributes
    ----------
    source
        The image layer.
    labels
        Class code to labels: integer, shape (H, W).
    """

    source: ImageSource
    labels: dict[str, npt.NDArray[Any]]

    def write(self, folder: Path) -> Path:
        """Write them as a data set of one image; not for the main thread."""
        write_correction(
            folder,
            image=self.source.load(),
            labels=self.labels,
            reviewed=sorted(self.labels),
            overwrite=True,
        )
        return folder


class DataChoice(QWidget):
    """A folder of any data set that can be opened, corrections among them, or open layers."""

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.kind = make_combo(
            ("A data set or corrections", FOLDER), ("The open image and labels", LAYERS)
        )
        self.kind.setAccessibleName("Kind of data")
        self.folder = FolderEdit("Folder of the data", "as unpacked, or as saved by Review")
        self.layers = QWidget()
        self.image = LayerChoice(viewer)
        self.labels = QListWidget()
        self.labels.setFixedHeight(84)
        self.labels.setAccessibleName("Labels to learn from")
        self.labels.setToolTip(
            "Ticked layers are the truth: what is not marked there counts as no lesion."
        )
        form_layout(("Image", self.image.native), ("Labels", self.labels), parent=self.layers)
        column_layout(self, self.kind, self.folder, self.layers)
        self.kind.currentIndexChanged.connect(lambda _: self._show_kind())
        self.folder.changed.connect(self.changed)
        self.image.changed.connect(lambda: self._list_labels())
        events = viewer.layers.events
        self._connections = Connections()
        self._connections.connect(self._list_labels, events.inserted, events.removed)
        self._offered: list[tuple[Labels, str]] = []
        self._show_kind()
        self._list_labels()

    def set_data(self, path: str | Path | None) -> None:
        """Choose a folder; None for the open layers."""
        self.kind.setCurrentIndex(self.kind.findData(LAYERS if path is None else FOLDER))
        if path is not None:
            self.folder.set_path(path)

    def data(self) -> Path | LayerData:
        """Return the folder, or a copy of the layers; quick, for the main thread.

        Raises
        ------
        DatasetError
            There is no such folder, or no labels of a known class are ticked.
        UnsupportedImageError
            The image layer is no photograph.
        """
        if self.kind.currentData() == FOLDER:
            path = self.folder.path()
            if path is None:
                raise DatasetError("Choose the folder of a data set to train on.")
            if not path.is_dir():
                raise DatasetError(f"There is no folder {path}.")
            return path.resolve()
        layer = self.image.layer()
        if layer is None:
            raise DatasetError("Open a photograph to train on, or choose a folder.")
        source = image_source(layer, self._viewer.dims.point)
        shape = tuple(source.data.shape[len(source.index) :][:2])
        masks: dict[str, npt.NDArray[Any]] = {}
        for labels, lesion in self.checked_labels():
            pixels = as_array(labels.data)
            pixels = pixels[source.index] if pixels.ndim > 2 else pixels
            if pixels.shape != shape:
                raise DatasetError(f"{labels.name!r} does not have the size of {layer.name!r}.")
            if lesion in masks:
                masks[lesion] = np.maximum(masks[lesion], pixels)
            else:
                # A copy: the user may go on painting while it is written.
                masks[lesion] = np.array(pixels)
        if not masks:
            raise DatasetError(
                "Tick labels to learn from. Their class is read from the end of their name, such "
                "as 'MA' or 'hard exudates'."
            )
        return LayerData(source, masks)

    def checked_labels(self) -> list[tuple[Labels, str]]:
        """Return the layers to learn from, with their classes."""
        return [
            pair
            for row, pair in enumerate(self._offered)
            if self.labels.item(row).checkState() == Qt.CheckState.Checked
        ]

    def disconnect_viewer(self) -> None:
        """Disconnect from the viewer's events."""
        self._connections.disconnect()
        self.image.disconnect_viewer()

    def _show_kind(self) -> None:
        from_layers = self.kind.currentData() == LAYERS
        self.folder.setVisible(not from_layers)
        self.layers.setVisible(from_layers)
        self.changed.emit()

    def _list_labels(self, event: Any = None) -> None:
        unticked = {
            id(layer)
            for row, (layer, _) in enumerate(self._offered)
            if self.labels.item(row).checkState() != Qt.CheckState.Checked
        }
        found = [
            (layer, lesion)
            for layer in self._viewer.layers
            if isinstance(layer, Labels)
            and (lesion := layer_metadata(layer).lesion or lesion_in_name(layer.name))
        ]
        self.labels.clear()
        self._offered = found
        for layer, lesion in found:
            item = QListWidgetItem(f"{lesion}: {layer.name}")
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            ticked = layer.visible and id(layer) not in unticked
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
            self.labels.addItem(item)
