"""What docked widgets are laid out with: a column that scrolls, columns, forms, combo boxes."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

_WIDTH = 345
"""Minimum width in pixels at which napari's theme cuts off no control."""

_CHIP = 12
"""Side of a colour's square in pixels."""

_CHIP_BORDER = "#7d7d7d"
"""Contrast with napari's dark and light ground is above 3 : 1."""


def scrollable_layout(widget: QWidget) -> QVBoxLayout:
    """Give `widget` a column that scrolls vertically, and return its layout."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    column_layout(widget, scroll)
    inner = QWidget()
    scroll.setWidget(inner)
    widget.setMinimumWidth(_WIDTH)
    column = QVBoxLayout(inner)
    column.setSpacing(8)
    return column


def column_layout(parent: QWidget, *parts: QWidget | QLayout, spacing: int = 4) -> QVBoxLayout:
    """Give `parent` a column without margins, with `parts` in it, and return its layout."""
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    for part in parts:
        if isinstance(part, QWidget):
            column.addWidget(part)
        else:
            column.addLayout(part)
    return column


def form_layout(*rows: tuple[str, QWidget | QLayout], parent: QWidget | None = None) -> QFormLayout:
    """Return a form without margins whose controls are as wide as it is.

    Parameters
    ----------
    *rows
        Label and control of each row.
    parent
        The widget that it fills, if any.
    """
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, control in rows:
        form.addRow(label, control)
    return form


def make_combo(*items: tuple[str, Any]) -> QComboBox:
    """Return a combo box of texts and the data behind each."""
    combo = QComboBox()
    for text, data in items:
        combo.addItem(text, data)
    return combo


def colour_square(colour: str) -> QPixmap:
    """Return a square of a colour with a grey border: seen on dark and on light ground."""
    square = QPixmap(_CHIP, _CHIP)
    square.fill(QColor(_CHIP_BORDER))
    painter = QPainter(square)
    painter.fillRect(1, 1, _CHIP - 2, _CHIP - 2, QColor(colour))
    painter.end()
    return square


def colour_chip(colour: str) -> QLabel:
    """Return a label with a square of a colour, for a row or a legend."""
    chip = QLabel()
    chip.setPixmap(colour_square(colour))
    chip.setFixedSize(_CHIP, _CHIP)
    return chip


def shrink_combo(combo: QComboBox, characters: int = 12) -> QComboBox:
    """Let a combo box be narrower than its longest item, which must not widen the dock."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(characters)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo
