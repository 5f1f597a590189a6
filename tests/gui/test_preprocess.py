"""The widget Preprocess: what the form says is done, and the result lies over the original."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_fundus.gui.layers.placement import image_source
from napari_fundus.gui.preprocess import PreprocessWidget, preprocessed_layers
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing import Recipe, preset_descriptions
from napari_fundus.results.layer_metadata import METADATA_KEY


@pytest.fixture
def viewer(retina) -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(retina.pixels, name="eye", rgb=True, scale=(2, 3), translate=(5, 7), rotate=20)
    return viewer


@pytest.fixture
def widget(viewer, qtbot) -> PreprocessWidget:
    widget = PreprocessWidget(viewer)
    qtbot.addWidget(widget)
    return widget


def run(widget, qtbot):
    with qtbot.waitSignal(widget.shown, timeout=300_000) as caught:
        widget.run()
    return caught.args[0]


@pytest.mark.parametrize("name", preset_descriptions())
def test_each_recipe_gives_what_the_library_gives(widget, qtbot, retina, name) -> None:
    widget.choose(name)
    layer = run(widget, qtbot)[0]
    expected = Recipe.preset(name).apply(FundusImage.from_array(retina.pixels))
    np.testing.assert_array_equal(layer.data, expected.pixels)
    assert layer.metadata[METADATA_KEY].extra["recipe"] == Recipe.preset(name).model_dump(
        mode="json"
    )


@pytest.mark.parametrize("crop", ["none", "disc", "circle"])
@pytest.mark.parametrize("resize", ["none", "side"])
def test_a_point_lies_at_one_place_of_the_world_in_both_layers(viewer, retina, crop, resize):
    recipe = Recipe(crop=crop, resize=resize, side=100)
    prepared = recipe.apply(FundusImage.from_array(retina.pixels))
    source = image_source(viewer.layers["eye"])
    ((data, meta, _),) = preprocessed_layers(prepared, source=source, title="test")
    new = viewer.add_image(data, **meta)
    points = [[60.0, 80.0], [120.0, 200.0], [33.3, 150.2]]
    for point, mapped in zip(points, prepared.geometry.forward_points(points), strict=True):
        np.testing.assert_allclose(
            new.data_to_world(mapped), viewer.layers["eye"].data_to_world(point), atol=1e-6
        )


def test_a_changed_field_is_what_is_done(widget, qtbot) -> None:
    widget.choose("voting_soft")
    widget.form.editors["sigma"].set_value(5.0)
    assert "Changed" in widget.about.text()
    layer = run(widget, qtbot)[0]
    assert layer.metadata[METADATA_KEY].extra["recipe"]["sigma"] == 5.0
    assert layer.name == "eye: voting_soft, changed"


def test_fields_without_effect_are_greyed_out(widget) -> None:
    widget.choose("none")
    assert not widget.form.editors["sigma"].enabled
    widget.form.editors["enhance"].set_value(True)
    assert widget.form.editors["sigma"].enabled


def test_the_field_of_view_comes_as_labels_if_wished(widget, qtbot) -> None:
    widget.field_of_view_box.setChecked(True)
    image, labels = run(widget, qtbot)
    assert labels.data.shape == image.data.shape[:2]
    assert labels.data.max() == 1


def test_standardized_pictures_are_shown_within_three_deviations(widget, qtbot) -> None:
    widget.choose("none")
    widget.form.editors["standardize"].set_value(True)
    layer = run(widget, qtbot)[0]
    assert layer.data.min() >= 0
    assert layer.data.max() <= 1
    assert layer.rgb


def test_a_black_picture_is_refused_with_the_reason(widget, qtbot, viewer) -> None:
    layer = viewer.add_image(np.zeros((90, 90, 3), np.uint8), name="night", rgb=True)
    widget.layer_choice.choose(layer)
    with qtbot.waitSignal(widget.run_bar.stopped, timeout=300_000):
        widget.run()
    assert "black" in widget.run_bar.message.text()
    assert len(viewer.layers) == 2


def test_the_copied_script_gives_the_same_shape(widget, qtbot, capsys, viewer) -> None:
    widget.choose("mask_rcnn")
    layer = run(widget, qtbot)[0]
    widget.copy_python()
    exec(QApplication.clipboard().text(), {"viewer": viewer})
    assert str(layer.data.shape) in capsys.readouterr().out
