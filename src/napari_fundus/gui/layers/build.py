"""From results, truth and photographs to napari layers: plain tuples, so no window is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.gui.layers.box_layer import (
    LARGE_REGIONS,
    MAX_BOXES,
    box_data,
    box_layer,
    features_of,
)
from napari_fundus.gui.layers.landmarks import landmark_layer
from napari_fundus.image import FundusImage
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import Lesion, describe
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata
from napari_fundus.results.live import LiveResult
from napari_fundus.results.relabel import label_image

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap, CyclicLabelColormap

LayerTuple = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments and type of a layer, as napari's readers return them."""

_LARGE_OPACITY = 0.2
"""Large regions would hide the heat map, or the vessels of the disc.

Outlines would hide less, but napari takes seconds for those of 12 megapixels.
"""


def add_layers(viewer: ViewerModel, layers: Iterable[LayerTuple]) -> list[Layer]:
    """Add `layers` to `viewer`, the first at the bottom, and return them."""
    added = [make_layer(one) for one in layers]
    for layer in added:
        viewer.add_layer(layer)
    return added


def make_layer(one: LayerTuple) -> Layer:
    """Return the layer that a tuple describes; it is in no viewer yet."""
    from napari.layers import Layer

    return Layer.create(*one)


def with_source(one: LayerTuple, photograph: Layer) -> LayerTuple:
    """Return a layer that knows the layer of the photograph to which it belongs."""
    data, meta, kind = one
    known = layer_metadata(meta["metadata"])
    return data, {**meta, "metadata": {METADATA_KEY: replace(known, source=photograph)}}, kind


def image_layer(image: FundusImage, landmarks: Landmarks | None = None) -> LayerTuple:
    """Return a photograph as an RGB layer that remembers its file, and its landmarks if known."""
    metadata = LayerMetadata(
        kind="photograph",
        path=str(image.path) if image.path else None,
        landmarks=landmarks or None,
        identity=image.identity,
        extra=image.metadata,
    )
    meta = {"name": image.name, "rgb": True, "metadata": {METADATA_KEY: metadata}}
    return image.rgb8, meta, "image"


def label_colormap(lesion: str) -> CyclicLabelColormap:
    """Return the colormap of a class's labels: every lesion in the colour of its class."""
    from napari.utils.colormaps import CyclicLabelColormap

    return CyclicLabelColormap(
        colors=[[0, 0, 0, 0], _rgba(describe(lesion).colour)], name=f"fundus {lesion}"
    )


def _map_colormap(lesion: str) -> Colormap:
    from napari.utils.colormaps import Colormap

    colour = _rgba(describe(lesion).colour)
    return Colormap([[0, 0, 0, 1], colour], name=f"fundus {lesion} map")


def _heat_colormap() -> Colormap:
    """From nothing over red and yellow to white: the photograph stays where nothing was seen."""
    from napari.utils.colormaps import Colormap

    colours = [[0.5, 0, 0, 0], [0.9, 0.1, 0, 0.6], [1, 0.75, 0, 0.9], [1, 1, 0.85, 1]]
    return Colormap(colours, name="fundus heat")


def _rgba(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0]


def labels_of(detections: Detections, lesion: str) -> npt.NDArray[Any]:
    """Return a class's labels in the narrowest of uint16 and int32 (see `relabel.label_image`)."""
    labels = detections.labels[lesion]
    pixels = np.flatnonzero(labels)
    return label_image(detections.shape, pixels, labels.reshape(-1)[pixels].astype(np.int64))


def detection_layers(
    result: Detections | LiveResult,
    *,
    placement: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> list[LayerTuple]:
    """Return a result as layers, the bottom one first.

    Names are short, for napari's narrow list: image, detector, class. Probability maps, and those
    of a method's single stages, are hidden at first, labels are shown; boxes, or outlines where
    they are many, come where the method's own result is boxes, for classes of which any is found.
    Where a classifier looked is shown as a heat map through which the photograph can be seen, and
    the regions in it can be seen through as well.

    Parameters
    ----------
    result
        What a detector found; all layers share one `LiveResult` of it.
    placement
        Spatial keyword arguments of the source layer, see `placement.placement_of`.
    name
        What the layers' names begin with; by default the image's name.
    """
    live = result if isinstance(result, LiveResult) else LiveResult(result)
    detections = live.detections(edits=False)
    image = name or detections.provenance.image_name or "image"
    name = f"{image} {detections.provenance.detector}"
    placed = dict(placement or {})
    hidden = {"blending": "additive", "opacity": 0.8, "visible": False}
    seen_through = {"blending": "translucent", "opacity": 0.6}
    first = detections.lesions[0] if detections.lesions else ""
    heats = [
        (f"{code} heat map", values, _heat_colormap(), code, "heatmap", seen_through)
        for code, values in detections.heatmap.items()
    ]
    stages = [
        (title, values, _map_colormap(first), first, "stage", hidden)
        for title, values in detections.stages.items()
    ]
    maps = [
        (f"{code} map", values, _map_colormap(code), code, "probability", hidden)
        for code, values in detections.probability.items()
    ]
    layers: list[LayerTuple] = [
        (
            values,
            {
                "name": f"{name}: {title}",
                "colormap": colormap,
                "contrast_limits": (0.0, 1.0),
                "rgb": False,
                "metadata": _metadata(live, code, kind),
                **look,
                **placed,
            },
            "image",
        )
        for title, values, colormap, code, kind, look in (*heats, *stages, *maps)
    ]
    layers.extend(
        (
            labels_of(detections, code),
            {
                "name": f"{name}: {_display_name(code)}",
                "colormap": label_colormap(code),
                "opacity": _opacity(code, 0.6),
                "features": features_of(detections.instances, code),
                "metadata": _metadata(live, code, "labels"),
                **placed,
            },
            "labels",
        )
        for code in detections.lesions
    )
    if detections.has_boxes:
        found = detections.instances
        layers.extend(
            box_layer(
                table,
                detections.labels[code],
                code,
                {
                    "name": f"{name}: {code}",
                    "metadata": _metadata(live, code, "boxes"),
                    **placed,
                },
            )
            for code in detections.lesions
            if len(table := found[found["lesion"] == code])
        )
    if detections.landmarks:
        layers.append(
            landmark_layer(
                detections.landmarks,
                name=image,
                shape=detections.shape,
                placement=placed,
                metadata=LayerMetadata(provenance=detections.provenance.model_dump(mode="json")),
            )
        )
    return layers


def _display_name(lesion: str) -> str:
    """Return a class's code, or its meaning where the code says little."""
    return lesion if lesion in set(Lesion) else describe(lesion).plural


def _opacity(lesion: str, usual: float) -> float:
    return _LARGE_OPACITY if lesion in LARGE_REGIONS else usual


def _metadata(live: LiveResult, lesion: str, kind: str) -> dict[str, LayerMetadata]:
    provenance = live.original.provenance.model_dump(mode="json")
    return {
        METADATA_KEY: LayerMetadata(kind=kind, lesion=str(lesion), provenance=provenance, live=live)
    }


def centre_layer(centres: Mapping[str, tuple[float, float]], image: FundusImage) -> LayerTuple:
    """Return the optic disc's and the fovea's centre as points."""
    codes = list(centres)
    return (
        np.array([centres[code] for code in codes], np.float64),
        {
            "name": f"{image.name}: centres (experts)",
            "size": max(image.shape) / 60,
            "symbol": "cross",
            "face_color": [describe(code).colour for code in codes],
            "features": pd.DataFrame({"structure": [describe(code).name for code in codes]}),
            "metadata": {METADATA_KEY: LayerMetadata(kind="truth", identity=image.identity)},
        },
        "points",
    )


def saved_label_layers(
    labels: Mapping[str, npt.NDArray[np.int32]],
    provenance: Provenance,
    instances: pd.DataFrame | None = None,
) -> list[LayerTuple]:
    """Return labels that were read from a file, without their maps, as layers.

    Parameters
    ----------
    labels
        Class code to labels.
    provenance
        Of the run.
    instances
        Table of the lesions, where the file holds what it needs.
    """
    metadata = LayerMetadata(kind="labels", provenance=provenance.model_dump(mode="json"))
    return [
        (
            values,
            {
                "name": f"{provenance.image_name} {provenance.detector}: {_display_name(code)}",
                "colormap": label_colormap(code),
                "opacity": _opacity(code, 0.6),
                "metadata": {METADATA_KEY: replace(metadata, lesion=code)},
                **({} if instances is None else {"features": features_of(instances, code)}),
            },
            "labels",
        )
        for code, values in labels.items()
    ]


def table_layers(table: pd.DataFrame, *, name: str) -> list[LayerTuple]:
    """Return a table of lesions that was read from a file as a layer a class.

    A table holds no outlines: what is shown are the boxes of the lesions, or of more than
    `MAX_BOXES` their centres.

    Parameters
    ----------
    table
        With the columns `INSTANCE_COLUMNS`.
    name
        Of the file: what the layers' names begin with.
    """
    layers: list[LayerTuple] = []
    for code, lesions in table.groupby("lesion", sort=False):
        colour = describe(str(code)).colour
        look: dict[str, Any] = {
            "name": f"{name}: {_display_name(str(code))}",
            "features": features_of(lesions),
            "metadata": {METADATA_KEY: LayerMetadata(kind="table", lesion=str(code))},
        }
        if len(lesions) <= MAX_BOXES:
            look |= {"shape_type": "rectangle", "face_color": "transparent", "edge_width": 2}
            layers.append((list(box_data(lesions)), {**look, "edge_color": colour}, "shapes"))
        else:
            centres = lesions[["centroid_row", "centroid_col"]].to_numpy(np.float64)
            layers.append((centres, {**look, "face_color": colour, "size": 10}, "points"))
    return layers


def truth_layers(
    masks: Mapping[str, npt.NDArray[np.bool_]],
    *,
    placement: Mapping[str, Any] | None = None,
    name: str = "truth",
    visible: bool = True,
    identity: ImageIdentity | None = None,
) -> list[LayerTuple]:
    """Return the experts' masks as labels layers, one a class, each lesion its own number.

    Parameters
    ----------
    masks
        Class code to mask: bool, shape (H, W).
    placement
        Spatial keyword arguments of the photograph's layer, see `placement.placement_of`.
    name
        Of the photograph: what the layers' names begin with.
    visible
        Whether they are shown at first.
    identity
        Of the photograph in which they were drawn; a result of another is not judged by them.
    """
    metadata = LayerMetadata(kind="truth", identity=identity)
    layers: list[LayerTuple] = []
    for code, mask in masks.items():
        count, labels = cv2.connectedComponents(
            np.ascontiguousarray(mask).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        layers.append(
            (
                labels.astype(np.uint16 if count <= np.iinfo(np.uint16).max else np.int32),
                {
                    "name": f"{name}: {code} (experts)",
                    "colormap": label_colormap(code),
                    "opacity": _opacity(code, 0.45),
                    "visible": visible,
                    "metadata": {METADATA_KEY: replace(metadata, lesion=str(code))},
                    **dict(placement or {}),
                },
                "labels",
            )
        )
    return layers
