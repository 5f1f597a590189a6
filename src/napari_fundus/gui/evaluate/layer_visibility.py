"""Hides the layers that lie beneath others while those are seen, and shows them again after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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

    def set_layers(self, above: Iterable[Layer], below: Iterable[Layer]) -> None:
        """Hide the layers `below` as long as one of those `above` is seen."""
        above, below = list(above), list(below)
        if _same(above, self._above) and _same(below, self._below):
            return
        if not _same(above, self._above):
            for layer in self._above:
                layer.events.visible.disconnect(self._on_visibility_changed)
            for layer in above:
                layer.events.visible.connect(self._on_visibility_changed)
        removed = self._viewer.layers.events.removed
        if above and not self._above:
            removed.connect(self._on_visibility_changed)
        elif self._above and not above:
            removed.disconnect(self._on_visibility_changed)
        self._above, self._below = above, below
        bare = [x for x in self._hidden if not any(x is y for y in below)]
        self._hidden = [x for x in self._hidden if not any(x is y for y in bare)]
        self._show(bare)
        self._on_visibility_changed()

    def release(self) -> None:
        """Show again what was hidden, and let go of all layers."""
        self.set_layers((), ())

    def look(self) -> None:
        """Show or hide by what is seen now: something else had the say before."""
        self._on_visibility_changed()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let something else show and hide layers."""
        before, self._own = self._own, True
        try:
            yield
        finally:
            self._own = before

    def _on_visibility_changed(self, event: Any = None) -> None:
        if self._own:
            return
        if any(layer.visible for layer in self._present(self._above)):
            hidden = [layer for layer in self._below if layer.visible]
            self._hidden += [x for x in hidden if not any(x is y for y in self._hidden)]
            for layer in hidden:
                layer.visible = False
        else:
            shown, self._hidden = self._hidden, []
            self._show(shown)

    def _show(self, layers: Iterable[Layer]) -> None:
        for layer in self._present(layers):
            layer.visible = True

    def _present(self, layers: Iterable[Layer]) -> list[Layer]:
        present = set(map(id, self._viewer.layers))
        return [layer for layer in layers if id(layer) in present]


def _same(some: list[Layer], others: list[Layer]) -> bool:
    return list(map(id, some)) == list(map(id, others))
