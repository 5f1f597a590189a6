"""The choice of a layer: follows the viewer's list, and the names and selection in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.layouts import shrink_combo
from napari_fundus.gui.controls.photographs import is_photograph

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerChoice(ComboBox):
    """A list of the viewer's layers of one sort, the uppermost first.

    napari's own choice of an ``Image`` by magicgui offers every image, and only in a dock.

    Parameters
    ----------
    viewer
        The viewer.
    accepts
        Whether a layer is offered; by default each photograph is.
    nothing
        Text of a first choice that is no layer; empty for none.
    follow_selection
        Whether the layer selected in the viewer is chosen as soon as it is one of them.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Any], bool] = is_photograph,
        *,
        nothing: str = "",
        follow_selection: bool = True,
    ) -> None:
        self._viewer, self._accepts, self._nothing = viewer, accepts, nothing
        super().__init__(choices=self._offered, label="Image")
        shrink_combo(self.native)
        events = viewer.layers.events
        self._connections = Connections()
        self._connections.connect(
            self.reset_choices, events.inserted, events.removed, events.reordered, events.renamed
        )
        if follow_selection:
            self._connections.connect(self._choose_active, viewer.layers.selection.events.active)
            self._choose_active()

    def disconnect_viewer(self) -> None:
        """Stop listening to the viewer."""
        self._connections.disconnect()

    def layer(self) -> Any:
        """Return the chosen layer; None where there is none."""
        return self.value

    def choose(self, layer: Any) -> None:
        """Choose `layer`, if it is among those offered."""
        if layer in self.choices:
            self.value = layer

    def reset_choices(self, *_: Any) -> None:
        """List the layers again, keeping the choice even where its name is new."""
        chosen = self.value
        with self.changed.blocked():
            super().reset_choices()
            self.choose(chosen)
        if self.value is not chosen:
            self.changed.emit(self.value)

    def _offered(self, _: Any = None) -> list[tuple[str, Any]]:
        layers = [layer for layer in reversed(self._viewer.layers) if self._accepts(layer)]
        first = [(self._nothing, None)] if self._nothing else []
        return [*first, *((layer.name, layer) for layer in layers)]

    def _choose_active(self, *_: Any) -> None:
        self.choose(self._viewer.layers.selection.active)
