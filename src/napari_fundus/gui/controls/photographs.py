"""The photographs of a viewer, and which layers belong to each: one is shown at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from napari.layers import Image

from napari_fundus.results.layer_metadata import as_array, layer_identity, layer_metadata

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_fundus.results.live import LiveResult

_HIDDEN: WeakSet[Layer] = WeakSet()
"""Layers that were hidden because another photograph is shown, and come back with their own."""


def is_photograph(layer: Any) -> bool:
    """Whether `layer` is an image that a detector may be run on: not one of our own maps."""
    return isinstance(layer, Image) and layer_metadata(layer).kind in ("", "photograph")


def find_photograph(viewer: ViewerModel, lesions: Any) -> Image | None:
    """Return the layer of the photograph that a layer's lesions are of; None where none is sure.

    That is the layer they were found in, unless it shows another photograph by now, else one of the
    same content. Where nothing tells, it is the only photograph of that size, or of that size and
    name.
    """
    known = layer_metadata(lesions)
    if known.stack is not None:
        return known.source if known.source in viewer.layers else None
    photograph = layer_identity(lesions)
    shape = np.shape(as_array(lesions.data))
    fitting = [x for x in viewer.layers if is_photograph(x) and x.ndim == 2 and _shape(x) == shape]
    alike = {id(x): photograph and photograph.same_photograph(layer_identity(x)) for x in fitting}
    if known.source in fitting and alike[id(known.source)] is not False:
        return known.source
    if photograph is not None and photograph.known:
        return next((x for x in reversed(fitting) if alike[id(x)]), None)
    named = [x for x in fitting if x.name == known.provenance.get("image_name")]
    found = named or fitting
    return found[0] if len(found) == 1 else None


def _shape(layer: Image) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(data.shape[:2])


def photographs(viewer: ViewerModel) -> list[Layer]:
    """Return the photographs of a viewer, the lowest first."""
    return [layer for layer in viewer.layers if is_photograph(layer)]


def photograph_of(viewer: ViewerModel, layer: Layer) -> Layer | None:
    """Return the photograph that a layer belongs to: itself, its source, or one of its identity."""
    if is_photograph(layer):
        return layer
    known = layer_metadata(layer)
    if known.source is not None:
        return known.source if known.source in viewer.layers else None
    identity = layer_identity(layer) if known.kind else None
    if identity is None or not identity.known:
        return None
    return next(
        (x for x in photographs(viewer) if identity.same_photograph(layer_identity(x))), None
    )


def layers_of(viewer: ViewerModel, photograph: Layer) -> list[Layer]:
    """Return a photograph with its results, masks and landmarks, in their order in the list."""
    return [x for x in viewer.layers if photograph_of(viewer, x) is photograph]


def hide_photograph(viewer: ViewerModel, photograph: Layer) -> None:
    """Hide a photograph and all that belongs to it, until it is shown again."""
    _hide(layers_of(viewer, photograph))


def _hide(layers: Iterable[Layer]) -> None:
    for layer in layers:
        if layer.visible:
            _HIDDEN.add(layer)
            layer.visible = False


def show_photograph(viewer: ViewerModel, photograph: Layer) -> None:
    """Show a photograph with what was seen of its layers before, and hide all others with theirs.

    Layers of which it is not known what they belong to stay as they are.
    """
    owners = [(layer, photograph_of(viewer, layer)) for layer in viewer.layers]
    _hide(layer for layer, owner in owners if owner not in (None, photograph))
    for layer in (layer for layer, owner in owners if owner is photograph):
        if layer in _HIDDEN or layer is photograph:
            _HIDDEN.discard(layer)
            layer.visible = True


def newest_result(viewer: ViewerModel, photograph: Layer) -> LiveResult | None:
    """Return the uppermost result of a photograph that has its maps."""
    for layer in reversed(layers_of(viewer, photograph)):
        live = layer_metadata(layer).live
        if live is not None and not live.closed:
            return live
    return None


def result_layers(viewer: ViewerModel, live: LiveResult) -> list[Layer]:
    """Return the layers of a result, with the landmarks of its run."""
    mine = [x for x in viewer.layers if layer_metadata(x).live is live]
    about = [(layer_metadata(x).source, layer_metadata(x).provenance) for x in mine[:1]]
    known = ((x, layer_metadata(x)) for x in viewer.layers)
    marks = [x for x, m in known if m.kind == "landmarks" and (m.source, m.provenance) in about]
    return [*mine, *marks]
