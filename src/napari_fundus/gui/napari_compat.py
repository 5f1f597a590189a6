"""The only door to what napari does not promise: each function names what it relies on."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

__all__ = ["dock_below", "when_removed"]


class _ParentWatch(QObject):
    def __init__(self, widget: QWidget, action: Callable[[], None]) -> None:
        super().__init__(widget)
        self._widget = widget
        self._action = action
        self._was_docked = False
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        kind = event.type()
        if kind == QEvent.Type.ParentChange:
            if self._widget.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self._was_docked = False
                self._action()
        elif kind == QEvent.Type.Close and self._widget.parent() is None:
            self._action()
        return False


def when_removed(widget: QWidget, action: Callable[[], None]) -> None:
    """Call `action` when napari takes `widget` out of its window.

    napari (0.9) tells plugins nothing of it: it takes the widget's parent away and drops it.
    """
    _ParentWatch(widget, action)


def dock_below(dock: QDockWidget, height: int) -> None:
    """Move a docked widget below the canvas.

    napari (0.9) docks a plugin's widget where its manifest says, and its own tables at the right,
    where one would squeeze what stands there. That the dock's parent is the main window is Qt's
    promise.
    """
    window = dock.parent()
    if isinstance(window, QMainWindow):
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        window.resizeDocks([dock], [height], Qt.Orientation.Vertical)
