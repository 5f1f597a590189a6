"""Two results on one image: agreement in colours, a table that leads to lesions, side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation import compare
from napari_fundus.gui import add_detections
from napari_fundus.gui.compare import CompareWidget
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.build import add_layers, image_layer, truth_layers
from napari_fundus.gui.layers.napari_compat import get_camera
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import layer_metadata

pytestmark = pytest.mark.gui


def guess(retina, detector, *, seed, codes=("MA", "EX")) -> Detections:
    """Return a result that finds some lesions, and one spot of its own."""
    rng = np.random.default_rng(seed)
    maps = {}
    for code in codes:
        values = np.where(retina.masks[code], 0.4 + 0.5 * rng.random(retina.disc.shape), 0)
        values[30 + 20 * seed : 34 + 20 * seed, 150:154] = 0.7
        maps[code] = values.astype(np.float32)
    told = Provenance(
        detector=detector,
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=retina.disc.shape,
        options={"threshold": 0.5},
    )
    return Detections(told, maps, dict.fromkeys(maps, 0.5))


@pytest.fixture
def scene(qtbot, retina, wait):
    """A viewer with photograph, truth and two results, and the widget, ready."""
    viewer = ViewerModel()
    image = FundusImage.from_array(retina.pixels, name="eye")
    (photograph,) = add_layers(viewer, [image_layer(image)])
    add_layers(viewer, truth_layers(retina.masks, name="eye"))
    results = guess(retina, "one", seed=0), guess(retina, "two", seed=1, codes=("MA", "EX", "HE"))
    layers = [add_detections(viewer, result, photograph) for result in results]
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.agreement is not None and not widget.busy)
    yield viewer, widget, results, layers
    widget.shutdown()


def test_the_two_results_there_are_compared_at_once(scene, retina):
    _, widget, results, _ = scene
    plain = compare(*results, truth=retina.masks)
    assert widget.agreement.titles == ("one", "two")
    np.testing.assert_array_equal(widget.table["where"], plain.lesions["where"])
    for name in ("A", "B"):
        assert widget.agreement.against_truth[name].metrics.equals(
            plain.against_truth[name].metrics
        )


def test_counts_differences_and_figures_fit_a_narrow_dock(scene):
    _, widget, _, _ = scene
    text = widget.summary.text()
    for word in ("only A", "Δ score", "Against the truth", "AUPR"):
        assert word in text
    assert widget.body.minimumSizeHint().width() <= 340


def test_colours_tell_whose_pixels_they_are(scene):
    _, widget, (one, two), _ = scene
    (layer,) = widget.layers
    in_a, in_b = ((r.labels["MA"] > 0) | (r.labels["EX"] > 0) for r in (one, two))
    np.testing.assert_array_equal(layer.data > 0, in_a | in_b)
    assert (layer.data[30:34, 150:154] == 2).all()
    assert (layer.data[50:54, 150:154] == 3).all()
    assert (layer.data == 1).sum() == (in_a & in_b).sum()


def test_rows_lead_to_the_lesion(scene):
    viewer, widget, _, _ = scene
    widget.where_box.setCurrentText("only in B")
    widget.class_box.setCurrentIndex(widget.class_box.findData("MA"))
    frame = widget.list.frame
    assert (frame["where"] == "only B").all()
    place = int(np.flatnonzero(np.isclose(frame["centroid_row"], 51.5))[0])
    widget.list.choose(place)
    np.testing.assert_allclose(get_camera(viewer).center[-2:], (51.5, 151.5))


def test_it_follows_sliders_and_brushes(qtbot, scene, wait):
    viewer, widget, (one, two), layers = scene
    panel = ResultsPanel(viewer, layer_metadata(layers[0][0]).live, layers[0])
    qtbot.addWidget(panel)
    widget._begin()
    panel.rows["EX"].slider.setValue(800)
    wait(lambda: not widget.busy and not panel.busy and widget.agreement is not None)
    now = one.threshold({"EX": 0.8})
    wait(lambda: widget.table["where"].tolist() == compare(now, two).lesions["where"].tolist())
    (labels,) = [x for x in layers[0] if x.name.endswith(": MA")]
    before = len(widget.table)
    labels.data_setitem((np.array([120]), np.array([10])), 999)
    wait(lambda: len(widget.table) == before + 1)
    panel.shutdown()


def test_side_by_side_shows_one_result_in_each_half_and_puts_all_back(scene, wait):
    viewer, widget, _, layers = scene
    names = [layer.name for layer in viewer.layers]
    seen = [layer.visible for layer in viewer.layers]
    widget.show_side_by_side(True)
    wait(lambda: not widget.busy)
    grid = viewer.canvas.grid
    assert grid.enabled
    halves = [
        {
            layer
            for i, layer in enumerate(viewer.layers)
            if grid.position(i, viewer.layers) == (0, col)
        }
        for col in (0, 1)
    ]
    labels = [{x for x in mine if layer_metadata(x).kind == "labels"} for mine in layers]
    for half, own, other in zip(halves, labels, labels[::-1], strict=True):
        assert own <= half
        assert not other & half
        assert sum(layer.name.startswith("eye") and layer.ndim == 2 for layer in half) == len(half)
    assert viewer.layers["eye"] in halves[0]
    assert viewer.layers["eye (B)"] in halves[1]
    widget.show_side_by_side(False)
    wait(lambda: not widget.busy)
    assert not grid.enabled
    assert [layer.name for layer in viewer.layers] == names
    assert [layer.visible for layer in viewer.layers] == seen


def test_side_by_side_may_be_taken_back_before_all_is_in_place(scene, wait):
    viewer, widget, _, _ = scene
    names = [layer.name for layer in viewer.layers]
    seen = [layer.visible for layer in viewer.layers]
    widget.show_side_by_side(True)
    assert widget.busy
    assert len(viewer.layers) > len(names)
    widget.show_side_by_side(False)
    wait(lambda: not widget.busy)
    assert not viewer.canvas.grid.enabled
    assert not widget.side_button.isChecked()
    assert [layer.name for layer in viewer.layers] == names
    assert [layer.visible for layer in viewer.layers] == seen


def test_one_result_is_not_compared_with_itself(qtbot, retina):
    viewer = ViewerModel()
    layers = add_detections(viewer, guess(retina, "one", seed=0))
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    assert "twice" in widget.message.text()
    assert widget.table.empty
    with pytest.raises(OptionsError, match="result"):
        widget.choose(layers[0], viewer.add_labels(np.zeros((5, 5), int)))
    widget.shutdown()


def test_choosing_turns_a_and_b_round(scene, wait):
    _, widget, _, (first, second) = scene
    widget.choose(second[0], first[0])
    wait(lambda: not widget.busy and widget.agreement is not None)
    assert widget.agreement.titles == ("two", "one")
    assert widget.layers[0].data[30, 150] == 3


def test_the_colours_go_when_a_result_does(scene, wait):
    viewer, widget, _, (first, _) = scene
    for layer in first:
        viewer.layers.remove(layer)
    wait(lambda: not widget.layers)
    assert widget.agreement is None


@pytest.fixture
def two_patients(qtbot, draw, request):
    """A viewer with two photographs of one size and results of each, and the widget."""
    viewer = ViewerModel()
    layers = []
    for seed, name in enumerate(("anna", "bert")):
        retina = draw(seed=seed)
        image = FundusImage.from_array(retina.pixels, name=name)
        (photograph,) = add_layers(viewer, [image_layer(image)])
        masks = truth_layers(retina.masks, name=name, identity=image.identity)
        add_layers(viewer, masks)
        for number, detector in enumerate(request.param):
            found = guess(retina, detector, seed=number)
            known = {"image_name": name, "image_sha256": image.sha256}
            known["image_perceptual"] = image.identity.perceptual
            told = found.provenance.model_copy(update=known)
            found = replace(found, provenance=told)
            layers.append(add_detections(viewer, found, photograph))
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    yield viewer, widget, layers
    widget.shutdown()


@pytest.mark.parametrize("two_patients", [("one",)], indirect=True)
def test_results_of_two_photographs_are_refused_with_both_names(two_patients, wait):
    _, widget, _ = two_patients
    wait(lambda: not widget.busy)
    assert widget.agreement is None
    for words in ("different photographs", "A of 'anna'", "B of 'bert'"):
        assert words in widget.message.text()


@pytest.mark.parametrize("two_patients", [("one", "two")], indirect=True)
def test_the_other_result_and_the_truth_follow_the_photograph(two_patients, wait):
    viewer, widget, layers = two_patients
    wait(lambda: widget.agreement is not None and not widget.busy)
    for result, name in ((layers[0], "anna"), (layers[3], "bert")):
        assert widget.b_box.choose(result)
        assert name in widget.a_box.choice().title
        assert widget.truth_box.choice().title.endswith(name)
        assert widget.message.text() == ""
        wait(lambda: widget.agreement is not None and not widget.busy)
    widget.show_side_by_side(True)
    wait(lambda: not widget.busy)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert "bert" in shown
    assert "bert (B)" in shown
    assert not any("anna" in name for name in shown)
    widget.show_side_by_side(False)
    wait(lambda: not widget.busy)
