"""The choice of an image layer: follows the viewer's list, its names and its selection."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_fundus.results.layer_metadata import layer_metadata

if TYPE_CHECKING:
    from napari.components import ViewerModel


def is_photograph(layer: Any) -> bool:
    """Whether `layer` is an image that a detector may be run on: not one of our own maps."""
    if not isinstance(layer, Image):
        return False
    return layer_metadata(layer).kind in ("", "photograph")


class LayerChoice(ComboBox):
    """A list of the viewer's photographs; the selected layer is chosen as soon as it is one.

    napari's own choice of an ``Image`` by magicgui offers every image, and only in a dock.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        super().__init__(choices=self._photographs, label="Image")
        combo = self.native
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        combo.setMinimumContentsLength(12)
        events = viewer.layers.events
        self._emitters = events.inserted, events.removed, events.reordered, events.renamed
        for emitter in self._emitters:
            emitter.connect(self.reset_choices)
        viewer.layers.selection.events.active.connect(self._choose_active)
        self._choose_active()

    def disconnect_viewer(self) -> None:
        """Stop listening to the viewer."""
        for emitter in self._emitters:
            emitter.disconnect(self.reset_choices)
        self._viewer.layers.selection.events.active.disconnect(self._choose_active)

    def layer(self) -> Image | None:
        """Return the chosen layer."""
        return self.value

    def choose(self, layer: Any) -> None:
        """Choose `layer`, if it is among those offered."""
        if layer in self.choices:
            self.value = layer

    def reset_choices(self, *_: Any) -> None:
        """List the photographs again, keeping the choice even where its name is new."""
        chosen = self.value
        with self.changed.blocked():
            super().reset_choices()
            self.choose(chosen)
        if self.value is not chosen:
            self.changed.emit(self.value)

    def _photographs(self, _: Any = None) -> list[Image]:
        return [layer for layer in reversed(self._viewer.layers) if is_photograph(layer)]

    def _choose_active(self, *_: Any) -> None:
        self.choose(self._viewer.layers.selection.active)
