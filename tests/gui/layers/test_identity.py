"""Layers know their photograph by its content, and photographs are found by it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fundus.gui import add_detections
from napari_fundus.gui.controls.photographs import find_photograph
from napari_fundus.gui.layers.build import add_layers, image_layer, truth_layers
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import (
    METADATA_KEY,
    LayerMetadata,
    detections_from_layer,
    layer_identity,
)

pytestmark = pytest.mark.gui


@pytest.fixture
def images(draw) -> list[FundusImage]:
    """Photographs of two patients, of one size and one name."""
    return [FundusImage.from_array(draw(seed=seed).pixels, name="eye") for seed in range(2)]


def result_of(image: FundusImage, *, hashed: bool = True) -> Detections:
    told = Provenance(
        detector="guess",
        detector_version="1",
        package_version="0",
        image_name=image.name,
        image_sha256=image.sha256 if hashed else "",
        image_perceptual=image.identity.perceptual if hashed else "",
        image_shape=image.shape,
    )
    return Detections(told, {"MA": np.zeros(image.shape, np.float32)}, {"MA": 0.5})


def labels_of(viewer: ViewerModel, image: FundusImage, **how) -> Labels:
    added = add_detections(viewer, result_of(image, **how))
    return next(layer for layer in added if isinstance(layer, Labels))


def test_photograph_truth_and_result_carry_the_identity(images) -> None:
    viewer = ViewerModel()
    masks = {"MA": np.zeros(images[0].shape, np.bool_)}
    truth = truth_layers(masks, name="eye", identity=images[0].identity)
    photograph, drawn = add_layers(viewer, [image_layer(images[0]), *truth])
    for layer in (photograph, drawn, labels_of(viewer, images[0])):
        assert layer_identity(layer) == images[0].identity
    written = detections_from_layer(*drawn.as_layer_data_tuple()[:2]).provenance
    assert written.image_sha256 == images[0].sha256
    assert written.image.same_photograph(images[0].identity) is True


def test_an_image_of_another_program_is_looked_at_as_it_is_now(images) -> None:
    layer = Image(images[0].pixels, rgb=True, name="theirs")
    assert layer_identity(layer).sha256 == images[0].sha256
    assert layer_identity(layer) is layer_identity(layer)
    layer.data = images[1].pixels
    assert layer_identity(layer).sha256 == images[1].sha256


def test_the_largest_scale_of_a_pyramid_counts(images) -> None:
    pixels = images[0].pixels
    layer = Image([pixels, pixels[::2, ::2]], rgb=True, multiscale=True)
    assert layer_identity(layer).sha256 == images[0].sha256


def test_what_is_no_photograph_has_no_identity(images) -> None:
    stack = np.stack([image.pixels for image in images])
    assert layer_identity(Image(stack, rgb=True)) is None
    assert layer_identity(Labels(np.zeros((80, 80), int))) is None
    damaged = LayerMetadata(kind="labels", provenance={"detector": 3})
    assert layer_identity(Labels(np.zeros((80, 80), int), metadata={METADATA_KEY: damaged})) is None


def test_a_photograph_is_found_by_content_not_by_size_or_name(images) -> None:
    viewer = ViewerModel()
    first, second = add_layers(viewer, [image_layer(image) for image in images])
    assert find_photograph(viewer, labels_of(viewer, images[0])) is first
    assert find_photograph(viewer, labels_of(viewer, images[1])) is second
    viewer.layers.remove(first)
    assert find_photograph(viewer, labels_of(viewer, images[0])) is None


def test_the_layer_that_lesions_were_found_in_counts_unless_it_shows_another_now(images) -> None:
    viewer = ViewerModel()
    first = viewer.add_image(images[0].pixels, rgb=True)
    labels = labels_of(viewer, images[0])
    known = labels.metadata[METADATA_KEY]
    labels.metadata[METADATA_KEY] = LayerMetadata(
        kind="labels", lesion="MA", provenance=known.provenance, live=known.live, source=first
    )
    again = viewer.add_image(images[0].pixels, rgb=True)
    assert find_photograph(viewer, labels) is first
    first.data = images[1].pixels
    assert find_photograph(viewer, labels) is again


def test_without_a_hash_the_only_photograph_of_that_size_is_taken_but_none_of_two(images) -> None:
    viewer = ViewerModel()
    labels = labels_of(viewer, images[0], hashed=False)
    first = viewer.add_image(images[0].pixels, rgb=True, name="one")
    assert find_photograph(viewer, labels) is first
    second = viewer.add_image(images[1].pixels, rgb=True, name="two")
    assert find_photograph(viewer, labels) is None
    second.name = "eye"
    assert find_photograph(viewer, labels) is second
