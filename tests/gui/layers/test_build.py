"""Results, truth and photographs as layer tuples: what napari needs, and no window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Layer, Shapes, Vectors

import napari_fundus as nf
from napari_fundus.gui import add_detections
from napari_fundus.gui.layers import box_layer as boxes
from napari_fundus.gui.layers.box_layer import features_of
from napari_fundus.gui.layers.build import (
    add_layers,
    centre_layer,
    detection_layers,
    image_layer,
    label_colormap,
    truth_layers,
)
from napari_fundus.gui.layers.placement import transformed_placement
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY


def result(**changes) -> Detections:
    values = np.zeros((70, 80), np.float32)
    values[5:9, 5:9] = 0.9
    values[20:30, 40:41] = 0.6
    ran = Provenance(
        detector="d",
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=(70, 80),
    )
    fields = {"probability": {"MA": values}, "thresholds": {"MA": 0.5}, **changes}
    return Detections(ran, **fields)


def kinds(tuples):
    return [(kind, meta["metadata"][METADATA_KEY].kind) for _, meta, kind in tuples]


def test_each_tuple_makes_a_layer():
    for data, meta, kind in detection_layers(result(has_boxes=True)):
        assert Layer.create(data, meta, kind).name.startswith("eye d: MA")


def test_where_a_classifier_looked_can_be_seen_through_and_so_can_its_regions():
    heat = {"DR": np.linspace(0, 1, 5600, dtype=np.float32).reshape(70, 80)}
    tuples = detection_layers(result(probability=heat, thresholds={"DR": 0.5}, heatmap=heat))
    assert kinds(tuples) == [("image", "heatmap"), ("image", "probability"), ("labels", "labels")]
    shown = add_layers(ViewerModel(), tuples)
    assert [layer.visible for layer in shown] == [True, False, True]
    assert shown[0].blending == "translucent"
    assert shown[0].colormap.map(np.array([0.0, 1.0]))[:, 3].tolist() == [0, 1]
    assert shown[2].opacity < 0.3
    assert shown[2].name == "eye d: regions that speak for DR"


def test_lesions_are_filled_where_a_class_has_a_name_of_its_own():
    heat = {"HE": np.full((70, 80), 0.5, np.float32)}
    assert add_layers(ViewerModel(), detection_layers(result(heatmap=heat)))[-1].opacity > 0.5


def test_a_result_without_any_class_gives_no_layer():
    assert detection_layers(result(probability={}, thresholds={})) == []


def test_an_unknown_class_gets_a_layer_of_its_own():
    found = result()
    tuples = detection_layers(
        result(probability={"drusen": found.probability["MA"]}, thresholds={"drusen": 0.5})
    )
    assert tuples[-1][1]["name"] == "eye d: drusen"


@pytest.mark.parametrize(("code", "width"), [("MA", 2), ("DR", 7.5)])
def test_boxes_of_regions_are_seen_in_a_picture_of_the_whole_retina(code, width):
    table = result().instances.assign(lesion=code)
    _, meta, _ = boxes.box_layer(table, np.zeros((2000, 3000), np.uint16), code, {"name": "eye"})
    assert meta["edge_width"] == width


def test_a_class_of_which_nothing_is_found_has_no_layer_of_boxes():
    found = result(thresholds={"MA": 1.0}, has_boxes=True)
    assert kinds(detection_layers(found)) == [("image", "probability"), ("labels", "labels")]


def test_the_vessels_of_the_optic_disc_are_seen_through_it():
    disc = {"OD": np.ones((70, 80), np.float32)}
    found = result(probability=disc, thresholds={"OD": 0.5})
    mask = truth_layers({"OD": np.ones((70, 80), bool)})
    (_, labels), (truth,) = (
        add_layers(ViewerModel(), one) for one in (detection_layers(found), mask)
    )
    assert labels.opacity < 0.3
    assert truth.opacity < 0.3
    assert labels.contour == truth.contour == 0, "napari takes seconds for them"


@pytest.mark.parametrize(("limit", "kind"), [(2, Shapes), (1, Vectors)])
def test_many_boxes_become_outlines(monkeypatch, limit, kind):
    monkeypatch.setattr(boxes, "MAX_BOXES", limit)
    data, meta, name = detection_layers(result(has_boxes=True))[-1]
    layer = Layer.create(data, meta, name)
    assert isinstance(layer, kind)
    assert layer.metadata[METADATA_KEY].kind == "boxes"
    if limit == 2:
        assert list(layer.features["index"]) == [1, 2]


def test_features_map_each_label_to_its_row():
    table = features_of(result().instances)
    assert list(table["index"]) == [1, 2]
    assert list(table["area_px"]) == [16, 10]
    assert not [name for name in table if name.startswith("bbox")]


def test_every_lesion_has_the_colour_of_its_class():
    colours = label_colormap("MA").map(np.array([0, 1, 2, 500], np.uint16))
    np.testing.assert_array_equal(colours[0], 0)
    np.testing.assert_allclose(colours[1:], [[0, 0xE5 / 255, 1, 1]] * 3, atol=1e-6)


def test_truth_gives_each_lesion_a_number():
    mask = np.zeros((70, 80), np.bool_)
    mask[1:3, 1:3] = mask[3:5, 3:5] = mask[40, 40] = True
    ((labels, meta, _),) = truth_layers({"SE": mask}, name="eye")
    assert labels.max() == 2
    assert meta["name"] == "eye: SE (experts)"


def test_centres_become_points_that_know_their_structure(retina):
    image = nf.FundusImage.from_array(retina.pixels)
    data, meta, _ = centre_layer({"OD": (3.0, 4.0), "FOVEA": (5.0, 6.0)}, image)
    np.testing.assert_array_equal(data, [[3, 4], [5, 6]])
    assert list(meta["features"]["structure"]) == ["optic disc", "fovea"]


def test_a_photograph_s_layer_remembers_its_file():
    path = nf.sample_image_path()
    data, meta, _ = image_layer(nf.read_image(path))
    assert meta["rgb"]
    assert meta["metadata"][METADATA_KEY].path == str(path)
    assert data.dtype == np.uint8


def test_a_part_of_a_turned_and_sheared_picture_lies_where_it_was_cut():
    whole = {"scale": (2, 3), "translate": (5, 7), "rotate": np.eye(2), "shear": [0.4]}
    angle = 0.3
    whole["rotate"] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = Layer.create(np.zeros((70, 80)), whole, "image")
    part = Layer.create(
        np.zeros((20, 20)), transformed_placement(whole, (0.5, 2), (10, 20)), "image"
    )
    for point in ((0, 0), (4, 9), (-3, 5)):
        inside = np.array((10, 20)) + np.array((0.5, 2)) * point
        np.testing.assert_allclose(part.data_to_world(point), image.data_to_world(inside))


def test_results_can_be_added_without_any_window():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((70, 80, 3), np.uint8), name="left", scale=(4, 4))
    added = add_detections(viewer, result(), image)
    assert [layer.name for layer in added] == ["left d: MA map", "left d: MA"]
    np.testing.assert_array_equal(added[1].scale, (4, 4))
    pd.testing.assert_series_equal(
        added[1].features["index"], result().instances["id"], check_names=False
    )
