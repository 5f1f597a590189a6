"""Napari's *Open sample* menu: the two pictures that ship with the package."""

from __future__ import annotations

from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.layers.build import LayerTuple, image_layer, truth_layers
from napari_fundus.image import read_image
from napari_fundus.samples import (
    NORMAL_CREDIT,
    SAMPLE_CREDIT,
    normal_image_path,
    sample_folder,
    sample_image_path,
)


def _credited(layer: LayerTuple, credit: str) -> LayerTuple:
    data, meta, kind = layer
    return data, {**meta, "metadata": {**meta["metadata"], "credit": credit}}, kind


def idrid() -> list[LayerTuple]:
    """Return a photograph with lesions of all four classes, and the experts' masks."""
    from napari_fundus.datasets import open_dataset

    sync_preferences()
    image = read_image(sample_image_path())
    (sample,) = open_dataset(sample_folder())
    masks = {code: sample.mask(code, image.shape) for code in sorted(sample.annotated)}
    landmarks = sample.landmarks(image.shape)
    layers = [
        image_layer(image, landmarks),
        *truth_layers(masks, name=image.name, identity=image.identity),
    ]
    return [_credited(layer, SAMPLE_CREDIT) for layer in layers]


def normal() -> list[LayerTuple]:
    """Return a photograph of a healthy retina."""
    sync_preferences()
    return [_credited(image_layer(read_image(normal_image_path())), NORMAL_CREDIT)]
