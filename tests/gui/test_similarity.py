"""The widget *Similarity*: colours, going to a lesion, and following the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Labels

import napari_fundus as nf
from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture
from napari_fundus.backends.multiscale.stages import prefix_tensors
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.gui.layers.build import add_layers, detection_layers
from napari_fundus.gui.layers.napari_compat import stroke_pixels
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.gui.similarity import SimilarityWidget, embedding_colours
from napari_fundus.preprocessing import Recipe
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.results.live import LiveResult

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
    found = nf.detect(image, "tophat", threshold=0.5)
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


def exudates(widget) -> Labels:
    """Choose the class whose lesions are of many sizes, and return its layer."""
    (layer,) = (x for x in widget.labels_choice.choices if layer_metadata(x).lesion == "EX")
    widget.labels_choice.choose(layer)
    return layer


def compare(widget, wait):
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: shown)
    return shown[0]


def lesions_of(labels) -> pd.DataFrame:
    """The lesions of a class as the one live result has them."""
    metadata = layer_metadata(labels)
    table = metadata.live.detections().instances
    return table[table["lesion"] == metadata.lesion]


def test_points_lie_on_the_lesions_in_the_colours_of_the_plot(viewer, widget, wait) -> None:
    active = viewer.layers.selection.active
    points = compare(widget, wait)
    table = lesions_of(widget.labels_layer())
    np.testing.assert_allclose(points.data, table[["centroid_row", "centroid_col"]])
    np.testing.assert_array_equal(points.scale, viewer.layers["eye"].scale)
    assert list(points.features["index"]) == list(table["id"])
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


def test_a_second_run_shows_its_lesions_in_the_layer_of_the_first(viewer, widget, wait) -> None:
    first = compare(widget, wait)
    assert compare(widget, wait) is first
    viewer.layers["eye"].scale = (1, 1)
    second = compare(widget, wait)
    assert first not in viewer.layers
    assert second in viewer.layers
    assert len(second.data) == len(first.data)


def test_the_points_follow_threshold_and_least_area(widget, wait) -> None:
    labels = exudates(widget)
    points = compare(widget, wait)
    first = dict(zip(map(tuple, points.data), points.features["refiner"], strict=True))
    metadata = layer_metadata(labels)
    largest = int(points.features["area_px"].max())
    metadata.live.set_min_area(largest)
    wait(lambda: set(points.features["area_px"]) == {largest})
    assert len(points.data) == len(lesions_of(labels)) < len(first)
    metadata.live.set_min_area(1)
    metadata.live.set_threshold(metadata.lesion, float(lesions_of(labels)["score"].median()))
    wait(lambda: 0 < len(points.data) == len(lesions_of(labels)) < len(first))
    table = lesions_of(labels)
    np.testing.assert_allclose(points.data, table[["centroid_row", "centroid_col"]])
    assert len(widget.dots.points()) == len(points.face_color) == len(table)
    for centre, value in zip(map(tuple, points.data), points.features["refiner"], strict=True):
        assert value == first.get(centre, value)
    metadata.live.set_min_area(10**6)
    wait(lambda: len(points.data) == 0)
    assert "no lesion" in widget.run_bar.message.text()
    metadata.live.set_min_area(1)
    wait(lambda: len(points.data) == len(lesions_of(labels)) > 1)
    assert points.features["refiner"].between(0, 1).all()


def test_the_points_follow_the_brush_and_the_selected_lesion_stays(widget, wait) -> None:
    labels = exudates(widget)
    live, code = layer_metadata(labels).live, layer_metadata(labels).lesion
    live.attach(code, labels)
    labels.events.paint.connect(
        lambda event: live.add_stroke(code, *stroke_pixels(labels, event.value))
    )
    points = compare(widget, wait)
    count, removed, selected = len(points.data), points.data[0].copy(), points.data[-1].copy()
    widget.go_to(count - 1)
    labels.brush_size = 12
    labels.paint(np.rint(removed), 0)
    wait(lambda: live.edited == {code} and len(points.data) == len(lesions_of(labels)))
    assert not (points.data == removed).all(axis=1).any()
    assert (points.data == selected).all(axis=1).any()
    assert len(widget.thumbnails) == min(6, len(points.data))


def test_another_result_in_the_layers_is_compared(widget, wait) -> None:
    labels = exudates(widget)
    points = compare(widget, wait)
    metadata = layer_metadata(labels)
    largest = int(points.features["area_px"].max())
    other = LiveResult(metadata.live.original.threshold({}, min_area=largest))
    labels.metadata = {METADATA_KEY: replace(metadata, live=other)}
    wait(lambda: set(points.features["area_px"]) == {largest})
    assert len(points.data) == len(lesions_of(labels))


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


def test_a_layer_without_lesions_is_reported(widget, wait) -> None:
    layer_metadata(widget.labels_layer()).live.set_min_area(10**6)
    assert len(compare(widget, wait).data) == 0
    assert "no lesion" in widget.run_bar.message.text()
    assert widget.plot.isHidden()


def test_colours_tell_directions_apart_and_the_middle_is_pale() -> None:
    colours = embedding_colours(np.array([[0, 0], [1, 0], [-1, 0], [0, 1]]))
    assert colours.shape == (4, 4)
    saturation = colours[:, :3].max(axis=1) - colours[:, :3].min(axis=1)
    assert saturation[0] < 0.5 < saturation[1:].min()
    assert len({tuple(np.round(c, 2)) for c in colours}) == 4
