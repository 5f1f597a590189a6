"""One photograph of a worklist in the viewer: each goes with its result before the next comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_fundus.gui.controls.photographs import hide_photograph, layers_of, show_photograph
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.build import (
    LayerTuple,
    detection_layers,
    image_layer,
    make_layer,
    with_source,
)
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import remove_layers
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections
from napari_fundus.results.live import LiveResult

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


@dataclass(frozen=True, eq=False)
class OpenedPhotograph:
    """A photograph with its result as values and layer tuples, made in a thread."""

    image: FundusImage
    live: LiveResult | None
    tuples: list[LayerTuple]


def prepare_photograph(image: FundusImage, found: Detections | None) -> OpenedPhotograph:
    """Return what :class:`PhotographView` shows; slow for large images, for a thread."""
    if found is None:
        return OpenedPhotograph(image, None, [])
    live = LiveResult(found)
    return OpenedPhotograph(image, live, detection_layers(live, name=image.name))


class PhotographView(QObject):
    """Shows one photograph with its result, and takes both away when the next is shown.

    A photograph over which other widgets have put layers is hidden with all of them instead, and
    shown again when it is opened again. No layer ever changes its photograph, since results and
    widgets know a photograph by its layer.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._opened: OpenedPhotograph | None = None
        self._hidden: dict[str, tuple[OpenedPhotograph, list[Layer]]] = {}
        self._shape: tuple[int, int] | None = None
        self._step_runner = StepRunner(self)

    def hidden(self, sha256: str) -> OpenedPhotograph | None:
        """Return a photograph of that content that was hidden and is still in the viewer."""
        opened, layers = self._hidden.get(sha256, (None, []))
        return opened if layers and layers[0] in self._viewer.layers else None

    def show(self, opened: OpenedPhotograph, then: Callable[[Layer, list[Layer]], None]) -> None:
        """Show a photograph, and call `then` with its layer and those of its result."""
        self._step_runner.stop()

        def finish() -> None:
            then(self._layers[0], [x for x in self._layers[1:] if x in self._viewer.layers])

        self._step_runner.start(self._steps(opened), finish)

    def _steps(self, opened: OpenedPhotograph) -> Iterator[None]:
        self.leave()
        yield
        key = opened.image.sha256
        self._opened = opened
        if self.hidden(key) is opened:
            _, self._layers = self._hidden.pop(key)
        else:
            photograph = make_layer(image_layer(opened.image))
            self._layers = [photograph]
            yield from add_layer_in_steps(self._viewer, photograph)
            for one in opened.tuples:
                layer = make_layer(with_source(one, photograph))
                self._layers.append(layer)
                yield
                yield from add_layer_in_steps(self._viewer, layer)
        show_photograph(self._viewer, self._layers[0])
        if opened.image.shape != self._shape:
            self._viewer.reset_view()
            self._shape = opened.image.shape
        yield

    def leave(self) -> None:
        """Take the photograph and its result away, or hide them with what others put over it."""
        present = [layer for layer in self._layers if layer in self._viewer.layers]
        if present and self._opened is not None and present[0] is self._layers[0]:
            others = [x for x in layers_of(self._viewer, present[0]) if x not in present]
            if others:
                self._hidden[self._opened.image.sha256] = self._opened, self._layers
                hide_photograph(self._viewer, present[0])
                present = []
        remove_layers(self._viewer, present)
        self._layers, self._opened = [], None

    def shutdown(self) -> None:
        """Add no more layers."""
        self._step_runner.stop()
