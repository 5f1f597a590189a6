"""The choice of an image layer: follows the viewer's list, its names and its selection."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from napari_fundus.results.layer_metadata import layer_metadata

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["LayerChoice", "is_photograph"]


def is_photograph(layer: Any) -> bool:
    """Whether `layer` is an image that a detector may be run on: not one of our own maps."""
    if not isinstance(layer, Image):
        return False
    return layer_metadata(layer).kind in ("", "photograph")


class LayerChoice(QComboBox):
    """A list of the viewer's photographs; the selected layer is chosen as soon as it is one."""

    layer_changed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(12)
        self.currentIndexChanged.connect(lambda _: self.layer_changed.emit(self.layer()))
        viewer.layers.events.inserted.connect(self.refresh)
        viewer.layers.events.removed.connect(self.refresh)
        viewer.layers.events.reordered.connect(self.refresh)
        viewer.layers.selection.events.active.connect(self._follow)
        self.refresh()
        self._follow()

    def disconnect_viewer(self) -> None:
        """Stop listening to the viewer."""
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self.refresh)
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        for layer in self._layers:
            layer.events.name.disconnect(self._rename)
        self._layers = []

    def layer(self) -> Image | None:
        """Return the chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def choose(self, layer: Image) -> None:
        """Choose `layer`, if it is among those offered."""
        for index, candidate in enumerate(self._layers):
            if candidate is layer:
                self.setCurrentIndex(index)

    def refresh(self, event: Any = None) -> None:
        """List the photographs again, keeping the choice."""
        chosen = self.layer()
        layers = [layer for layer in reversed(self._viewer.layers) if is_photograph(layer)]
        if len(layers) == len(self._layers) and all(
            a is b for a, b in zip(layers, self._layers, strict=True)
        ):
            return
        for layer in self._layers:
            layer.events.name.disconnect(self._rename)
        self.blockSignals(True)
        self.clear()
        self._layers = layers
        for layer in layers:
            self.addItem(layer.name)
            layer.events.name.connect(self._rename)
        if chosen is not None:
            self.choose(chosen)
        self.blockSignals(False)
        if self.layer() is not chosen:
            self.layer_changed.emit(self.layer())

    def _rename(self, event: Any = None) -> None:
        for index, layer in enumerate(self._layers):
            self.setItemText(index, layer.name)

    def _follow(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not None:
            self.choose(active)
