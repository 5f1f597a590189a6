"""Boxes of lesions as a layer of shapes, and their outlines where there are too many for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.gui.layers.placement import with_leading
from napari_fundus.lesions import DR_EVIDENCE, Lesion, describe
from napari_fundus.results.boxes import DISPLAYED_BOXES
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.results.outlines import outline_vectors
from napari_fundus.results.shown_lesions import ShownLesions
from napari_fundus.results.slice_stack import SliceIndex

if TYPE_CHECKING:
    from napari.layers import Layer

MAX_BOXES = 300
"""Boxes of a class that napari's shapes can show anew within 0.2 s; outlines take a tenth."""

LARGE_REGIONS = (DR_EVIDENCE, Lesion.OD)
"""Regions that are looked at in a picture of the whole retina."""

_EDGE_WIDTH_DIVISOR = 400
"""The image's longer side by the width of lines that are seen in such a picture."""

_HIDDEN_FEATURES = ("bbox_row_start", "bbox_col_start", "bbox_row_stop", "bbox_col_stop")


def features_of(instances: pd.DataFrame, lesion: str | None = None) -> pd.DataFrame:
    """Return a table of lesions as a layer's features: ``index`` is the label's value."""
    table = instances if lesion is None else instances[instances["lesion"] == lesion]
    return (
        table.drop(columns=list(_HIDDEN_FEATURES))
        .rename(columns={"id": "index"})
        .reset_index(drop=True)
    )


def box_data(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the corners of boxes: float64, shape (N, 4, 2), on the outer edges of the pixels."""
    top, left = table["bbox_row_start"] - 0.5, table["bbox_col_start"] - 0.5
    bottom, right = table["bbox_row_stop"] - 0.5, table["bbox_col_stop"] - 0.5
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1).astype(np.float64)


def box_layer(
    table: pd.DataFrame, labels: npt.NDArray[Any], lesion: str, common: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], str]:
    """Return a layer of the boxes of a class's lesions, or of their outlines beyond `MAX_BOXES`.

    Parameters
    ----------
    table
        Of the class, as `Detections.instances`.
    labels
        Integer, shape (H, W): values as the table's ``id``.
    lesion
        Code of the class.
    common
        Keyword arguments of the layer; to the name is added what it shows.
    """
    info = describe(lesion)
    if len(table) > MAX_BOXES:
        pixels = np.flatnonzero(labels)
        lines = outline_vectors(pixels, labels.reshape(-1)[pixels], labels.shape)
        look = {"edge_color": info.colour, "edge_width": 2, "vector_style": "line"}
        return lines, {**common, **look, "name": f"{common['name']} contours"}, "vectors"
    look = {
        "name": f"{common['name']} boxes",
        "features": features_of(table),
        "shape_type": "rectangle",
        "face_color": "transparent",
        "edge_color": info.colour,
        "edge_width": max(max(labels.shape) / _EDGE_WIDTH_DIVISOR, 2)
        if lesion in LARGE_REGIONS
        else 2,
        # napari cannot tell the number of axes from an empty list.
        "ndim": 2,
    }
    metadata = displayed_boxes(common.get("metadata", {}), table)
    return list(box_data(table)), {**common, **look, "metadata": metadata}, "shapes"


def displayed_boxes(metadata: Mapping[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    """Return a layer's metadata with the boxes that the result shows in it."""
    known = layer_metadata(metadata)
    boxes = table[["id", *_HIDDEN_FEATURES]].to_numpy(np.int64)
    extra = {**known.extra, DISPLAYED_BOXES: boxes}
    return {**metadata, METADATA_KEY: replace(known, extra=extra)}


def set_boxes(layer: Layer, shown: ShownLesions, index: SliceIndex = ()) -> None:
    """Show other lesions in a layer of :func:`box_layer`; of too many boxes the surest.

    Parameters
    ----------
    layer
        The layer.
    shown
        The lesions.
    index
        Slice of a stack in which they lie.
    """
    if type(layer).__name__ == "Vectors":
        layer.data = with_leading(shown.outlines, index)
        return
    table = shown.table.nlargest(MAX_BOXES, "score")
    # Before the boxes themselves: else they would look like a person's.
    layer.metadata = displayed_boxes(layer.metadata, table)
    # With the kind given beside each, napari draws them once and not twice.
    boxes = with_leading(list(box_data(table)), index)
    layer.data = [(corners, "rectangle") for corners in boxes]
    layer.features = features_of(table)
