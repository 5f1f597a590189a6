"""The labels layers under review: written to, painted on, and watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from qtpy.QtCore import QObject, Signal

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.gui.layers.add_in_steps import LayerAddQueue
from napari_fundus.gui.layers.build import label_colormap
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.gui.layers.napari_compat import stroke_pixels
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata
from napari_fundus.review.loading import measurement_table

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_fundus.results.live import LiveResult
    from napari_fundus.review.session import Review

_BRUSH_SHARE = 400
"""The brush is as wide as this part of the image's longer side."""


class LabelLayers(QObject):
    """The layers of one result, a class each.

    Parameters
    ----------
    viewer
        The viewer.
    found
        The result.
    """

    painted = Signal(str, object, object)
    """A person painted or erased: class, flat indices, values before."""
    reverted = Signal(str)
    """napari's own undo or redo may have changed the labels of a class."""
    labels_changed = Signal()
    """Something else than the review changed a layer's labels."""
    removed = Signal()
    """A layer was taken out of the viewer."""
    mode_changed = Signal()

    def __init__(self, viewer: ViewerModel, found: LayerGroup) -> None:
        super().__init__()
        self._viewer, self._found = viewer, found
        self.layers: dict[str, Labels] = dict(found.labels)
        self._own = False
        self._next_id = 1
        self._connections = Connections()
        self._strokes: dict[str, list[Any]] = {}
        self._layer_queue = LayerAddQueue(viewer)
        self._later = single_shot_timer(self, 0, self.flush_strokes)
        for code, layer in self.layers.items():
            self._watch(code, layer)
        self._connections.connect(self._on_removed, viewer.layers.events.removed)

    def _watch(self, code: str, layer: Labels) -> None:
        connect, events = self._connections.connect, layer.events
        connect(lambda event, code=code: self._on_paint(code, event), events.paint)
        # napari reports undoing and redoing by this event alone.
        connect(lambda _, code=code: self._on_data(code), events.set_data)
        connect(self._on_features, events.features)
        connect(self._on_mode, events.mode)

    @property
    def placement(self) -> dict[str, Any]:
        """Where the layers lie."""
        return placement_of(next(iter(self.layers.values())))

    @property
    def mode(self) -> str:
        """The active tool, if one of these layers is active."""
        active = self._viewer.layers.selection.active
        return str(active.mode) if active in self.layers.values() else "pan_zoom"

    @contextmanager
    def _ignoring_own_changes(self) -> Iterator[None]:
        """Change layers without hearing of it."""
        before, self._own = self._own, True
        try:
            yield
        finally:
            self._own = before

    def array(self, code: str) -> npt.NDArray[Any]:
        """Return the labels that a layer shows: the very array."""
        array: npt.NDArray[Any] = self.layers[code].data
        return array

    def take(self, labels: Mapping[str, npt.NDArray[Any]]) -> None:
        """Let the layers show arrays that could not be changed in place."""
        for code, array in labels.items():
            if self.layers[code].data is not array:
                self.put(code, array)

    def put(self, code: str, array: npt.NDArray[Any]) -> None:
        """Let a layer show other labels."""
        layer = self.layers[code]
        with self._ignoring_own_changes():
            data = layer.data
            if isinstance(data, np.ndarray) and data.flags.writeable and data.dtype == array.dtype:
                np.copyto(data, array)
                layer.refresh(extent=False)
            else:
                layer.data = array

    def add(self, review: Review, code: str) -> None:
        """Add a layer for a class that the result does not have; it comes a turn later."""
        from napari.layers import Labels

        if code in review.labels:
            return
        like = next(iter(self.layers.values()))
        empty = np.zeros(like.data.shape, like.data.dtype)
        table = measurement_table([])
        about = layer_metadata(like)
        metadata = LayerMetadata(
            kind="labels", lesion=code, source=about.source, provenance=about.provenance
        )
        layer = Labels(
            empty,
            name=f"{like.name.rpartition(': ')[0] or 'review'}: {code}",
            colormap=label_colormap(code),
            opacity=like.opacity,
            features=table,
            metadata={METADATA_KEY: metadata},
            **self.placement,
        )
        self.layers[code] = self._found.labels[code] = layer
        self._watch(code, layer)
        self.set_next_id(self._next_id)
        review.add_class(code, layer.data, table)
        self._layer_queue.add(layer)

    def finish_adding(self) -> None:
        """Let the layers of new classes come now."""
        self._layer_queue.finish()

    def write(self, code: str, pixels: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        """Set pixels in a layer, and show just those."""
        layer = self.layers[code]
        if not layer.visible:  # nothing is drawn, and napari has no slice of it to bring up to date
            flat = layer.data.reshape(-1)
            if (live := layer_metadata(layer).live) is not None:
                live.add_stroke(code, pixels, flat[pixels])
            flat[pixels] = values
            return
        with self._ignoring_own_changes():
            layer.data_setitem(np.unravel_index(pixels, layer.data.shape), values)

    def show_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Give the layers their features."""
        with self._ignoring_own_changes():
            for code, table in tables.items():
                self.layers[code].features = table

    def set_next_id(self, identity: int) -> None:
        """Let the next stroke in any layer have this id."""
        self._next_id = identity
        for layer in self.layers.values():
            if layer.selected_label != identity:
                layer.selected_label = identity

    def lock_thresholds(self) -> None:
        """Let sliders leave these layers alone: the review has begun to change them."""
        for code, live in self._live_results():
            live.attach(code, self.layers[code])
            live.lock([code])

    def unlock_thresholds(self) -> None:
        """Let sliders move these layers again, except those that were changed."""
        for code, live in self._live_results():
            live.unlock([code])

    def _live_results(self) -> Iterator[tuple[str, LiveResult]]:
        for code, layer in self.layers.items():
            if (live := layer_metadata(layer).live) is not None:
                yield code, live

    def activate(self, code: str) -> None:
        """Make a class's layer the active one."""
        layer = self.layers.get(code)
        if layer is not None and self._viewer.layers.selection.active is not layer:
            self._layer_queue.ensure_added(layer)
            self._viewer.layers.selection.active = layer

    def hold(self, mode: str, code: str) -> None:
        """Activate a tool for a class; deactivate it if it is active."""
        layer = self.layers[code]
        self._layer_queue.ensure_added(layer)
        again = self.mode == mode and self._viewer.layers.selection.active is layer
        for each in self.layers.values():
            each.mode = "pan_zoom"
        self.activate(code)
        if not again:
            layer.visible = True
            layer.brush_size = max(round(max(layer.data.shape) / _BRUSH_SHARE), 2)
            layer.selected_label = self._next_id
            layer.mode = mode

    def _on_paint(self, code: str, event: Any) -> None:
        if self._own or not event.value:
            return
        # napari reports some strokes before it has changed the pixels.
        self._strokes.setdefault(code, []).extend(event.value)
        self._later.start(0)

    def flush_strokes(self) -> None:
        """Tell of the strokes that were made meanwhile; those of a class count as one."""
        self._later.stop()
        strokes, self._strokes = self._strokes, {}
        for code, stroke in strokes.items():
            pixels, before = stroke_pixels(self.layers[code], stroke)
            self.painted.emit(code, pixels, before)

    def _on_data(self, code: str) -> None:
        if not self._own and code not in self._strokes:
            self.reverted.emit(code)

    def _on_features(self, event: Any = None) -> None:
        if not self._own:
            self.labels_changed.emit()

    def _on_mode(self, event: Any = None) -> None:
        self.mode_changed.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value in self.layers.values():
            self.removed.emit()

    def release(self) -> None:
        """Stop watching the layers."""
        self._later.stop()
        self._layer_queue.stop()
        self._connections.disconnect()
        self.unlock_thresholds()
