"""A part of a form that can be folded away, and is as high as its content when it is not."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from qtpy.QtWidgets import QWidget
from superqt.collapsible import QCollapsible

__all__ = ["collapsible_box"]

_UNBOUNDED = (1 << 24) - 1
"""Qt's own greatest height of a widget."""


def collapsible_box(title: str, *parts: QWidget) -> QCollapsible:
    """Return `parts` behind a title.

    superqt bounds the height by what the content asks for when it is opened, which is too little
    where the content was not laid out before or changes later: so the bound is taken away.
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
