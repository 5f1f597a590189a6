"""The figures of one image as two small tables: of lesions, and of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fundus.evaluation.assessment import Assessment
from napari_fundus.lesions import describe

_ROW = 22


def _ratio(name: str) -> Callable[[Any], str]:
    return lambda row: "–" if math.isnan(row[name]) else f"{row[name]:.3f}"


def _count(name: str) -> Callable[[Any], str]:
    return lambda row: f"{row[name]:,}"


def _found(row: Any) -> str:
    return f"{row['found']}/{row['lesions']}"


_OF_LESIONS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Class", "", lambda row: row["lesion"]),
    ("Found", "Lesions with at least one pixel covered, of all", _found),
    ("FP", "False positives: detections that touch no lesion", _count("false_positives")),
    ("Sens.", "Sensitivity: share of the lesions found", _ratio("sensitivity")),
    ("Prec.", "Precision: share of the detections that touch a lesion", _ratio("precision")),
    ("F1", "Harmonic mean of the two", _ratio("f1")),
)

_OF_PIXELS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Class", "", lambda row: row["lesion"]),
    ("Sens.", "Share of the lesion pixels found", _ratio("pixel_sensitivity")),
    ("Prec.", "Share of the found pixels that are lesion", _ratio("pixel_precision")),
    ("Dice", "2 TP / (2 TP + FP + FN)", _ratio("dice")),
    ("IoU", "TP / (TP + FP + FN)", _ratio("iou")),
    ("AUPR", "Area below precision over recall at 33 thresholds; of this image", _ratio("aupr")),
)


class MetricTables(QWidget):
    """Shows an assessment; a click on a row chooses its class."""

    class_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        self._tables: list[tuple[QTableWidget, Any]] = []
        for title, columns in (("Lesions", _OF_LESIONS), ("Pixels", _OF_PIXELS)):
            table = QTableWidget(0, len(columns))
            table.setHorizontalHeaderLabels([heading for heading, _, _ in columns])
            for index, (_, tip, _) in enumerate(columns):
                table.horizontalHeaderItem(index).setToolTip(tip)
            table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            table.horizontalHeader().setSectionResizeMode(
                1, QHeaderView.ResizeMode.ResizeToContents
            )
            table.verticalHeader().setVisible(False)
            table.verticalHeader().setDefaultSectionSize(_ROW)
            table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
            table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
            table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
            table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            table.setAccessibleName(f"Figures of {title.lower()}")
            table.cellClicked.connect(
                lambda row, _, table=table: self.class_chosen.emit(table.item(row, 0).text())
            )
            column.addWidget(QLabel(f"<b>{title}</b>"))
            column.addWidget(table)
            self._tables.append((table, columns))
        column.addStretch(1)
        self.show_metrics(None)

    def show_metrics(self, assessment: Assessment | None) -> None:
        """Show all classes; None empties the tables."""
        rows = [] if assessment is None else assessment.metrics.to_dict("records")
        for table, columns in self._tables:
            table.setRowCount(len(rows))
            for number, row in enumerate(rows):
                for index, (_, _, write) in enumerate(columns):
                    item = table.item(number, index)
                    if item is None:
                        item = QTableWidgetItem()
                        if index:
                            item.setTextAlignment(
                                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                            )
                        table.setItem(number, index, item)
                    item.setText(write(row))
                table.item(number, 0).setToolTip(describe(str(row["lesion"])).plural)
            table.setFixedHeight(
                table.horizontalHeader().sizeHint().height() + _ROW * len(rows) + 4
            )

    def mark(self, lesion: str | None) -> None:
        """Mark the row of a class."""
        for table, _ in self._tables:
            table.clearSelection()
            for row in range(table.rowCount()):
                if table.item(row, 0).text() == lesion:
                    table.selectRow(row)
