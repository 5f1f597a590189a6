"""A new result into the layers of the one before, so that their place and look stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.build import LayerTuple, make_layer
from napari_fundus.gui.layers.napari_compat import remove_layers
from napari_fundus.gui.layers.placement import ImageSource, lies_at
from napari_fundus.results.detections import Provenance
from napari_fundus.results.layer_metadata import layer_metadata

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerUpdate:
    """Shows the layers of a new result, in those of the same method's last one where they fit.

    What else lies over the photograph in the same colours is hidden: what other methods or other
    weights found, and the experts' masks.

    Taking a layer out and putting another in would lose its place in the list and all that was set
    in its controls. It also takes napari up to half a second: a layer that goes makes it collect
    garbage, among all that torch and others have loaded. To keep those out of the collector's sight
    (``gc.freeze``) is no way out: it would keep all layers in memory that are there at the time.

    Parameters
    ----------
    viewer
        The viewer.
    tuples
        The layers of the result, the bottom one first.
    provenance
        Of the result.
    source
        The photograph.
    keep_layers
        Layers of earlier results that a person changed: they stay as they are.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        tuples: list[LayerTuple],
        provenance: Provenance,
        source: ImageSource,
        *,
        keep_layers: Iterable[Layer] = (),
    ) -> None:
        self._viewer = viewer
        kept = list(keep_layers)
        self.outdated: list[Layer] = []
        """What the same method found in the same photograph before, and landmarks of any."""
        for layer in list(viewer.layers):
            if layer in kept:
                continue
            if _is_outdated(layer, provenance, source):
                self.outdated.append(layer)
                if (live := layer_metadata(layer).live) is not None:
                    live.close()
            elif _covers(layer, source):
                layer.visible = False
        self._free = list(self.outdated)
        self._pairs = [(one, self._take(one)) for one in tuples]
        self._shown: list[Layer] = []
        self._filled: list[tuple[Layer, LayerTuple]] = []

    def _take(self, one: LayerTuple) -> Layer | None:
        layer = find_reusable_layer(one, self._free)
        self._free = [other for other in self._free if other is not layer]
        return layer

    def steps(self) -> Iterator[None]:
        """Let layers come, go or change, never two in a step.

        For :class:`~napari_fundus.gui.layers.event_loop.StepRunner`.
        """
        if self._free:
            remove_layers(self._viewer, self._free)
            yield
        for one, layer in self._pairs:
            if layer is None or layer not in self._viewer.layers:
                new = make_layer(one)
                self._shown.append(new)
                yield
                yield from add_layer_in_steps(self._viewer, new)
            else:
                update_layer(layer, one)
                self._filled.append((layer, one))
                self._shown.append(layer)
                yield

    def finish(self) -> list[Layer]:
        """Let all layers tell of the new result, at once, and return them."""
        for layer, (_, meta, _) in self._filled:
            layer.metadata = meta["metadata"]
        return self._shown


def find_reusable_layer(one: LayerTuple, layers: Iterable[Layer]) -> Layer | None:
    """Return the layer that can show `one` in place of what it shows.

    It is of the same type, kind and class, and lies at the same place; a picture has as many
    pixels, landmarks are of the same structures.
    """
    data, meta, kind = one
    for layer in layers:
        if type(layer).__name__.lower() != kind or not lies_at(layer, meta):
            continue
        if _kind_and_lesion(layer) != _kind_and_lesion(meta["metadata"]):
            continue
        if kind in ("image", "labels") and tuple(layer.data.shape) != tuple(data.shape):
            continue
        if kind == "points" and _structures(layer.features) != _structures(meta["features"]):
            continue
        return layer
    return None


def update_layer(layer: Layer, one: LayerTuple) -> None:
    """Show other data in a layer of :func:`find_reusable_layer`; its description follows later."""
    data, meta, kind = one
    if kind == "shapes":
        # With the kind given beside each, napari draws them once and not twice.
        data = [(corners, meta["shape_type"]) for corners in data]
    layer.data = data
    if kind == "points":
        layer.size = meta.get("size", layer.size)
    elif "features" in meta:
        layer.features = meta["features"]
    if meta.get("visible", True):
        # It may have been hidden in favour of a result that came in between.
        layer.visible = True


def _is_outdated(layer: Layer, provenance: Provenance, source: ImageSource) -> bool:
    metadata = layer_metadata(layer)
    if metadata.source is not source.layer:
        return False
    # Landmarks of any method are replaced: the new result has those that a person gave.
    return metadata.kind == "landmarks" or (
        metadata.provenance.get("detector"),
        metadata.provenance.get("checkpoint_sha256"),
    ) == (provenance.detector, provenance.checkpoint_sha256)


def _covers(layer: Layer, source: ImageSource) -> bool:
    """Return whether a layer shows another result over the photograph, or the experts' masks."""
    metadata = layer_metadata(layer)
    if metadata.source is not None:
        mine = bool(metadata.provenance) or (metadata.kind == "truth" and bool(metadata.lesion))
        return metadata.source is source.layer and mine
    # Masks, and results that a script added or a file held, are known by their place.
    if type(layer).__name__ == "Labels":
        size = tuple(source.data.shape[len(source.index) :][:2])
        mine = metadata.kind in ("labels", "truth") and tuple(layer.data.shape) == size
    else:
        mine = metadata.kind in ("boxes", "heatmap")
    return mine and lies_at(layer, source.placement)


def _kind_and_lesion(layer_or_metadata: Any) -> tuple[str, str | None]:
    metadata = layer_metadata(layer_or_metadata)
    return metadata.kind, metadata.lesion


def _structures(features: Any) -> list[str]:
    return list(features["structure"]) if "structure" in features else []
