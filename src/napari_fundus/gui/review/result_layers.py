"""The results in a viewer that can be reviewed: their labels layers, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image, Labels

from napari_fundus.gui.controls.photographs import find_photograph
from napari_fundus.gui.evaluate.layer_groups import LayerGroup, lesion_layers, list_results
from napari_fundus.lesions import DR_EVIDENCE
from napari_fundus.results.layer_metadata import (
    as_array,
    layer_metadata,
    lesion_in_name,
)
from napari_fundus.review.loading import ClassLabels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel


def class_labels(found: LayerGroup) -> dict[str, ClassLabels]:
    """Return what the labels layers of a result show; quick, for the main thread."""
    return {
        code: ClassLabels(as_array(layer.data), layer.features.copy(), _threshold(layer))
        for code, layer in found.labels.items()
    }


def find_result_layers(viewer: ViewerModel) -> list[LayerGroup]:
    """Return the results whose labels are in the viewer, the uppermost first."""
    found = []
    for group in list_results(viewer):
        layers = [x for code, x in group.labels.items() if code != DR_EVIDENCE and x.ndim == 2]
        if layers:
            found.append(result_layers_from(viewer, layers))
    return found


def show_only_result(viewer: ViewerModel, found: LayerGroup, other: LayerGroup | None) -> None:
    """Show the labels of a result, and hide other results on the picture, of the same colours.

    Where *Evaluate* or *Compare* have laid their colours over the results, all stays as it is.
    """
    mine = set(found.layer_ids) | (set() if other is None else set(other.layer_ids))
    own = found.provenance, {} if other is None else other.provenance
    if any(layer_metadata(x).kind == "outcome" and x.visible for x in viewer.layers):
        return
    for layer in lesion_layers(viewer, next(iter(found.labels.values()))):
        metadata = layer_metadata(layer)
        if id(layer) in mine:
            layer.visible = True
        elif metadata.kind in ("labels", "boxes") and metadata.provenance not in own:
            layer.visible = False


def result_layers_from(
    viewer: ViewerModel, layers: Sequence[Labels], photograph: Image | None = None
) -> LayerGroup:
    """Return given labels layers as a result; classes come from metadata, else from the name."""
    by_class: dict[str, Labels] = {}
    for layer in layers:
        lesion = layer_metadata(layer).lesion or lesion_in_name(layer.name) or layer.name
        by_class.setdefault(str(lesion), layer)
    about = layer_metadata(layers[0])
    source = photograph if photograph is not None else find_photograph(viewer, layers[0])
    image = source.name if source is not None else str(about.provenance.get("image_name", ""))
    title = " · ".join(part for part in (about.provenance.get("detector"), image) if part)
    return LayerGroup((), title or "labels", by_class, photograph=source)


def _threshold(layer: Labels) -> float:
    value = layer_metadata(layer).threshold
    return float("nan") if value is None else float(value)
