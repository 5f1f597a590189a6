"""A collapsible part of a form, as high as its content while it is open."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget
from superqt.collapsible import QCollapsible

_UNBOUNDED = (1 << 24) - 1
"""Qt's own greatest height of a widget."""


def collapsible_box(title: str, *parts: QWidget) -> QCollapsible:
    """Return a collapsible box with `parts`.

    superqt limits the height to the content's size hint when the box is opened, which is too small
    if the content has not been laid out yet or grows later. Here the height has no limit.
    """
    box = QCollapsible(title)
    box.setDuration(0)
    for part in parts:
        box.addWidget(part)
        part.removeEventFilter(box)

    def bound(opened: bool) -> None:  # noqa: FBT001 - Qt calls it so
        box.content().setMaximumHeight(_UNBOUNDED if opened else 0)

    box.toggled.connect(bound)
    return box
