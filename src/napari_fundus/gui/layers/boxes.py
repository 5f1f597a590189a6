"""Boxes of lesions as a layer of shapes, and their outlines where there are too many for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.lesions import DR_EVIDENCE, Lesion, describe

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_fundus.gui.layers.rethreshold import ShownLesions

__all__ = [
    "LARGE_REGIONS",
    "MAX_BOXES",
    "box_data",
    "box_layer",
    "features_of",
    "outline_vectors",
    "set_boxes",
]

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
    return list(box_data(table)), {**common, **look}, "shapes"


def set_boxes(layer: Layer, now: ShownLesions) -> None:
    """Show other lesions in a layer of :func:`box_layer`; of too many boxes the surest."""
    if type(layer).__name__ == "Vectors":
        layer.data = now.outlines
        return
    table = now.table.nlargest(MAX_BOXES, "score")
    # With the kind told beside each, napari draws them once and not twice.
    layer.data = [(corners, "rectangle") for corners in box_data(table)]
    layer.features = features_of(table)


def outline_vectors(
    pixels: npt.NDArray[np.int64], ids: npt.NDArray[Any], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Return the edges between lesions and what is not of them, straight runs in one piece.

    Parameters
    ----------
    pixels
        Flat indices, ascending.
    ids
        The lesion of each; those of 0 belong to none.
    shape
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        float32, shape (N, 2, 2): start and direction of each, along the edges of the pixels.
    """
    width = shape[1]
    pixels, ids = pixels[ids > 0], ids[ids > 0]
    row, col = np.divmod(pixels, width)
    lines = []
    for step, off, first, along, start in (
        (-width, row == 0, (row, col), (0, 1), (-0.5, -0.5)),
        (width, row == shape[0] - 1, (row, col), (0, 1), (0.5, -0.5)),
        (-1, col == 0, (col, row), (1, 0), (-0.5, -0.5)),
        (1, col == width - 1, (col, row), (1, 0), (-0.5, 0.5)),
    ):
        edge = np.flatnonzero(off | (_at(pixels, ids, pixels + step) != ids))
        edge = edge[np.lexsort((first[1][edge], first[0][edge]))]
        line, place = first[0][edge], first[1][edge]
        begins = np.ones(len(edge), np.bool_)
        begins[1:] = (
            (np.diff(line) != 0) | (np.diff(place) != 1) | (ids[edge][1:] != ids[edge][:-1])
        )
        heads = np.flatnonzero(begins)
        length = np.diff(heads, append=len(edge))
        at = edge[heads]
        starts = np.stack([row[at] + start[0], col[at] + start[1]], axis=1)
        lines.append(np.stack([starts, length[:, np.newaxis] * np.array(along)], axis=1))
    return np.concatenate(lines).astype(np.float32)


def _at(
    pixels: npt.NDArray[np.int64], ids: npt.NDArray[Any], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return the id at each of the flat indices `wanted`, 0 where there is none."""
    place = np.minimum(np.searchsorted(pixels, wanted), max(len(pixels) - 1, 0))
    return np.where(pixels[place] == wanted, ids[place], 0)
