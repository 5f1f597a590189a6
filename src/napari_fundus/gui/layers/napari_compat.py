"""The only door to what napari does not promise: each function names what it relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer


class _RemovalFilter(QObject):
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


def on_widget_removed(widget: QWidget, action: Callable[[], None]) -> None:
    """Call `action` when napari takes `widget` out of its window.

    napari (0.9) does not notify plugins of it: it takes the widget's parent away and drops it.
    """
    _RemovalFilter(widget, action)


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


def get_camera(viewer: ViewerModel) -> Any:
    """Return the camera of a viewer.

    napari 0.9 has it at ``viewer.scene.camera``; before, it was ``viewer.camera``, which is
    deprecated now.
    """
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


class SideBySide:
    """Shows groups of layers side by side in one canvas, moved together.

    napari 0.9 has the grid at ``viewer.canvas.grid``; before, it was ``viewer.grid``, which is
    deprecated now. A group is a run of as many layers of the list as the grid's stride; runs
    without a visible layer take no place.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        canvas = getattr(viewer, "canvas", None)
        self._viewer = viewer
        self._grid = canvas.grid if canvas is not None else viewer.grid
        self._before: tuple[int, tuple[int, int]] = (1, (-1, -1))

    @property
    def on(self) -> bool:
        """Whether the grid is shown."""
        return bool(self._grid.enabled)

    def show(self, layers_per_group: int) -> None:
        """Show two groups in a row, the first of the list on the left."""
        self._before = (self._grid.stride, tuple(self._grid.shape))
        self._grid.stride = layers_per_group
        self._grid.shape = (1, 2)
        self._grid.enabled = True
        self._viewer.reset_view()

    def hide(self) -> None:
        """Show all layers over each other again."""
        self._grid.enabled = False
        self._grid.stride, self._grid.shape = self._before
        self._viewer.reset_view()


@contextmanager
def keep_active_layer(viewer: ViewerModel) -> Iterator[None]:
    """Let layers come without being chosen.

    napari makes each new layer the active one, unless ``_activate_on_insert`` of its list is False
    (0.4.9 to 0.9). To choose the old one again would be seen: both changes build controls anew.
    """
    layers = viewer.layers
    before, layers._activate_on_insert = layers._activate_on_insert, False
    try:
        yield
    finally:
        layers._activate_on_insert = before


def canvas_size(viewer: ViewerModel) -> tuple[int, int]:
    """Return height and width of the canvas in pixels of the screen.

    napari (0.9) has it in the viewer's `canvas`; it promises no place.
    """
    height, width = viewer.canvas.size
    return max(int(height), 1), max(int(width), 1)


def stroke_pixels(
    layer: Labels, stroke: Sequence[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return which pixels a stroke touched, and their values before it.

    Parameters
    ----------
    layer
        The labels, after the stroke.
    stroke
        The value of the layer's event `paint`: napari (0.9) gives its item of the undo history, a
        list of edits, each either (indices, old values, new value) or an object that has
        ``slice_key``, ``mask`` (None for all of the slice) and ``old_values``.

    Returns
    -------
    pixels
        int64, flat indices in the last two axes, ascending, each once: a stroke lies in one slice.
    before
        As long.
    """
    width = layer.data.shape[-1]
    parts, values = [], []
    for edit in stroke:
        if hasattr(edit, "slice_key"):
            *_, rows, cols = edit.slice_key
            old = np.asarray(edit.old_values)
            mask = np.ones(old.shape, np.bool_) if edit.mask is None else edit.mask
            *_, row, col = np.nonzero(mask)
            parts.append((row + rows.start) * width + col + cols.start)
            values.append(old.reshape(-1))
        else:
            (*_, row, col), old, _ = edit
            parts.append(np.asarray(row) * width + np.asarray(col))
            values.append(np.broadcast_to(old, np.shape(row)))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, layer.data.dtype)
    # Where edits overlap, the first one knows the value before all of them.
    pixels, first = np.unique(np.concatenate(parts), return_index=True)
    return pixels.astype(np.int64), np.concatenate(values)[first]


class _ContextGuard(QObject):
    """Makes the OpenGL context of a viewer's canvas current before a layer goes."""

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._canvas = viewer.window._qt_viewer.canvas._scene_canvas
        for event in (viewer.layers.events.removing, viewer.layers.events.end_batch):
            event.connect(self._make_current)

    def _make_current(self, event: Any = None) -> None:
        with suppress(RuntimeError):  # The window is being closed.
            self._canvas.set_current()


def guard_removals(viewer: Any) -> None:
    """Let layers of a viewer be removed without harm, by this package and by hand.

    As a layer goes, napari (0.9) deletes its shader programs at once, in whichever OpenGL context
    is current: outside of a drawing that is Qt's own. Mesa's software renderer then draws what is
    left with a program that is gone, and the process dies (signal 11): after two of several visible
    layers were removed from the bottom, for example. napari's canvas is at
    ``viewer.window._qt_viewer.canvas._scene_canvas``, which is promised by nobody.
    """
    window = getattr(viewer, "window", None)
    qt_viewer = getattr(window, "_qt_viewer", None)
    if qt_viewer is not None and qt_viewer.findChild(_ContextGuard) is None:
        _ContextGuard(viewer, qt_viewer)


def remove_layers(viewer: ViewerModel, layers: Iterable[Layer]) -> None:
    """Remove layers in one turn: those of them that are in the viewer.

    For each that goes, napari (0.9) has Python collect garbage and sorts all others anew, which
    takes up to half a second; between the events `begin_batch` and `end_batch` it does so once.
    """
    guard_removals(viewer)
    present = [layer for layer in layers if layer in viewer.layers]
    if not present:
        return
    viewer.layers.events.begin_batch()
    try:
        for layer in present:
            viewer.layers.remove(layer)
    finally:
        viewer.layers.events.end_batch()


def unwrap_viewer(viewer: Any) -> Any:
    """Return the viewer itself, where napari gave a plugin a proxy of it; removals are guarded.

    Through the proxy (napari 0.9) a layer is another object each time it is asked for, so that no
    layer can be known by its identity. That a proxy has ``__wrapped__`` is promised by nobody.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    guard_removals(viewer)
    return viewer
