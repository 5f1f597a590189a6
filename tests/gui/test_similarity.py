"""The widget *Resemblance*: colours, going to a lesion, and what happens without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Labels

import napari_fundus as nf
from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture
from napari_fundus.backends.multiscale.stages import prefix_tensors
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.gui.layers.build import add_layers, detection_layers
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.gui.similarity import SimilarityWidget, embedding_colours
from napari_fundus.preprocessing import Recipe
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata

pytestmark = pytest.mark.gui


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A refiner that nobody trained."""
    torch.manual_seed(0)
    architecture = RefinerArchitecture(backbone="light", patch=33)
    recipe = Recipe(crop="disc", resize="disc", disc_diameter=200)
    card = ModelCard(
        name="tiny",
        detector="multiscale",
        lesions=("MA",),
        architecture={"refine": architecture.model_dump(mode="json")},
        recipe={"stages": {"refine": {"preprocessing": recipe.model_dump(mode="json")}}},
    )
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, prefix_tensors("refine", Refiner(architecture).state_dict()), card)
    return str(path)


@pytest.fixture
def viewer(retina):
    viewer = ViewerModel()
    image = viewer.add_image(retina.pixels, rgb=True, name="eye", scale=(2, 3), translate=(5, 7))
    found = nf.detect(image, "tophat", threshold=0.6)
    layers = add_layers(viewer, detection_layers(found, placement=placement_of(image), name="eye"))
    for layer in layers:
        layer.metadata[METADATA_KEY] = replace(layer_metadata(layer), source=image)
    return viewer


@pytest.fixture
def widget(viewer, weights, qtbot):
    widget = SimilarityWidget(viewer, checkpoint=weights)
    qtbot.addWidget(widget)
    yield widget
    widget.shutdown()


def compare(widget, wait):
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: shown)
    return shown[0]


def test_points_lie_on_the_lesions_in_the_colours_of_the_plot(viewer, widget, wait) -> None:
    labels = widget.labels_layer()
    active = viewer.layers.selection.active
    points = compare(widget, wait)
    table = labels.features
    table = table[np.isfinite(table["centroid_row"])]
    np.testing.assert_allclose(points.data, table[["centroid_row", "centroid_col"]])
    np.testing.assert_array_equal(points.scale, viewer.layers["eye"].scale)
    assert list(points.features["index"]) == list(table["index"])
    assert points.features["refiner"].between(0, 1).all()
    brushes = [spot.brush().color().getRgbF() for spot in widget.dots.points()]
    np.testing.assert_allclose(points.face_color, brushes, atol=0.01)
    assert viewer.layers.selection.active is active


def test_a_click_goes_to_the_lesion_and_shows_those_alike(viewer, widget, wait) -> None:
    points = compare(widget, wait)
    widget.dots.sigClicked.emit(widget.dots, widget.dots.points()[1:2], None)
    np.testing.assert_allclose(
        viewer.scene.camera.center[-2:], points.data_to_world(points.data[1]), rtol=1e-6
    )
    assert points.selected_data == {1}
    count = min(6, len(points.data))
    assert len(widget.thumbnails) == count
    assert all(not label.pixmap().isNull() for label in widget.thumbnails)
    widget.go_to(0)
    assert len(widget.thumbnails) == count


def test_it_compares_the_lesions_of_the_thresholds_and_edits_of_now(viewer, widget, wait) -> None:
    labels = widget.labels_layer()
    live, code = layer_metadata(labels).live, layer_metadata(labels).lesion
    few = len(compare(widget, wait).data)
    live.set_threshold(code, 0.4)
    assert "changed since" in widget.run_bar.message.text()
    points = compare(widget, wait)
    expected = live.detections().instances
    expected = expected[expected["lesion"] == code]
    assert len(points.data) == len(expected) > few
    np.testing.assert_allclose(points.data, expected[["centroid_row", "centroid_col"]])
    live.attach(code, labels)
    free = np.argwhere(np.asarray(labels.data) == 0)[:1]
    pixels = np.ravel_multi_index(tuple(free.T), labels.data.shape)
    live.add_stroke(code, pixels, labels.data.reshape(-1)[pixels])
    labels.data[:] = 0
    labels.data[40:43, 60:63] = 1
    assert "changed since" in widget.run_bar.message.text()
    points = compare(widget, wait)
    np.testing.assert_allclose(points.data, [[41, 61]])


def test_a_second_run_replaces_the_layer(viewer, widget, wait) -> None:
    first = compare(widget, wait)
    second = compare(widget, wait)
    assert first not in viewer.layers
    assert second in viewer.layers


def test_what_is_missing_is_said(viewer, widget, wait) -> None:
    labels = [layer for layer in viewer.layers if isinstance(layer, Labels)]
    viewer.layers.remove("eye")
    widget.run()
    assert "not open" in widget.run_bar.message.text()
    for layer in labels:
        viewer.layers.remove(layer)
    assert "Detect lesions first" in widget.run_bar.message.text()
    widget.run()
    assert not widget.run_bar.running


@pytest.mark.parametrize("live", [True, False])
def test_a_layer_without_lesions_is_told(viewer, widget, wait, live) -> None:
    labels = widget.labels_layer()
    known = layer_metadata(labels)
    if live:
        known.live.set_threshold(known.lesion, 1.0)
    else:
        labels.metadata[METADATA_KEY] = replace(known, live=None)
        labels.features = labels.features.iloc[:0]
    widget.run()
    wait(lambda: not widget.run_bar.running)
    assert "no lesion" in widget.run_bar.message.text()


def test_colours_tell_directions_apart_and_the_middle_is_pale() -> None:
    colours = embedding_colours(np.array([[0, 0], [1, 0], [-1, 0], [0, 1]]))
    assert colours.shape == (4, 4)
    saturation = colours[:, :3].max(axis=1) - colours[:, :3].min(axis=1)
    assert saturation[0] < 0.5 < saturation[1:].min()
    assert len({tuple(np.round(c, 2)) for c in colours}) == 4
