"""A result over the truth: colours, figures, curves follow the thresholds and lead to lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation import assess
from napari_fundus.gui import add_detections
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.evaluate import EvaluateWidget
from napari_fundus.gui.evaluate.error_map import AGREEMENT_CATEGORIES, ERROR_CATEGORIES
from napari_fundus.gui.evaluate.layer_groups import list_results, list_truths
from napari_fundus.gui.layers.build import add_layers, detection_layers, image_layer, truth_layers
from napari_fundus.gui.layers.napari_compat import get_camera
from napari_fundus.gui.layers.update import update_layer
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata

pytestmark = pytest.mark.gui


@pytest.fixture
def found(retina) -> Detections:
    """A noisy guess at the truth, with a false spot in each class."""
    rng = np.random.default_rng(0)
    maps = {}
    for code, mask in retina.masks.items():
        values = np.where(mask, 0.45 + 0.5 * rng.random(mask.shape), 0).astype(np.float32)
        values[20:24, 100:104] = 0.6
        maps[code] = values
    told = Provenance(
        detector="guess",
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=retina.disc.shape,
        options={"threshold": 0.5},
    )
    return Detections(told, maps, dict.fromkeys(maps, 0.5))


@pytest.fixture
def scene(qtbot, retina, found, wait):
    """A viewer with photograph, truth and result, and the widget, ready."""
    viewer = ViewerModel()
    image = FundusImage.from_array(retina.pixels, name="eye")
    (photograph,) = add_layers(viewer, [image_layer(image)])
    truth = add_layers(viewer, truth_layers(retina.masks, name="eye"))
    layers = add_detections(viewer, found, photograph)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.assessment is not None and not widget.busy)
    yield viewer, widget, layers, truth
    widget.shutdown()


def expected_colours(found, masks):
    """Return values 1 (right), 2 (made up) and 3 (missed); wrong hides right."""
    values = np.zeros(found.shape, np.uint8)
    parts = [(found.labels[code] > 0, masks[code]) for code in masks]
    for number, pick in (
        (1, lambda p, t: p & t),
        (2, lambda p, t: p & ~t),
        (3, lambda p, t: ~p & t),
    ):
        for predicted, true in parts:
            values[pick(predicted, true)] = number
    return values


def test_the_only_result_and_truth_are_evaluated_at_once(scene, found, retina):
    _, widget, _, _ = scene
    plain = assess(found, retina.masks)
    np.testing.assert_array_equal(widget.assessment.metrics, plain.metrics)
    (layer,) = widget.layers
    np.testing.assert_array_equal(layer.data, expected_colours(found, retina.masks))


def test_what_lies_beneath_the_colours_is_hidden_as_long_as_they_are_seen(scene):
    viewer, widget, layers, truth = scene
    (colours,) = widget.layers
    beneath = [*truth, *(x for x in layers if x.metadata[METADATA_KEY].kind == "labels")]
    assert not any(layer.visible for layer in beneath)
    colours.visible = False
    assert all(layer.visible for layer in beneath)
    colours.visible = True
    assert not any(layer.visible for layer in beneath)
    later = viewer.add_labels(np.zeros(colours.data.shape, int), name="MA of mine")
    widget.shutdown()
    assert all(layer.visible for layer in (*beneath, later))
    assert not any(layer is colours for layer in viewer.layers)


def test_what_lies_beneath_is_seen_again_once_the_colours_are_thrown_away(scene):
    viewer, widget, _, truth = scene
    viewer.layers.remove(widget.layers[0])
    assert all(layer.visible for layer in truth)


def test_another_result_is_coloured_in_the_same_layer(scene, found, retina, wait):
    viewer, widget, _, truth = scene
    (colours,) = widget.layers
    better = found.threshold({"EX": 0.7, "MA": 0.6, "HE": 0.8})
    second = add_detections(viewer, better, viewer.layers["eye"])
    widget.choose(second, truth)
    assert not colours.visible
    assert not colours.data.any()
    wait(lambda: widget.assessment is not None and not widget.busy)
    assert len(widget.layers) == 1
    assert widget.layers[0] is colours
    assert colours.visible
    np.testing.assert_array_equal(colours.data, expected_colours(better, retina.masks))


def test_a_layer_that_comes_to_show_another_result_is_judged_anew(scene, found, retina, wait):
    _, widget, layers, _ = scene
    other = found.threshold({"EX": 0.7})
    told = other.provenance.model_copy(update={"created": "2030-01-01T00:00:00+00:00"})
    other = replace(other, provenance=told)
    for layer, one in zip(layers, detection_layers(other), strict=True):
        update_layer(layer, one)
        layer.metadata = one[1]["metadata"]
    wait(lambda: widget.assessment is not None and widget.assessment.thresholds["EX"] == 0.7)
    np.testing.assert_array_equal(widget.layers[0].data, expected_colours(other, retina.masks))


def test_colours_and_figures_follow_the_threshold(scene, found, retina, wait):
    _, widget, _, _ = scene
    widget.select("EX")
    widget.set_threshold(0.75)
    wait(lambda: not widget.busy)
    now = found.threshold({"EX": 0.75})
    np.testing.assert_array_equal(widget.assessment.metrics, assess(now, retina.masks).metrics)
    np.testing.assert_array_equal(widget.layers[0].data, expected_colours(now, retina.masks))
    assert widget.assessment.thresholds["EX"] == 0.75


def test_the_results_panel_s_slider_is_followed_and_led(qtbot, retina, found, wait):
    viewer = ViewerModel()
    add_layers(viewer, truth_layers(retina.masks, name="eye"))
    layers = add_detections(viewer, found)
    panel = ResultsPanel(viewer, layer_metadata(layers[0]).live, layers)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(panel)
    qtbot.addWidget(widget)
    wait(lambda: widget.assessment is not None and not widget.busy)
    panel.rows["HE"].slider.setValue(800)
    wait(lambda: widget.assessment.thresholds["HE"] == 0.8 and not widget.busy)
    now = found.threshold({"HE": 0.8})
    np.testing.assert_array_equal(widget.layers[0].data, expected_colours(now, retina.masks))
    widget.set_threshold(0.7, "MA")
    wait(lambda: widget.assessment.thresholds["MA"] == 0.7 and not widget.busy)
    assert panel.rows["MA"].spin.value() == 0.7
    assert panel.live.settings.thresholds == {**found.thresholds, "HE": 0.8, "MA": 0.7}
    panel.shutdown()
    widget.shutdown()


def test_without_a_results_panel_the_labels_follow_all_the_same(scene, found, wait):
    _, widget, layers, _ = scene
    widget.set_threshold(0.8, "EX")
    wait(lambda: not widget.busy)
    (labels,) = [x for x in layers if x.name.endswith(": EX")]
    np.testing.assert_array_equal(labels.data > 0, found.threshold({"EX": 0.8}).labels["EX"] > 0)


def test_what_was_painted_counts_and_its_slider_rests(scene, found, retina, wait):
    _, widget, layers, _ = scene
    (labels,) = [x for x in layers if x.name.endswith(": HE")]
    missing = np.nonzero(retina.masks["HE"] & (found.labels["HE"] == 0))
    false = np.nonzero((found.labels["HE"] > 0) & ~retina.masks["HE"])
    labels.data_setitem(missing, 1)
    labels.data_setitem(false, 0)
    wait(lambda: widget.assessment.row("HE")["dice"] == 1 and not widget.busy)
    widget.select("HE")
    assert not widget.view.slider.isEnabled()


def test_a_changed_truth_is_read_again(scene, wait):
    _, widget, _, truth = scene
    (layer,) = [x for x in truth if x.name == "eye: EX (experts)"]
    before = widget.assessment.row("EX")
    layer.data_setitem(np.nonzero(np.ones_like(layer.data[20:24, 100:104])), 0)
    layer.data_setitem((np.arange(20, 24), np.arange(100, 104)), 50)
    wait(
        lambda: widget.assessment.row("EX")["lesions"] == before["lesions"] + 1 and not widget.busy
    )
    assert widget.assessment.row("EX")["false_positives"] == before["false_positives"] - 1


def test_each_class_may_have_a_layer_of_its_own(scene, found, retina, wait):
    _, widget, _, _ = scene
    widget.view.colours.setCurrentIndex(1)
    wait(lambda: not widget.busy)
    assert {layer.name for layer in widget.layers} == {f"outcome: {code}" for code in retina.masks}
    for layer in widget.layers:
        code = layer.name[-2:]
        wanted = expected_colours(found, {code: retina.masks[code]})
        np.testing.assert_array_equal(layer.data, wanted)
    widget.view.colours.setCurrentIndex(0)
    wait(lambda: not widget.busy)
    assert len(widget.layers) == 1


def test_colours_chosen_anew_while_layers_come_leave_nothing_out(scene, wait):
    _, widget, layers, _ = scene
    seen = []
    for layer in layers:
        layer.events.visible.connect(lambda event: seen.append(event.source.visible))
    told = []
    widget.updated.connect(lambda: told.append(widget.assessment))
    widget.view.colours.setCurrentIndex(1)
    assert widget.busy
    widget.view.colours.setCurrentIndex(0)
    wait(lambda: not widget.busy)
    assert told
    assert [layer.name for layer in widget.layers] == ["outcome"]
    assert all(layer.visible for layer in widget.layers)
    widget.view.colours.setCurrentIndex(1)
    wait(lambda: not widget.busy)
    assert len(widget.layers) > 1
    assert True not in seen, "what is covered was not seen in between"


def test_rows_of_the_list_lead_to_the_lesion(scene, retina):
    viewer, widget, _, _ = scene
    widget.select("MA")
    frame = widget.view.list.frame
    (place,) = np.flatnonzero(frame["outcome"] == "false positive")
    widget.go_to(int(place))
    np.testing.assert_allclose(get_camera(viewer).center[-2:], (21.5, 101.5))
    assert get_camera(viewer).zoom == pytest.approx(min(viewer.canvas.size) / 160)


def test_the_list_leads_to_the_right_place_of_a_scaled_picture(qtbot, retina, found, wait):
    viewer = ViewerModel()
    photograph = viewer.add_image(retina.pixels, scale=(0.5, 0.5), translate=(10, 20))
    add_detections(viewer, found, photograph)
    add_layers(viewer, truth_layers(retina.masks, name="eye"))
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.assessment is not None and not widget.busy)
    widget.view.listed.setCurrentText("false positives")
    widget.go_to(0)
    np.testing.assert_allclose(get_camera(viewer).center[-2:], (10 + 21.5 / 2, 20 + 101.5 / 2))
    np.testing.assert_allclose(widget.layers[0].scale, (0.5, 0.5))
    widget.shutdown()


def test_a_click_in_the_picture_chooses_the_row(scene, retina):
    viewer, widget, _, _ = scene
    widget.select("EX")
    (layer,) = widget.layers
    (click,) = layer.mouse_drag_callbacks[-1:]

    class Event:
        type = "mouse_press"
        position = (22.0, 102.0)

    steps = click(layer, Event)
    next(steps)
    Event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(steps)
    assert widget.view.list.currentIndex().row() == 0
    assert widget.view.list.frame.iloc[0]["outcome"] == "false positive"
    np.testing.assert_allclose(get_camera(viewer).center[-2:], (21.5, 101.5))


def test_curves_of_the_image_are_drawn_with_the_operating_point(scene, retina, wait):
    _, widget, _, _ = scene
    assert {("froc", "EX"), ("pr", "MA")} <= widget.curves.keys()
    widget.select("EX")
    row = widget.assessment.row("EX")
    points = {
        kind: np.ravel(plot.operating_point.getData()) for kind, plot in widget.view.plots.items()
    }
    assert points["froc"] == pytest.approx(
        (np.log2(max(row["false_positives"], 0.5)), row["sensitivity"])
    )
    assert points["pr"] == pytest.approx((row["pixel_sensitivity"], row["pixel_precision"]))


def test_a_point_of_a_curve_sets_the_threshold(scene, wait):
    _, widget, _, _ = scene
    widget.select("EX")
    curve = widget.curves["pr", "EX"]
    place = len(curve.x) // 2
    widget.view.plots["pr"].pick(curve.x[place], curve.y[place])
    wait(lambda: not widget.busy)
    assert widget.assessment.thresholds["EX"] == curve.thresholds[place]
    row = widget.assessment.row("EX")
    assert row["pixel_sensitivity"] == pytest.approx(curve.x[place])
    assert row["pixel_precision"] == pytest.approx(curve.y[place])


def test_labels_without_maps_are_judged_as_they_are(qtbot, retina, found, wait):
    viewer = ViewerModel()
    add_layers(viewer, truth_layers(retina.masks, name="eye"))
    for layer in add_detections(viewer, found):
        if layer.name.endswith(" map"):
            viewer.layers.remove(layer)
        else:
            layer.metadata[METADATA_KEY] = replace(layer_metadata(layer), live=None)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.assessment is not None and not widget.busy)
    plain = assess(found, retina.masks)
    for name in ("found", "false_positives", "dice"):
        assert widget.assessment.metrics[name].tolist() == plain.metrics[name].tolist()
    assert widget.assessment.metrics["aupr"].isna().all()
    assert not widget.view.slider.isEnabled()
    widget.shutdown()


def test_only_classes_of_both_are_judged(qtbot, retina, found, wait):
    viewer = ViewerModel()
    add_detections(viewer, found)
    add_layers(viewer, truth_layers({"MA": retina.masks["MA"], "SE": retina.masks["MA"]}))
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.assessment is not None and not widget.busy)
    assert widget.assessment.metrics["lesion"].tolist() == ["MA"]
    widget.shutdown()


def test_drawn_labels_named_after_a_class_are_a_truth(retina):
    viewer = ViewerModel()
    viewer.add_labels(retina.masks["MA"].astype(int), name="my microaneurysms")
    viewer.add_labels(retina.masks["EX"].astype(int), name="hard exudates")
    viewer.add_labels(retina.masks["HE"].astype(int), name="Labels")
    (choice,) = list_truths(viewer)
    assert set(choice.labels) == {"MA", "EX"}


def test_two_results_of_one_detector_are_told_apart(retina, found):
    viewer = ViewerModel()
    add_detections(viewer, found)
    later = found.provenance.model_copy(update={"seconds": 2.0})
    add_detections(viewer, Detections(later, found.probability, found.thresholds))
    titles = [choice.title for choice in list_results(viewer)]
    assert titles == ["guess · eye", "guess · eye #2"]


def test_without_result_or_truth_it_says_what_to_do(qtbot, retina, found):
    viewer = ViewerModel()
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    assert "Detect lesions" in widget.view.message.text()
    add_detections(viewer, found)
    widget.view.result_box.refresh()
    assert "No truth" in widget.view.message.text()
    small = {code: mask[:50] for code, mask in retina.masks.items()}
    add_layers(viewer, truth_layers(small))
    widget.view.truth_box.refresh()
    assert "different images" in widget.view.message.text()
    assert widget.assessment is None
    widget.shutdown()


def test_a_result_that_is_removed_takes_its_colours_along(scene, wait):
    viewer, widget, layers, _ = scene
    for layer in layers:
        viewer.layers.remove(layer)
    wait(lambda: widget.assessment is None)
    assert not widget.layers
    assert not any(layer.name.startswith("outcome") for layer in viewer.layers)


def test_choosing_layers_of_no_result_is_refused(scene):
    _, widget, layers, truth = scene
    with pytest.raises(OptionsError, match="result"):
        widget.choose(truth, truth)
    with pytest.raises(OptionsError, match="truth"):
        widget.choose(layers[0], layers)


def as_seen(colour: str, *, kind: str) -> np.ndarray:
    """Return linear RGB as people with protanopia or deuteranopia see it (Viénot et al. 1999)."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    mixed = {
        "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
        "all": np.eye(3),
    }[kind]
    return np.asarray(mixed) @ rgb**2.2


@pytest.mark.parametrize("kind", ["all", "protan", "deutan"])
@pytest.mark.parametrize("kinds", [ERROR_CATEGORIES, AGREEMENT_CATEGORIES])
def test_colours_are_told_apart_with_any_colour_vision(kind, kinds):
    seen = [as_seen(colour, kind=kind) for _, colour in kinds]
    for i, one in enumerate(seen):
        for other in seen[i + 1 :]:
            assert np.abs(one - other).max() > 0.25


def of(found: Detections, image: FundusImage) -> Detections:
    """Return a result as the detector gives it: with the hashes of its photograph."""
    known = image.identity
    told = found.provenance.model_copy(
        update={
            "image_name": known.name,
            "image_sha256": known.sha256,
            "image_perceptual": known.perceptual,
        }
    )
    return replace(found, provenance=told)


@pytest.fixture
def two_patients(qtbot, draw, found):
    """A viewer with photograph and truth of two patients, a result of the first, and the widget."""
    viewer = ViewerModel()
    images, truths = [], []
    for seed, name in enumerate(("anna", "bert")):
        retina = draw(seed=seed)
        images.append(FundusImage.from_array(retina.pixels, name=name))
        add_layers(viewer, [image_layer(images[-1])])
        masks = truth_layers(retina.masks, name=name, identity=images[-1].identity)
        truths.append(add_layers(viewer, masks))
    add_detections(viewer, of(found, images[0]), viewer.layers["anna"])
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    yield viewer, widget, images, truths
    widget.shutdown()


def test_the_truth_of_the_result_s_photograph_is_chosen(two_patients, found, wait):
    viewer, widget, images, _ = two_patients
    wait(lambda: widget.assessment is not None and not widget.busy)
    assert widget.view.truth_box.choice().title.endswith("anna")
    second = add_detections(viewer, of(found, images[1]), viewer.layers["bert"])
    assert widget.view.result_box.choose(second)
    assert widget.view.truth_box.choice().title.endswith("bert")
    wait(lambda: widget.assessment is not None and not widget.busy)
    assert layer_metadata(widget.layers[0]).identity.name == "bert"


def test_a_truth_of_another_photograph_is_refused_with_both_names(two_patients, wait):
    _, widget, _, truths = two_patients
    wait(lambda: not widget.busy)
    assert widget.view.truth_box.choose(truths[1])
    assert widget.assessment is None
    assert widget.layers == []
    for words in ("different photographs", "the result of 'anna'", "the truth of 'bert'"):
        assert words in widget.view.message.text()


def test_truths_of_two_photographs_of_one_name_stay_apart(draw):
    viewer = ViewerModel()
    for seed in range(2):
        retina = draw(seed=seed)
        image = FundusImage.from_array(retina.pixels, name="IDRiD_001")
        masks = {"MA": retina.masks["MA"]}
        add_layers(viewer, truth_layers(masks, name=image.name, identity=image.identity))
    assert len(list_truths(viewer)) == 2
    assert len({truth.title for truth in list_truths(viewer)}) == 2


def test_labels_that_tell_no_photograph_are_asked_about(two_patients, found, retina, wait):
    viewer, widget, _, truths = two_patients
    mine = viewer.add_labels(retina.masks["MA"].astype(int), name="MA of mine")
    widget.choose(next(x for x in viewer.layers if "guess" in x.name), mine)
    wait(lambda: widget.assessment is not None and not widget.busy)
    assert "Nothing tells of which photograph the truth is" in widget.view.message.text()
    assert "'anna'" in widget.view.message.text()
    assert widget.view.truth_box.choose(truths[0])
    wait(lambda: not widget.busy)
    assert widget.view.message.text() == ""
