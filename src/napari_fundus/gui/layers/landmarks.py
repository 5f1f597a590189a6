"""The optic disc and the fovea as a layer of points that a person may move, add and remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc
from napari_fundus.lesions import Lesion, describe
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata

if TYPE_CHECKING:
    from napari.layers import Layer, Points

_DISC, _FOVEA = describe(Lesion.OD).name, describe(Lesion.FOVEA).name

POINT_STYLE_KEYS = ("size", "symbol", "face_color", "border_color", "border_width")
"""What each point has of its own."""

_CROSS = 60
"""Size of a cross, as a part of the picture's longer side."""


def landmark_layer(
    landmarks: Landmarks,
    *,
    name: str,
    shape: tuple[int, int],
    placement: Mapping[str, Any] | None = None,
    metadata: LayerMetadata | None = None,
) -> tuple[Any, dict[str, Any], str]:
    """Return the landmarks as a layer of points: the disc as a ring of its size, the fovea a cross.

    Parameters
    ----------
    landmarks
        What is known; may be nothing, for a layer into which a person will put it.
    name
        What the layer's name begins with.
    shape
        Height and width of the image.
    placement
        Spatial keyword arguments of the source layer, see `placement.placement_of`.
    metadata
        Of the layer, besides its kind.
    """
    cross = max(shape) / _CROSS
    rows: list[tuple[float, float]] = []
    looks: list[tuple[str, float, str, Any, str, float]] = []
    disc, fovea = landmarks.disc, landmarks.fovea
    if disc is not None:
        colour = describe(Lesion.OD).colour
        rows.append((disc.row, disc.col))
        if disc.diameter is None:
            looks.append((_DISC, cross, "cross", colour, colour, 0.0))
        else:
            looks.append((_DISC, disc.diameter, "disc", [0, 0, 0, 0], colour, 0.02))
    if fovea is not None:
        rows.append((fovea.row, fovea.col))
        colour = describe(Lesion.FOVEA).colour
        looks.append((_FOVEA, cross, "cross", colour, colour, 0.0))
    meta: dict[str, Any] = {
        "name": f"{name}: landmarks",
        "ndim": 2,
        "features": pd.DataFrame({"structure": pd.Series([look[0] for look in looks], dtype=str)}),
        "feature_defaults": {"structure": _FOVEA},
        "metadata": {METADATA_KEY: replace(metadata or LayerMetadata(), kind="landmarks")},
        **(placement or {}),
    }
    if looks:
        for number, key in enumerate(POINT_STYLE_KEYS, start=1):
            meta[key] = [look[number] for look in looks]
    return np.array(rows, np.float64).reshape(-1, 2), meta, "points"


def read_landmarks(layer: Points, before: Landmarks) -> Landmarks:
    """Return what the layer now shows; what a person moved or added counts as annotated.

    Of several points of one structure the last counts: it was added to replace the others.

    Parameters
    ----------
    layer
        A layer of :func:`landmark_layer`.
    before
        What it showed.
    """
    disc: OpticDisc | None = None
    fovea: Fovea | None = None
    structures = layer.features["structure"]
    for (row, col), structure in zip(
        np.asarray(layer.data)[:, -2:].tolist(), structures, strict=True
    ):
        if structure == _DISC:
            known = before.disc
            disc = OpticDisc(row=row, col=col, diameter=known.diameter if known else None)
            if known is not None and (known.row, known.col) == (row, col):
                disc = known
        else:
            fovea = Fovea(row=row, col=col)
            if before.fovea is not None and (before.fovea.row, before.fovea.col) == (row, col):
                fovea = before.fovea
    return Landmarks(disc=disc, fovea=fovea)


def stored_landmarks(photograph: Layer) -> Landmarks:
    """Return what the layer of a photograph knows of its landmarks, from data set or person."""
    return layer_metadata(photograph).landmarks or Landmarks()


def store_landmarks(photograph: Layer, landmarks: Landmarks) -> None:
    """Let the layer of a photograph know its landmarks, for the next run on it."""
    photograph.metadata[METADATA_KEY] = replace(layer_metadata(photograph), landmarks=landmarks)
