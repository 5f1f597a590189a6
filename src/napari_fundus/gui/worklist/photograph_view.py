"""One photograph of a worklist in the viewer: its layers are refilled with each next one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.build import LayerTuple, detection_layers, image_layer, make_layer
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import remove_layers
from napari_fundus.gui.layers.placement import image_source
from napari_fundus.gui.layers.update import LayerUpdate
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
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
    """Shows one photograph with its result; the next takes its layers over.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._photograph: Layer | None = None
        self._step_runner = StepRunner(self)

    def show(self, opened: OpenedPhotograph, then: Callable[[Layer, list[Layer]], None]) -> None:
        """Show a photograph, and call `then` with its layer and those of its result."""
        self._step_runner.stop()
        results: list[Layer] = []

        def steps() -> Iterator[None]:
            for layer in self._results():
                # What was found in one photograph must not be seen over the next, not for a moment.
                layer.visible = False
            yield
            yield from self._show_photograph(opened.image)
            results.extend((yield from self._show_results(opened)))

        def finish() -> None:
            assert self._photograph is not None  # noqa: S101  # a step has made it
            then(self._photograph, results)

        self._step_runner.start(steps(), finish)

    def _results(self) -> list[Layer]:
        """Return the layers that lie over the photograph of this view."""
        return [
            layer
            for layer in self._viewer.layers
            if self._photograph is not None and layer_metadata(layer).source is self._photograph
        ]

    def _show_photograph(self, image: FundusImage) -> Iterator[None]:
        one = image_layer(image)
        pixels, meta, _ = one
        layer = self._photograph
        if layer is None or layer not in self._viewer.layers:
            layer = self._photograph = make_layer(one)
            yield from add_layer_in_steps(self._viewer, layer)
        else:
            before = layer.data.shape
            layer.data, layer.name, layer.metadata = pixels, meta["name"], meta["metadata"]
            layer.visible = True
            yield
            if before == pixels.shape:
                return
        self._viewer.reset_view()

    def _show_results(self, opened: OpenedPhotograph) -> Generator[None, None, list[Layer]]:
        layer = self._photograph
        if opened.live is None or layer is None:
            remove_layers(self._viewer, self._results())
            yield
            return []
        tuples = []
        for data, meta, kind in opened.tuples:
            known = replace(meta["metadata"][METADATA_KEY], source=layer)
            tuples.append((data, {**meta, "metadata": {METADATA_KEY: known}}, kind))
        update = LayerUpdate(
            self._viewer, tuples, opened.live.original.provenance, image_source(layer)
        )
        yield from update.steps()
        added = update.finish()
        for (_, meta, _), one in zip(tuples, added, strict=True):
            one.name = meta["name"]
        # Of another method: it was found in the photograph before.
        remove_layers(self._viewer, [one for one in self._results() if one not in added])
        yield
        return added

    def shutdown(self) -> None:
        """Add no more layers."""
        self._step_runner.stop()
