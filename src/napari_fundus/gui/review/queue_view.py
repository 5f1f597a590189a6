"""The queue as a list: what was said of each lesion, and how far the review is."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QTableView,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_fundus.gui.controls.layouts import colour_square, column_layout, make_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.lesions import describe
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.queue import ORDERS, ReviewQueue
from napari_fundus.review.session import Review

_HEADS = ("", "class", "id", "score", "px")
_MARKS = {
    None: "",
    "accepted": "✓",
    "rejected": "✗",
    "relabelled": "→",
    "drawn": "✎",
    "edited": "✎",
}
_ROW_HEIGHT = 22
_LIST_HEIGHT = 190


def lesion_html(lesion: ReviewedLesion) -> str:
    """Return what the reviewer should know of a lesion, as rich text of one or two lines."""
    info = describe(lesion.lesion)
    parts = [f"<b>{info.name}</b> {lesion.id}", f"{lesion.area} px"]
    if lesion.score == lesion.score:
        near = f" (threshold {lesion.threshold:.2f})" if lesion.threshold > 0 else ""
        parts.append(f"score {lesion.score:.2f}{near}")
    text = " · ".join(parts)
    notes = []
    if lesion.source:
        notes.append(f"found by {lesion.source} only")
    elif lesion.alone:
        notes.append("not found by the other detector")
    if lesion.verdict == "relabelled" and lesion.detected:
        notes.append(f"relabelled from {lesion.detected}")
    elif lesion.verdict:
        notes.append(lesion.verdict)
    return text + ("<br>" + ", ".join(notes) if notes else "<br>no verdict yet")


class QueueModel(QAbstractTableModel):
    """Lesions in the order of a queue, a row each."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: ReviewQueue | None = None
        self._lesions: dict[int, ReviewedLesion] = {}

    def take(self, queue: ReviewQueue | None, lesions: dict[int, ReviewedLesion]) -> None:
        """Show another queue, or the same after a change."""
        self.beginResetModel()
        self._queue, self._lesions = queue, lesions
        self.endResetModel()

    def lesion(self, row: int) -> ReviewedLesion | None:
        """Return the lesion of a row."""
        if self._queue is None or not 0 <= row < len(self._queue):
            return None
        return self._lesions.get(self._queue.ids[row])

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of lesions."""
        return 0 if self._queue is None else len(self._queue)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return len(_HEADS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's name."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return _HEADS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, colour or tooltip of a cell."""
        lesion = self.lesion(index.row())
        if lesion is None:
            return None
        column = index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            score = f"{lesion.score:.2f}" if lesion.score == lesion.score else "–"
            mark = _MARKS[lesion.verdict] or ("◦" if lesion.alone else "")
            return (mark, lesion.lesion, str(lesion.id), score, str(lesion.area))[column]
        if role == Qt.ItemDataRole.DecorationRole and column == 1:
            return colour_square(describe(lesion.lesion).colour)
        if role == Qt.ItemDataRole.ForegroundRole:
            return QColor("#808080") if lesion.verdict == "rejected" else None
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= 2:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"<qt>{lesion_html(lesion)}</qt>"
        return None


class QueueView(QWidget):
    """The list with its order, a class to look at, counts and progress."""

    chosen = Signal(int)
    """A lesion was clicked: its id."""
    order_changed = Signal(str, object)
    """Another order or class was chosen: name of the order, class code or None."""

    def __init__(self) -> None:
        super().__init__()
        line = QHBoxLayout()
        line.addWidget(QLabel("First"))
        self.order = make_combo(*((title, name) for name, title in ORDERS.items()))
        self.only = make_combo(("all", None))
        self.only.setToolTip("Show the lesions of one class only")
        line.addWidget(self.order, 3)
        line.addWidget(self.only, 1)
        self.model = QueueModel()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Letters are the reviewer's keys: the list must not search by them.
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.table.setColumnWidth(0, 26)
        self.table.setShowGrid(False)
        self.table.setFixedHeight(_LIST_HEIGHT)
        self.table.clicked.connect(self._on_clicked)
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m judged")
        self.counts = MessageLabel()
        column_layout(self, line, self.table, self.progress, self.counts)
        self.order.currentIndexChanged.connect(self._on_arranged)
        self.only.currentIndexChanged.connect(self._on_arranged)

    def _on_clicked(self, index: QModelIndex) -> None:
        lesion = self.model.lesion(index.row())
        if lesion is not None:
            self.chosen.emit(lesion.id)

    def _on_arranged(self, _: int) -> None:
        self.order_changed.emit(self.order.currentData(), self.only.currentData())

    def offer(self, classes: list[str], queue: ReviewQueue) -> None:
        """List the classes to choose from, and show the order of a queue."""
        with signals_blocked(self.order, self.only):
            self.only.clear()
            self.only.addItem("all", None)
            for code in classes:
                self.only.addItem(code, code)
            self.only.setCurrentIndex(max(self.only.findData(queue.lesion), 0))
            self.order.setCurrentIndex(self.order.findData(queue.order))

    def show_state(self, review: Review | None, queue: ReviewQueue | None) -> None:
        """Show list, place, counts and progress."""
        self.model.take(queue, review.lesions if review is not None else {})
        counts = review.counts if review is not None else {}
        total = sum(counts.values())
        left = counts.get("left", 0)
        # Qt draws a progress bar, and with it the picture behind, before it goes on: not here.
        self.progress.setUpdatesEnabled(False)
        self.progress.setRange(0, max(total, 1))
        self.progress.setValue(total - left)
        self.progress.setUpdatesEnabled(True)
        order = ("left", "accepted", "rejected", "relabelled", "edited", "drawn")
        parts = [f"{counts.get(n, 0)} {n}" for n in order if n in order[:3] or counts.get(n)]
        self.counts.setText(" · ".join(parts) if review is not None else "")
        if queue is not None and len(queue):
            self.table.selectRow(queue.position)
            self.table.scrollTo(self.model.index(queue.position, 0))
