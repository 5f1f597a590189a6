"""Going to a lesion: the camera's centre and zoom, and a table whose rows lead there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_fundus.gui.layers.napari_compat import canvas_size, get_camera

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_MIN_CONTEXT_PX = 160.0
"""Least side, in pixels of the picture, of what is seen around a lesion."""

Column = tuple[str, str, Callable[[Any], str]]
"""Heading, name in the data frame, and how a value is written."""


def go_to(viewer: ViewerModel, layer: Layer, row: float, col: float, *, size: float = 0.0) -> None:
    """Show a place of a layer in the middle of the canvas, with its surroundings.

    Parameters
    ----------
    viewer
        The viewer.
    layer
        In whose pixels the place is given.
    row, col
        The place.
    size
        Side of what is there, px: it takes up to a sixth of the canvas.
    """
    look_at(viewer, layer, row, col, side=max(_MIN_CONTEXT_PX, 6 * size))


def look_at(viewer: ViewerModel, layer: Layer, row: float, col: float, *, side: float) -> None:
    """Show a square of `side` pixels of a layer around a place, as large as the canvas allows."""
    corners = np.array([[row, col], [row, col + 1.0], [row + 1.0, col]])
    here, *beside = (np.asarray(layer.data_to_world(corner)) for corner in corners)
    pixel = max(float(np.linalg.norm(corner - here)) for corner in beside)
    camera = get_camera(viewer)
    camera.center = (0.0, *here[-2:])
    camera.zoom = min(canvas_size(viewer)) / (side * pixel)


class _DataFrameModel(QAbstractTableModel):
    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.frame = pd.DataFrame()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self.frame)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.columns)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self.columns[section][0]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            _, name, write = self.columns[index.column()]
            value = self.frame.iloc[index.row()][name]
            return "–" if pd.isna(value) else write(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 1:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        name = self.columns[column][1]
        if name not in self.frame:
            return
        self.layoutAboutToBeChanged.emit()
        ascending = order == Qt.SortOrder.AscendingOrder
        self.frame = self.frame.sort_values(
            name, ascending=ascending, kind="stable", ignore_index=True
        )
        self.layoutChanged.emit()


class LesionTable(QTableView):
    """Rows of lesions, sortable; choosing one emits it.

    Parameters
    ----------
    columns
        What is shown of a row.
    """

    row_chosen = Signal(object)
    """The row that a person chose, as a dictionary."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._frame = _DataFrameModel(columns)
        self.setModel(self._frame)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        self.setMinimumHeight(220)
        self.selectionModel().currentRowChanged.connect(self._on_current)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows in the order shown."""
        return self._frame.frame

    def set_data_frame(self, frame: pd.DataFrame) -> None:
        """Show other rows, in the order chosen before; no row is chosen then."""
        self._frame.beginResetModel()
        self._frame.frame = frame.reset_index(drop=True)
        self._frame.endResetModel()
        header = self.horizontalHeader()
        if header.sortIndicatorSection() >= 0:
            self._frame.sort(header.sortIndicatorSection(), header.sortIndicatorOrder())

    def choose(self, row: int) -> None:
        """Choose a row by its place, as a click does."""
        if 0 <= row < len(self.frame):
            self.selectRow(row)
            self.scrollTo(self._frame.index(row, 0))

    def _on_current(self, index: QModelIndex, _: QModelIndex) -> None:
        if index.isValid():
            self.row_chosen.emit(dict(self.frame.iloc[index.row()]))
