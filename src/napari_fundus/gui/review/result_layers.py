"""The results in a viewer that can be reviewed: their labels layers, class by class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_fundus.gui.controls.layer_choice import is_photograph
from napari_fundus.gui.evaluate.layer_groups import lesion_layers
from napari_fundus.lesions import DR_EVIDENCE, parse_lesion
from napari_fundus.results.layer_metadata import LayerMetadata, as_array, layer_metadata
from napari_fundus.review.loading import ClassLabels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

__all__ = ["ResultLayers", "find_result_layers", "result_layers_from", "show_only_result"]


@dataclass(frozen=True, eq=False)
class ResultLayers:
    """One detector's labels over one photograph.

    Attributes
    ----------
    layers
        Class code to its layer.
    photograph
        What they were found in, where that is in the viewer.
    detector
        Its name.
    image
        The image's name.
    provenance
        Of the run, as plain values.
    """

    layers: dict[str, Labels]
    photograph: Image | None = None
    detector: str = ""
    image: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What a person reads in the list."""
        return " · ".join(part for part in (self.detector, self.image) if part) or "labels"

    @property
    def key(self) -> tuple[int, ...]:
        """Tells two results apart: by the identity of their layers."""
        return tuple(id(layer) for layer in self.layers.values())

    def parts(self) -> dict[str, ClassLabels]:
        """Return what the layers show; quick, for the main thread."""
        return {
            code: ClassLabels(as_array(layer.data), layer.features.copy(), _threshold(layer))
            for code, layer in self.layers.items()
        }


def find_result_layers(viewer: ViewerModel) -> list[ResultLayers]:
    """Return the results whose labels are in the viewer, the newest first."""
    groups: dict[tuple[Any, ...], list[Labels]] = {}
    for layer in viewer.layers:
        known = layer_metadata(layer)
        if known.kind != "labels" or known.lesion == DR_EVIDENCE:
            continue
        if isinstance(layer, Labels) and layer.ndim == 2:
            ran = known.provenance
            key = (id(known.source), ran.get("detector"), ran.get("created"))
            groups.setdefault(key, []).append(layer)
    return [result_layers_from(viewer, layers) for layers in reversed(groups.values())]


def show_only_result(viewer: ViewerModel, found: ResultLayers, other: ResultLayers | None) -> None:
    """Show the labels of a result, and hide other results on the picture, of the same colours.

    Where *Evaluate* or *Compare* have laid their colours over the results, all stays as it is.
    """
    mine = set(found.key) | (set() if other is None else set(other.key))
    own = found.provenance, {} if other is None else other.provenance
    if any(layer_metadata(x).kind == "outcome" and x.visible for x in viewer.layers):
        return
    for layer in lesion_layers(viewer, next(iter(found.layers.values()))):
        known = layer_metadata(layer)
        if id(layer) in mine:
            layer.visible = True
        elif known.kind in ("labels", "boxes") and known.provenance not in own:
            layer.visible = False


def result_layers_from(
    viewer: ViewerModel, layers: Sequence[Labels], photograph: Image | None = None
) -> ResultLayers:
    """Return given labels layers as a result; classes are told by metadata, else by name."""
    by_class: dict[str, Labels] = {}
    for layer in layers:
        lesion = layer_metadata(layer).lesion or _class_in(layer.name)
        by_class.setdefault(str(lesion), layer)
    about = layer_metadata(layers[0])
    told = dict(about.provenance)
    source = photograph if photograph is not None else _photograph(viewer, layers[0], about, told)
    name = source.name if source is not None else str(told.get("image_name", ""))
    return ResultLayers(by_class, source, str(told.get("detector", "")), name, told)


def _threshold(layer: Labels) -> float:
    value = layer_metadata(layer).threshold
    return float("nan") if value is None else float(value)


def _class_in(name: str) -> str:
    words = [name, *name.replace(":", " ").replace("_", " ").split()]
    found = [lesion for word in words if (lesion := parse_lesion(word)) is not None]
    return str(found[0]) if found else name


def _photograph(
    viewer: ViewerModel, layer: Labels, about: LayerMetadata, told: dict[str, Any]
) -> Image | None:
    """Return the photograph that the layer says it belongs to, else the likeliest one."""
    photographs = [x for x in viewer.layers if is_photograph(x) and x.ndim == 2]
    source = about.source
    for candidate in photographs:
        if candidate is source:
            return candidate
    shape = np.shape(as_array(layer.data))
    fitting = [x for x in photographs if _shape(x) == shape]
    named = [x for x in fitting if x.name == told.get("image_name")]
    return (named or fitting or [None])[-1]


def _shape(layer: Image) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(data.shape[:2])
