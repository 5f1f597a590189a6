"""Layers that come in two turns of the event loop each: into the list, and into sight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import keep_active_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def add_layer_in_steps(viewer: ViewerModel, layer: Layer) -> Iterator[None]:
    """Add a layer in steps: for :class:`~napari_fundus.gui.layers.event_loop.StepRunner`.

    For each layer napari builds controls, visuals and overlays, which takes some 0.1 s, and the
    first drawing of its pixels may take as long: so the window answers between the two. The layer
    that is active stays so: a key pressed meanwhile goes where it was meant to go. If the steps end
    early, the layer is seen at once.

    Parameters
    ----------
    viewer
        Where it comes.
    layer
        A new layer, which is in no viewer.
    """
    seen = layer.visible
    layer.visible = False
    with keep_active_layer(viewer):
        viewer.add_layer(layer)
    try:
        yield
    finally:
        # Set twice, napari would put down the tool that a person took for it meanwhile.
        if layer.visible != seen and layer in viewer.layers:
            layer.visible = seen
    yield


class LayerAddQueue:
    """Lets layers come one after the other.

    Parameters
    ----------
    viewer
        Where they come.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._waiting: deque[Layer] = deque()
        self._callbacks: list[Callable[[], None]] = []
        self._step_runner = StepRunner()

    def add(self, layer: Layer) -> None:
        """Let a new layer come; it can be worked with at once."""
        self._waiting.append(layer)
        if not self._step_runner.busy:
            self._step_runner.start(self._add_steps(), self._run_callbacks)

    def has(self, layer: Layer) -> bool:
        """Tell whether a layer is in the viewer, or on its way."""
        return layer in self._viewer.layers or layer in self._waiting

    def remove(self, layer: Layer) -> None:
        """Take a layer out of the viewer, or off its way there."""
        if layer in self._waiting:
            self._waiting.remove(layer)
        elif self.has(layer):
            self._viewer.layers.remove(layer)

    def call_when_added(self, action: Callable[[], None]) -> None:
        """Do something once all layers are seen: now, if none is on its way."""
        self._callbacks.append(action)
        if not self._step_runner.busy:
            self._run_callbacks()

    def ensure_added(self, layer: Layer) -> None:
        """Let a layer, and those before it, come now if it is on its way: it is needed."""
        if layer in self._waiting:
            self._step_runner.finish()

    def finish(self) -> None:
        """Let all come now."""
        self._step_runner.finish()

    def stop(self) -> None:
        """Let no other come."""
        self._step_runner.stop()
        self._waiting.clear()
        self._callbacks.clear()

    def _add_steps(self) -> Iterator[None]:
        while self._waiting:
            yield from add_layer_in_steps(self._viewer, self._waiting.popleft())

    def _run_callbacks(self) -> None:
        actions, self._callbacks = self._callbacks, []
        for action in actions:
            action()
