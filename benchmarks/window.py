"""How long the main thread is away from its event loop while the window is used."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

import napari_fundus as nf

__all__ = ["Heartbeat", "longest_turns"]

_PATIENCE = 300.0
_SLIDER = (600, 450, 550, 700, 500)


class Heartbeat:
    """Measures the processor time of the main thread between two turns of its event loop.

    Two things are left out, as they happen at any time and whatever we do: drawing, which a
    processor does where there is no graphics card, and Python's full collections of garbage.

    Attributes
    ----------
    longest
        Seconds of the longest turn since `restart`.
    """

    def __init__(self, viewer: Any) -> None:
        self.longest = 0.0
        self._left_out, self._last = 0.0, 0.0
        self._pauses: list[float] = []
        self._thread = threading.get_ident()
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(self._begin, position="first")
        canvas.events.draw.connect(self._end, position="last")
        gc.callbacks.append(self._on_collection)
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)

    def restart(self) -> None:
        """Forget what was measured, and begin anew with the next turn."""
        self._timer.stop()
        QApplication.processEvents()
        self.longest, self._last = 0.0, self._own_time()
        self._timer.start()

    def stop(self) -> None:
        """Measure no more."""
        self._timer.stop()
        gc.callbacks.remove(self._on_collection)

    def _begin(self, event: Any = None) -> None:
        self._pauses.append(time.thread_time())

    def _end(self, event: Any = None) -> None:
        began = self._pauses.pop()
        if not self._pauses:  # a collection within a drawing is part of it
            self._left_out += time.thread_time() - began

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2 and threading.get_ident() == self._thread:
            (self._begin if phase == "start" else self._end)()

    def _own_time(self) -> float:
        return time.thread_time() - self._left_out

    def _beat(self) -> None:
        now = self._own_time()
        self.longest, self._last = max(self.longest, now - self._last), now


def longest_turns() -> dict[str, float]:
    """Return the longest turn, in seconds, of each part of a walk through a real window."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    layer = viewer.add_image(nf.read_image(nf.sample_image_path()).rgb8, rgb=True, name="eye")
    viewer.layers.selection.active = layer
    _, widget = viewer.window.add_plugin_dock_widget("napari-fundus", "Detect lesions")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    heart = Heartbeat(viewer)
    turns = {}
    heart.restart()
    widget.run()
    _wait_for(lambda: bool(shown) and not widget.results.busy)
    turns["detection on the sample"] = heart.longest
    heart.restart()
    for value in _SLIDER:
        widget.results.rows["MA"].slider.setValue(value)
        _wait_for(lambda: not widget.results.busy)
    turns["the threshold's slider"] = heart.longest
    heart.stop()
    viewer.close()
    return turns


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    QApplication.processEvents()
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The window did not answer. Is a display there? Run `make bench`.")
        QApplication.processEvents()
        time.sleep(0.001)
