"""The part of the image that was looked at, from polygons that a person drew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes

_SHIFT = 4
"""Bits of a pixel's fraction that OpenCV rounds vertices to."""


def polygons_mask(
    polygons: Iterable[npt.NDArray[np.float64]], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return the pixels inside any of the polygons: bool, of `shape`.

    Parameters
    ----------
    polygons
        Vertices, shape (N, 2), row and column; pixel centres are whole numbers.
    shape
        Height and width.
    """
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        if len(polygon) >= 3:
            points = np.rint(polygon[:, ::-1] * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(mask, [points], (1,), shift=_SHIFT)
    return mask.view(np.bool_)


def shapes_to_polygons(layer: Shapes, onto: Layer) -> list[npt.NDArray[np.float64]]:
    """Return the areas of a shapes layer as polygons in the pixels of another layer.

    Lines and paths enclose nothing, and are left out.
    """
    found = []
    for data, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind in ("polygon", "rectangle", "ellipse"):
            corners = np.asarray(data, np.float64)[:, -2:]
            vertices = _ellipse(corners) if kind == "ellipse" else corners
            found.append(np.array([_moved(layer, onto, v) for v in vertices]))
    return found


def add_region_layer(viewer: ViewerModel, placement: Mapping[str, Any]) -> Shapes:
    """Add a shapes layer with the polygon tool active, and return it."""
    from napari.layers import Shapes

    layer = Shapes(
        None,
        ndim=2,
        name="reviewed region",
        face_color="transparent",
        edge_color="#4caf50",
        edge_width=6,
        **placement,
    )
    viewer.add_layer(layer)
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon"
    return layer


def _moved(layer: Layer, onto: Layer, point: Sequence[float] | npt.NDArray[Any]) -> Any:
    full = np.zeros(layer.ndim)
    full[-2:] = point
    return np.asarray(onto.world_to_data(layer.data_to_world(full)))[-2:]


def _ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return an ellipse as 72 points, from the corners of the rectangle around it."""
    middle = corners.mean(axis=0)
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[:, np.newaxis]
    return np.asarray(middle + np.cos(angle) * along + np.sin(angle) * across)
