"""The results of a stack's slices in layers of the stack's axes: each over its own slice alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.box_layer import features_of, set_boxes
from napari_fundus.gui.layers.build import LayerTuple, make_layer
from napari_fundus.gui.layers.placement import (
    ImageSource,
    slice_index,
    stack_placement_of,
    stack_shape,
    with_leading,
)
from napari_fundus.results.boxes import DISPLAYED_BOXES
from napari_fundus.results.detections import Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata
from napari_fundus.results.live import LiveResult
from napari_fundus.results.slice_stack import SliceIndex, SliceStack

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

UNSEEN = "slice without result"
"""Kind of a layer whose slice in view was not analysed."""

_PER_SLICE = frozenset({"features", "size", "symbol", "face_color", "border_color", "border_width"})
"""What points, shapes and labels have for each lesion."""


class StackLayers:
    """What a method found in the slices of a stack.

    Labels and maps are arrays of the stack's axes. Features, boxes, landmarks and the metadata of a
    layer are those of the slice in view: so tables, sliders and export are of what is seen.

    Parameters
    ----------
    viewer
        The viewer; its sliders say which slice is in view.
    source
        The stack.
    """

    changed = Signal()
    """Another slice is in view, or the one in view has another result."""

    def __init__(self, viewer: ViewerModel, source: Image) -> None:
        self._viewer, self.source = viewer, source
        self.results: dict[SliceIndex, LiveResult] = {}
        """Slice to what was found in it."""
        self.layers: list[Layer] = []
        self._tuples: dict[tuple[Any, ...], dict[SliceIndex, LayerTuple]] = {}
        self._shown: tuple[SliceIndex, LiveResult | None] | None = None
        self._connections = Connections()
        self._connections.connect(self.update, viewer.dims.events.point)

    @property
    def index(self) -> SliceIndex:
        """The slice in view."""
        return slice_index(self.source, self._viewer.dims.point)

    @property
    def current(self) -> LiveResult | None:
        """The result of the slice in view."""
        return self.results.get(self.index)

    def is_of(self, provenance: Provenance, source: Any) -> bool:
        """Return whether these are results of the method that `provenance` names, in `source`."""
        ran = next(iter(self.results.values())).original.provenance if self.results else None
        return source is self.source and (
            ran is None
            or (ran.detector, ran.checkpoint_sha256)
            == (provenance.detector, provenance.checkpoint_sha256)
        )

    def add(self, one: LayerTuple, index: SliceIndex) -> Layer:
        """Show a further part of a slice's result in a layer of its own, and return that."""
        self._keep(one, index)
        layer = make_layer(self._stacked(one))
        self.layers.append(layer)
        self._viewer.add_layer(layer)
        self._write(layer, one, index)
        self._show_slice(layer, self.index, self.current)
        return layer

    def join_steps(
        self, live: LiveResult, tuples: Iterable[LayerTuple], source: ImageSource
    ) -> Iterator[None]:
        """Let the result of a slice join, in place of the one before; a new layer in each step."""
        index = source.index
        if index in self.results:
            self.results[index].close()
        self.results[index] = live
        for slices in self._tuples.values():
            slices.pop(index, None)
        mine = {layer_key(layer): layer for layer in self.layers if layer in self._viewer.layers}
        for one in tuples:
            layer = mine.get(self._keep(one, index))
            if layer is None:
                layer = make_layer(self._stacked(one))
                self.layers.append(layer)
                self._write(layer, one, index)
                self._show_slice(layer, self.index, self.current)
                yield
                yield from add_layer_in_steps(self._viewer, layer)
            else:
                self._write(layer, one, index)
        self._clear(index, mine)
        self._shown = None
        self.update()
        yield

    def update(self, event: Any = None) -> None:
        """Let the layers tell of the slice in view."""
        if not any(layer in self._viewer.layers for layer in self.layers):
            return
        now = self.index, self.current
        if now == self._shown:
            return
        self._shown = now
        for layer in self.layers:
            self._show_slice(layer, *now)
        self.changed.emit()

    def _show_slice(self, layer: Layer, index: SliceIndex, live: LiveResult | None) -> None:
        known = layer_metadata(layer)
        kind, *_ = key = layer_key(layer)
        one = self._tuples.get(key, {}).get(index)
        shown = None if live is None else live.shown.get(str(known.lesion))
        # First of all: boxes that come are the slice's own, and no change of the one before.
        layer.metadata = {
            **layer.metadata,
            METADATA_KEY: replace(
                known,
                kind=UNSEEN if live is None else kind,
                live=live,
                provenance={} if live is None else live.original.provenance.model_dump(mode="json"),
                index=index,
                extra={**known.extra, **_boxes_of(one, kind), "kind": kind},
            ),
        }
        if kind == "labels":
            table = None if one is None else one[1]["features"]
            layer.features = features_of(shown.table) if shown is not None else table
        elif kind == "boxes" and shown is not None and one is not None:
            set_boxes(layer, shown, index)
        elif not isinstance(layer.data, SliceStack):
            self._fill(layer, one, index)

    def _fill(self, layer: Layer, one: LayerTuple | None, index: SliceIndex) -> None:
        """Show the boxes, outlines or points of a slice, or none."""
        kind = type(layer).__name__
        if one is None:
            layer.data = [] if kind == "Shapes" else np.zeros((0, *layer.data.shape[1:]))
            return
        data, meta, _ = one
        stacked = with_leading(data, index)
        if kind == "Shapes":
            layer.data = []
            layer.data = [(corners, meta["shape_type"]) for corners in stacked]
        else:
            layer.data = stacked
        for name in _PER_SLICE & meta.keys():
            setattr(layer, name, meta[name])

    def _stacked(self, one: LayerTuple) -> LayerTuple:
        """Return a layer for all slices, in which nothing is written yet."""
        data, meta, kind = one
        known: LayerMetadata = meta["metadata"][METADATA_KEY]
        meta = {
            **{name: value for name, value in meta.items() if name not in _PER_SLICE},
            **stack_placement_of(self.source),
            "metadata": {METADATA_KEY: replace(known, source=self.source, stack=self)},
        }
        if kind in ("image", "labels"):
            dtype = np.int32 if kind == "labels" else data.dtype
            return SliceStack(stack_shape(self.source), data.shape, dtype), meta, kind
        if kind == "shapes":
            return [], {**meta, "ndim": self.source.ndim}, kind
        empty = (0, 2, self.source.ndim) if kind == "vectors" else (0, self.source.ndim)
        return np.zeros(empty), {**meta, "ndim": self.source.ndim}, kind

    def _keep(self, one: LayerTuple, index: SliceIndex) -> tuple[Any, ...]:
        """Remember what a slice's layer shows besides its pixels; return the layer's key."""
        data, meta, kind = one
        key = _tuple_key(one)
        small = None if kind in ("image", "labels") else data
        self._tuples.setdefault(key, {})[index] = small, meta, kind
        return key

    def _write(self, layer: Layer, one: LayerTuple, index: SliceIndex) -> None:
        data, _, kind = one
        if not isinstance(layer.data, SliceStack):
            return
        if kind == "labels":
            # Most pixels are 0: what is not written takes no memory.
            plane, pixels = np.zeros(data.shape, np.int32), np.flatnonzero(data)
            plane.reshape(-1)[pixels] = data.reshape(-1)[pixels]
            layer.data.set_plane(index, plane)
        else:
            layer.data.set_plane(index, data)
        layer.refresh(extent=False)

    def _clear(self, index: SliceIndex, layers: dict[tuple[Any, ...], Layer]) -> None:
        """Take away what an earlier result of the slice showed and the new one has no part of."""
        for key, layer in layers.items():
            if index not in self._tuples[key] and isinstance(layer.data, SliceStack):
                layer.data.plane(index)[:] = 0
                layer.refresh(extent=False)


def layer_key(layer: Layer) -> tuple[Any, ...]:
    """Return the part of a result that a layer of a stack shows, whichever slice is in view."""
    known = layer_metadata(layer)
    kind = str(known.extra.get("kind", known.kind))
    title = layer.name.rpartition(": ")[2] if kind == "stage" else ""
    return kind, known.lesion, type(layer).__name__.lower(), title


def _tuple_key(one: LayerTuple) -> tuple[Any, ...]:
    _, meta, layer_type = one
    known = layer_metadata(meta["metadata"])
    title = meta["name"].rpartition(": ")[2] if known.kind == "stage" else ""
    return known.kind, known.lesion, layer_type, title


def stacks_of(viewer: ViewerModel, source: Any = None) -> list[StackLayers]:
    """Return the results of stacks in a viewer, those of one stack alone where it is given."""
    found: list[StackLayers] = []
    for layer in viewer.layers:
        stack = layer_metadata(layer).stack
        if isinstance(stack, StackLayers) and stack not in found:
            found.append(stack)
    return [stack for stack in found if source is None or stack.source is source]


def _boxes_of(one: LayerTuple | None, kind: str) -> dict[str, Any]:
    """Return the entry of a layer's metadata that tells the slice's boxes as they were found."""
    if kind != "boxes":
        return {}
    made = {} if one is None else layer_metadata(one[1]["metadata"]).extra
    return {DISPLAYED_BOXES: made.get(DISPLAYED_BOXES, np.zeros((0, 5), np.int64))}
