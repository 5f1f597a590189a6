"""The widget *Detect lesions* on a viewer's model: no window is drawn, so these are quick."""

from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes

import napari_fundus as nf
from napari_fundus.gui import add_detections
from napari_fundus.gui.controls import thread_job as work
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.layers.build import add_layers, truth_layers
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.results.layer_metadata import METADATA_KEY

pytestmark = pytest.mark.gui

SPATIAL = ("scale", "translate", "rotate", "shear", "units", "axis_labels")


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def widget(viewer, discovery, qtbot, monkeypatch):
    widget = DetectWidget(viewer, discovery=discovery)
    qtbot.addWidget(widget)
    told: list[Exception] = []
    widget.told = told
    for module in ("napari_fundus.gui.controls.run_bar", "napari_fundus.gui.detect.widget"):
        monkeypatch.setattr(f"{module}.show_error", told.append)
    yield widget
    widget.shutdown()


def detect(widget, wait):
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: shown)
    return shown[0]


def kinds(layers):
    return [layer.metadata[METADATA_KEY].kind for layer in layers]


def test_a_run_gives_a_hidden_map_and_shown_labels_for_each_class(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True, name="eye")
    layers = detect(widget, wait)
    assert kinds(layers) == ["probability", "probability", "labels", "labels"]
    assert [layer.visible for layer in layers] == [False, False, True, True]
    expected = nf.Detections
    for layer in layers[2:]:
        known = layer.metadata[METADATA_KEY]
        result = known.live.detections()
        assert isinstance(result, expected)
        np.testing.assert_array_equal(layer.data, result.labels[known.lesion])
        assert known.provenance["detector"] == "fake"
        ids = layer.features["index"].to_numpy()
        np.testing.assert_array_equal(ids, np.unique(layer.data)[1:])


def test_the_status_bar_tells_of_the_lesion_under_the_cursor(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True, name="eye")
    labels = detect(widget, wait)[-1]
    row, col = np.argwhere(labels.data)[0]
    status = labels.get_status((row, col))
    assert "score" in status["value"]
    assert "area_px" in status["value"]


def test_options_and_values_of_the_form_reach_the_detector(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True)
    widget.form.set_values({"gain": 0.5, "threshold": 0.25})
    layers = detect(widget, wait)
    options = layers[0].metadata[METADATA_KEY].provenance["options"]
    assert options == {"threshold": 0.25, "min_area": 1, "gain": 0.5}


def test_the_detector_runs_in_another_thread(viewer, widget, wait, retina, fake):
    viewer.add_image(retina.pixels, rgb=True)
    detect(widget, wait)
    assert threading.get_ident() not in fake.threads


def test_cancel_acts_within_a_batch_and_changes_nothing(viewer, widget, wait, retina, fake):
    viewer.add_image(retina.pixels, rgb=True)
    fake.go.clear()
    widget.run()
    wait(lambda: widget.run_bar.running and fake.threads)
    assert not widget.run_bar.run_button.isEnabled()
    widget.run_bar.cancel()
    fake.go.set()
    wait(lambda: not widget.run_bar.running)
    assert fake.steps <= 1
    assert len(viewer.layers) == 1
    assert widget.run_bar.run_button.isEnabled()
    assert not widget.run_bar.cancel_button.isEnabled()
    assert "Cancelled" in widget.run_bar.message.text()


def test_progress_reaches_the_bar(viewer, widget, wait, retina, fake, monkeypatch):
    monkeypatch.setattr(work, "_INTERVAL", 0.0)
    viewer.add_image(retina.pixels, rgb=True)
    fake.go.clear()
    seen: list[int] = []
    widget.run_bar.progress.valueChanged.connect(seen.append)
    widget.run()
    wait(lambda: fake.threads)
    fake.go.set()
    wait(lambda: not widget.run_bar.running)
    assert max(seen) > 0


def test_results_land_on_the_layer_they_came_from_whatever_happens_to_it(
    viewer, widget, wait, retina, fake
):
    source = viewer.add_image(retina.pixels, rgb=True, name="left", scale=(2, 2))
    fake.go.clear()
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: fake.threads)
    other = viewer.add_image(retina.pixels[::-1], rgb=True, name="right")
    viewer.layers.selection.active = other
    source.name = "renamed"
    fake.go.set()
    wait(lambda: shown)
    assert all(layer.name.startswith("renamed fake: ") for layer in shown[0])
    assert all(layer.metadata[METADATA_KEY].source is source for layer in shown[0])
    np.testing.assert_array_equal(shown[0][0].scale, (2, 2))
    assert viewer.layers.selection.active is other


def test_results_come_even_if_the_layer_was_deleted(viewer, widget, wait, retina, fake):
    source = viewer.add_image(retina.pixels, rgb=True, name="eye", translate=(5, 7))
    fake.go.clear()
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: fake.threads)
    viewer.layers.remove(source)
    fake.go.set()
    wait(lambda: shown)
    assert [layer.name for layer in shown[0]][-1] == "eye fake: MA"
    np.testing.assert_array_equal(shown[0][0].translate, (5, 7))


def test_all_that_places_the_source_places_the_results(viewer, widget, wait, retina):
    affine = np.array([[1, 0.1, 3], [-0.1, 1, 4], [0, 0, 1]])
    source = viewer.add_image(
        retina.pixels,
        rgb=True,
        scale=(0.5, 0.25),
        translate=(3, -2),
        rotate=20,
        shear=[0.3],
        affine=affine,
        units=("mm", "mm"),
        axis_labels=("y", "x"),
    )
    for layer in detect(widget, wait):
        for attribute in SPATIAL:
            np.testing.assert_array_equal(getattr(layer, attribute), getattr(source, attribute))
        np.testing.assert_allclose(layer.data_to_world((10, 20)), source.data_to_world((10, 20)))


@pytest.mark.parametrize(
    "kind", ["rgb", "rgba", "grey", "float", "uint16", "multiscale", "dask", "dask multiscale"]
)
def test_layers_of_every_kind_give_the_result_of_the_array(viewer, widget, wait, retina, kind):
    rgb = retina.pixels
    plain = rgb
    if kind == "rgba":
        data = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    elif kind == "grey":
        data = plain = rgb[..., 1]
    elif kind == "float":
        data = rgb.astype(np.float32) / 255
    elif kind == "uint16":
        data = plain = rgb.astype(np.uint16) << 8
    elif kind == "multiscale":
        data = [rgb, rgb[::2, ::2]]
    elif kind == "dask":
        data = da.from_array(rgb, chunks=(64, 64, 3))
    elif kind == "dask multiscale":
        data = [da.from_array(rgb), da.from_array(rgb[::2, ::2])]
    else:
        data = rgb
    viewer.add_image(data, rgb=kind != "grey", multiscale="multiscale" in kind)
    layers = detect(widget, wait)
    expected = widget._found.detectors["fake"].detect(nf.FundusImage.from_array(plain))
    for layer in layers[2:]:
        code = layer.metadata[METADATA_KEY].lesion
        np.testing.assert_array_equal(layer.data, expected.labels[code])


def test_channels_as_slices_are_refused_with_advice(viewer, widget, retina):
    viewer.add_image(retina.pixels, rgb=False)
    widget.run()
    assert "rgb=True" in str(widget.told[0])


def test_an_error_is_told_and_leaves_the_widget_ready(viewer, widget, wait, retina, fake, no_disc):
    fake.error = no_disc
    viewer.add_image(retina.pixels, rgb=True)
    widget.run()
    wait(lambda: widget.told)
    assert widget.told == [no_disc]
    assert "Choose a fundus photograph" in widget.run_bar.message.text()
    assert widget.run_bar.run_button.isEnabled()
    fake.error = None
    assert detect(widget, wait)


def test_a_stranger_s_crash_is_told_too(viewer, widget, wait, retina, fake):
    fake.error = ZeroDivisionError("in a plugin")
    viewer.add_image(retina.pixels, rgb=True)
    widget.run()
    wait(lambda: widget.told)
    assert isinstance(widget.told[0], ZeroDivisionError)
    assert len(viewer.layers) == 1


def test_no_lesion_is_said_and_still_gives_layers(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True)
    widget.form.set_values({"threshold": 1.0})
    layers = detect(widget, wait)
    assert kinds(layers)[2:] == ["labels", "labels"]
    assert not layers[2].data.any()
    assert "No lesion" in widget.results.headline.text()


def test_boxes_come_where_the_method_gives_boxes(viewer, widget, wait, retina, fake):
    fake.boxes = True
    viewer.add_image(retina.pixels, rgb=True)
    layers = detect(widget, wait)
    boxes = [layer for layer in layers if isinstance(layer, Shapes)]
    table = widget.results.live.detections().instances
    assert [len(layer.data) for layer in boxes] == [(table.lesion == c).sum() for c in ("EX", "MA")]
    row = table[table.lesion == "EX"].iloc[0]
    np.testing.assert_array_equal(
        boxes[0].data[0][0], (row.bbox_row_start - 0.5, row.bbox_col_start - 0.5)
    )


def test_a_second_run_shows_in_the_first_one_s_layers(viewer, widget, wait, retina, fake):
    fake.boxes = True
    viewer.add_image(retina.pixels, rgb=True)
    first = detect(widget, wait)
    first[2].opacity = 0.3
    panel = widget.results
    order = list(viewer.layers)
    widget.form.set_values({"gain": 0.95})
    second = detect(widget, wait)
    assert list(map(id, second)) == list(map(id, first))
    assert list(map(id, viewer.layers)) == list(map(id, order))
    assert second[2].opacity == 0.3
    result = widget.results.live.detections()
    for layer in second:
        known = layer.metadata[METADATA_KEY]
        assert known.live.detections().provenance == result.provenance
        assert known.provenance["options"]["gain"] == 0.95
    for layer, code in zip(second[2:4], result.lesions, strict=True):
        np.testing.assert_array_equal(layer.data, result.labels[code])
        mine = result.instances[result.instances["lesion"] == code]
        assert layer.features["index"].tolist() == mine["id"].tolist()
    second[2].paint((5, 5), 77)
    assert widget.results.live.edited
    assert not panel.live.edited


def test_a_second_run_leaves_what_was_painted_on(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True)
    first = detect(widget, wait)
    painted = next(layer for layer in first if isinstance(layer, Labels))
    painted.paint((5, 5), 77)
    drawn = painted.data.copy()
    second = detect(widget, wait)
    assert not any(layer is painted for layer in second)
    np.testing.assert_array_equal(painted.data, drawn)
    assert len(viewer.layers) == 1 + len(second) + 1


def test_a_second_run_adds_anew_what_lay_elsewhere_or_is_gone(viewer, widget, wait, retina):
    viewer.add_image(retina.pixels, rgb=True)
    first = detect(widget, wait)
    first[2].translate = (3, 3)
    viewer.layers.remove(first[3])
    second = detect(widget, wait)
    assert [new is old for new, old in zip(second, first, strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    assert len(viewer.layers) == 1 + len(second)
    np.testing.assert_array_equal(second[2].translate, (0, 0))


def test_what_else_has_the_same_colours_is_hidden(viewer, widget, wait, retina):
    source = viewer.add_image(retina.pixels, rgb=True, name="eye")
    truth = add_layers(viewer, truth_layers(retina.masks, name="eye"))
    elsewhere = add_layers(viewer, truth_layers({"MA": np.ones((9, 9), bool)}, name="other"))
    other = add_detections(viewer, nf.detect(source, "tophat", working_diameter=300), source)
    viewer.layers.selection.active = source
    layers = detect(widget, wait)
    assert [layer.visible for layer in layers] == [False, False, True, True]
    assert not any(layer.visible for layer in (*truth, *other))
    assert all(layer.visible for layer in (source, *elsewhere))


def test_closing_the_widget_mid_run_cancels_in_silence(
    viewer, discovery, wait, retina, fake, qtbot
):
    widget = DetectWidget(viewer, discovery=discovery)
    qtbot.addWidget(widget)
    viewer.add_image(retina.pixels, rgb=True)
    fake.go.clear()
    widget.run()
    wait(lambda: fake.threads)
    job = widget.run_bar.job
    widget.close()
    fake.go.set()
    wait(lambda: job.monitor.cancelled and not job._worker.is_running)
    assert len(viewer.layers) == 1


def test_quitting_napari_cancels_what_runs(viewer, widget, wait, retina, fake, qapp):
    viewer.add_image(retina.pixels, rgb=True)
    fake.go.clear()
    widget.run()
    wait(lambda: fake.threads)
    job = widget.run_bar.job
    qapp.aboutToQuit.emit()
    assert job.monitor.cancelled
    fake.go.set()


def test_the_gpu_s_memory_is_given_back_even_after_an_error(
    viewer, widget, wait, retina, fake, no_disc, monkeypatch
):
    released: list = []
    monkeypatch.setattr("napari_fundus.gui.detect.widget.release_memory", released.append)
    viewer.add_image(retina.pixels, rgb=True)
    detect(widget, wait)
    fake.error = no_disc
    widget.run()
    wait(lambda: widget.told)
    assert released == ["cpu", "cpu"]


def test_the_choice_follows_layers_names_and_selection(viewer, widget, retina):
    assert widget.layer_choice.layer() is None
    a = viewer.add_image(retina.pixels, rgb=True, name="a")
    b = viewer.add_image(retina.pixels, rgb=True, name="b")
    viewer.add_labels(np.zeros((9, 9), int))
    assert widget.layer_choice.layer() is b
    viewer.layers.selection.active = a
    assert widget.layer_choice.layer() is a
    a.name = "c"
    assert widget.layer_choice.current_choice == "c"
    viewer.layers.remove(a)
    assert widget.layer_choice.layer() is b


def test_maps_of_a_result_are_not_offered_as_photographs(viewer, widget, wait, retina):
    source = viewer.add_image(retina.pixels, rgb=True)
    layers = detect(widget, wait)
    viewer.layers.selection.active = next(x for x in layers if isinstance(x, Image))
    assert len(widget.layer_choice) == 1
    assert widget.layer_choice.layer() is source


def test_without_an_image_the_widget_says_what_to_do(widget):
    widget.run()
    assert "Open a fundus photograph" in widget.run_bar.message.text()


def test_the_method_is_described_and_broken_plugins_are_listed(widget):
    assert "The green plane." in widget.about.text()
    assert "https://doi.org/10.1000/fake" in widget.about.text()
    assert not widget.problems_button.isHidden()
    assert "no module named 'missing'" in widget.problems_button.toolTip()


def test_a_reader_s_image_that_was_changed_is_no_longer_taken_for_its_file(viewer, widget, wait):
    path = nf.sample_image_path()
    pixels = nf.read_image(path).pixels.copy()
    pixels[0, 0] = 1
    known = {"kind": "photograph", "path": str(path)}
    viewer.add_image(pixels, rgb=True, metadata={METADATA_KEY: known})
    layers = detect(widget, wait)
    assert layers[0].metadata[METADATA_KEY].provenance["image_path"] is None


def test_placement_of_a_stack_keeps_its_last_two_axes():
    layer = Image(np.zeros((2, 80, 90)), scale=(9, 2, 3), translate=(1, 4, 5), shear=[0, 0, 0.5])
    placed = placement_of(layer)
    flat = Image(np.zeros((80, 90)), **placed)
    np.testing.assert_allclose(flat.data_to_world((10, 20)), layer.data_to_world((0, 10, 20))[1:])


def test_our_errors_are_shown_by_their_message_and_others_with_their_traceback(
    monkeypatch, no_disc
):
    shown: list = []
    monkeypatch.setattr(work, "show_warning", shown.append)
    monkeypatch.setattr(work.notification_manager, "dispatch", shown.append)
    work.show_error(no_disc)
    work.show_error(ValueError("odd"))
    assert shown[0] == str(no_disc)
    assert isinstance(shown[1].exception, ValueError)
