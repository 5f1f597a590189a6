"""The choice of a photograph, with previous and next: what is chosen is shown alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.photographs import photographs, show_photograph

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class PhotographSwitcher(QWidget):
    """Chooses one of the viewer's photographs and shows it with its results, the others hidden.

    Choosing by hand switches the view; a layer that is selected in napari's list is chosen too, but
    hides nothing.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.choice = LayerChoice(viewer)
        self.choice.native.activated.connect(lambda _: self.show_photograph(self.choice.layer()))
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(2)
        self.previous_button = self._button("◀", "Previous photograph", -1)
        self.next_button = self._button("▶", "Next photograph", 1)
        line.addWidget(self.previous_button)
        line.addWidget(self.choice.native, 1)
        line.addWidget(self.next_button)
        self._connections = Connections()
        events = viewer.layers.events
        self._connections.connect(
            self._update, events.inserted, events.removed, events.reordered, self.choice.changed
        )
        self._update()

    def _button(self, text: str, name: str, by: int) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(f"{name}: it is shown with its results, the others are hidden")
        button.setAccessibleName(name)
        button.clicked.connect(lambda _=False: self.step(by))
        return button

    def _update(self, _: Any = None) -> None:
        """Offer the steps that there are; none where there is a single photograph."""
        found, chosen = photographs(self._viewer), self.choice.layer()
        place = found.index(chosen) if chosen in found else -1
        for button, possible in (
            (self.previous_button, place > 0),
            (self.next_button, place < len(found) - 1),
        ):
            button.setVisible(len(found) > 1)
            button.setEnabled(possible)

    def step(self, by: int) -> None:
        """Show the next (1) or previous (-1) photograph of napari's list."""
        found, chosen = photographs(self._viewer), self.choice.layer()
        place = found.index(chosen) + by if chosen in found else 0
        if 0 <= place < len(found):
            self.show_photograph(found[place])

    def show_photograph(self, photograph: Layer | None) -> None:
        """Show a photograph with its results, and choose it."""
        if photograph is None:
            return
        shown = [x for x in photographs(self._viewer) if x.visible and x is not photograph]
        show_photograph(self._viewer, photograph)
        self._viewer.layers.selection.active = photograph
        if any(_extent(x) != _extent(photograph) for x in shown):
            self._viewer.reset_view()

    def disconnect_viewer(self) -> None:
        """Stop listening to the viewer."""
        self._connections.disconnect()
        self.choice.disconnect_viewer()


def _extent(layer: Layer) -> list[list[float]]:
    return [list(map(float, corner[-2:])) for corner in layer.extent.world]
