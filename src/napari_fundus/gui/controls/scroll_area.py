"""The layout of a docked widget: a column that scrolls if the window is too low for it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

_WIDTH = 345
"""Minimum width in pixels at which napari's theme cuts off no control."""


def scrollable_layout(widget: QWidget) -> QVBoxLayout:
    """Give `widget` a column that scrolls vertically, and return its layout."""
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    outer.addWidget(scroll)
    inner = QWidget()
    scroll.setWidget(inner)
    widget.setMinimumWidth(_WIDTH)
    column = QVBoxLayout(inner)
    column.setSpacing(8)
    return column
