"""Hides the layers that lie beneath others while those are seen, and shows them again after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_fundus.gui.controls.connections import Connections

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerVisibility:
    """Lets either some layers be seen, or those that they cover.

    The eye of a covering layer in napari's list switches between the two; so does its removal. What
    a person shows or hides meanwhile stays as the person left it.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._above: list[Layer] = []
        self._below: list[Layer] = []
        self._hidden: list[Layer] = []
        self._own = False
        self._connections = Connections()

    def set_layers(self, above: Iterable[Layer], below: Iterable[Layer]) -> None:
        """Hide the layers `below` as long as one of those `above` is seen."""
        above, below = list(above), list(below)
        if above == self._above and below == self._below:
            return
        if above != self._above:
            self._connections.disconnect()
            removed = [self._viewer.layers.events.removed] if above else []
            self._connections.connect(self.update, *(x.events.visible for x in above), *removed)
        self._above, self._below = above, below
        bare = [layer for layer in self._hidden if layer not in below]
        self._hidden = [layer for layer in self._hidden if layer in below]
        self._show(bare)
        self.update()

    def release(self) -> None:
        """Show again what was hidden, and let go of all layers."""
        self.set_layers((), ())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let something else show and hide layers."""
        before, self._own = self._own, True
        try:
            yield
        finally:
            self._own = before

    def update(self, event: Any = None) -> None:
        """Show or hide by what is seen now."""
        if self._own:
            return
        if any(layer.visible for layer in self._present(self._above)):
            hidden = [layer for layer in self._below if layer.visible]
            self._hidden += [layer for layer in hidden if layer not in self._hidden]
            for layer in hidden:
                layer.visible = False
        else:
            shown, self._hidden = self._hidden, []
            self._show(shown)

    def _show(self, layers: Iterable[Layer]) -> None:
        for layer in self._present(layers):
            layer.visible = True

    def _present(self, layers: Iterable[Layer]) -> list[Layer]:
        return [layer for layer in layers if layer in self._viewer.layers]
