"""Stacks: each slice's result over its own slice alone, and sliders, table and export with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes

import napari_fundus as nf
from napari_fundus.errors import FundusError, UnsupportedImageError
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.evaluate.layer_groups import list_results
from napari_fundus.gui.layers.placement import has_channels_first, image_source
from napari_fundus.gui.review.result_layers import find_result_layers
from napari_fundus.results.layer_metadata import detections_from_layer, layer_metadata

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def widget(viewer, discovery, qtbot):
    widget = DetectWidget(viewer, discovery=discovery)
    qtbot.addWidget(widget)
    yield widget
    widget.shutdown()


@pytest.fixture
def patients(retina):
    """Three photographs of which each is another."""
    return np.stack([retina.pixels, retina.pixels[:, ::-1], retina.pixels[::-1]])


def detect(widget, wait, start="run"):
    """Run, and return the layers of the last result."""
    shown: list = []
    widget.shown.connect(shown.append)
    getattr(widget, start)()
    wait(lambda: shown and not widget.run_bar.running and not widget._waiting_slices)
    wait(lambda: widget.results is None or not widget.results.busy)
    widget.shown.disconnect(shown.append)
    return shown[-1]


def of_kind(layers, kind, code):
    (found,) = (
        x for x in layers if layer_metadata(x).kind == kind and layer_metadata(x).lesion == code
    )
    return found


def plain(widget, pixels):
    return widget._found.detectors["fake"].detect(nf.FundusImage.from_array(pixels))


def seen_at(viewer, layers, index):
    """Which layers show a lesion anywhere when a slice is in view."""
    for axis, place in enumerate(index):
        viewer.dims.set_point(axis, place)
    ends = (*index, 0, 0)
    places = [(*index, row, col) for row in range(0, 240, 3) for col in range(0, 320, 3)]
    assert len(ends) == layers[0].ndim
    return [x for x in layers if any(x.get_value(place, world=True) for place in places)]


def test_a_result_lies_over_its_own_slice_alone(viewer, widget, wait, patients):
    viewer.add_image(patients, rgb=True, name="visits")
    viewer.dims.set_point(0, 1)
    layers = detect(widget, wait)
    labels = [x for x in layers if isinstance(x, Labels)]
    expected = plain(widget, patients[1])
    for layer in labels:
        code = layer_metadata(layer).lesion
        np.testing.assert_array_equal(layer.data[1], expected.labels[code])
        assert not np.asarray(layer.data)[[0, 2]].any()
    assert seen_at(viewer, labels, (1,)) == labels
    assert seen_at(viewer, labels, (0,)) == []
    assert seen_at(viewer, labels, (2,)) == []
    assert all(x.ndim == 3 for x in layers)


def test_a_further_slice_joins_and_each_has_its_own_numbers(viewer, widget, wait, patients):
    viewer.add_image(patients, rgb=True, name="visits", scale=(10, 2, 2))
    viewer.dims.set_point(0, 0)
    first = detect(widget, wait)
    one = widget.results.live
    viewer.dims.set_point(0, 20)
    assert widget.results is None
    assert "Slice 2 of 'visits' has no result yet" in widget.run_bar.message.text()
    second = detect(widget, wait)
    assert list(map(id, second)) == list(map(id, first))
    two = widget.results.live
    assert two is not one
    labels = of_kind(second, "labels", "EX")
    np.testing.assert_array_equal(labels.scale, (10, 2, 2))
    for point, live, index in ((0, one, 0), (20, two, 2)):
        viewer.dims.set_point(0, point)
        wait(lambda: not widget.results.busy)
        assert widget.results.live is live
        expected = plain(widget, patients[index])
        np.testing.assert_array_equal(labels.data[index], expected.labels["EX"])
        table = expected.instances[expected.instances["lesion"] == "EX"]
        assert labels.features["index"].tolist() == table["id"].tolist()
        assert f"visits [{index}]" in widget.results.headline.text()
        assert layer_metadata(labels).live is live
        np.testing.assert_array_equal(
            of_kind(second, "probability", "EX").data[index], expected.probability["EX"]
        )


def test_thresholds_and_strokes_change_the_slice_in_view_alone(viewer, widget, wait, patients):
    viewer.add_image(patients, rgb=True, name="visits")
    viewer.dims.set_point(0, 0)
    layers = detect(widget, wait)
    viewer.dims.set_point(0, 1)
    detect(widget, wait)
    labels, other = of_kind(layers, "labels", "EX"), of_kind(layers, "labels", "MA")
    before = labels.data[0].copy()
    widget.results.live.set_threshold("EX", 0.75)
    wait(lambda: not widget.results.busy)
    expected = plain(widget, patients[1]).threshold({"EX": 0.75})
    np.testing.assert_array_equal(labels.data[1] > 0, expected.labels["EX"] > 0)
    np.testing.assert_array_equal(labels.data[0], before)
    other.paint((1, 5, 5), 77)
    assert widget.results.live.edited == {"MA"}
    viewer.dims.set_point(0, 0)
    wait(lambda: not widget.results.busy)
    assert not widget.results.live.edited
    assert widget.results.live.settings.thresholds["EX"] == 0.5
    viewer.dims.set_point(0, 1)
    wait(lambda: not widget.results.busy)
    assert widget.results.live.edited == {"MA"}
    assert widget.results.rows["EX"].spin.value() == 0.75
    assert widget.results.live.detections().labels["MA"][5, 5]
    other.undo()
    assert not widget.results.live.edited


def test_export_is_of_the_slice_in_view_and_says_which(viewer, widget, wait, patients, tmp_path):
    viewer.add_image(patients, rgb=True, name="visits")
    detect(widget, wait)
    viewer.dims.set_point(0, 1)
    layers = detect(widget, wait)
    widget.results.export(tmp_path / "a.csv", "csv")
    wait(lambda: (tmp_path / "a.csv").exists())
    table = pd.read_csv(tmp_path / "a.csv", comment="#")
    assert len(table) == len(plain(widget, patients[1]).instances)
    labels = of_kind(layers, "labels", "EX")
    meta = {"metadata": labels.metadata, "name": labels.name}
    found = detections_from_layer(labels.data, meta)
    assert found.provenance.image_name == "visits [1]"
    assert not found.provenance.edited
    viewer.dims.set_point(0, 2)
    meta = {"metadata": labels.metadata, "name": labels.name}
    with pytest.raises(FundusError, match="not analysed"):
        detections_from_layer(labels.data, meta)


def test_boxes_are_those_of_the_slice_in_view(viewer, widget, wait, patients, fake):
    fake.boxes = True
    viewer.add_image(patients, rgb=True, name="visits")
    viewer.dims.set_point(0, 0)
    layers = detect(widget, wait)
    viewer.dims.set_point(0, 2)
    detect(widget, wait)
    for index in (0, 2):
        viewer.dims.set_point(0, index)
        wait(lambda: not widget.results.busy)
        table = widget.results.live.detections().instances
        for layer in (x for x in layers if isinstance(x, Shapes)):
            mine = table[table["lesion"] == layer_metadata(layer).lesion]
            assert len(layer.data) == len(mine) > 0
            assert {float(corners[0, 0]) for corners in layer.data} == {float(index)}
    viewer.dims.set_point(0, 1)
    assert all(not len(x.data) for x in layers if isinstance(x, Shapes))


def test_all_slices_on_demand_go_on_where_they_were_left(viewer, widget, wait, patients, fake):
    viewer.add_image(patients, rgb=True, name="visits")
    assert not widget.all_button.isHidden()
    viewer.dims.set_point(0, 1)
    detect(widget, wait)
    messages: list[str] = []
    widget.run_bar.progress.valueChanged.connect(
        lambda _: messages.append(widget.run_bar.message.text())
    )
    layers = detect(widget, wait, "run_all_slices")
    stack = layer_metadata(layers[0]).stack
    assert sorted(stack.results) == [(0,), (1,), (2,)]
    labels = of_kind(layers, "labels", "EX")
    for index in range(3):
        np.testing.assert_array_equal(
            labels.data[index] > 0, plain(widget, patients[index]).labels["EX"] > 0
        )
    widget.run_all_slices()
    assert "All slices have a result" in widget.run_bar.message.text()


def test_cancelling_all_slices_keeps_what_is_done(viewer, widget, wait, patients, fake):
    viewer.add_image(patients, rgb=True, name="visits")
    shown: list = []
    widget.shown.connect(shown.append)
    widget.shown.connect(lambda _: fake.go.clear())
    widget.run_all_slices()
    wait(lambda: shown and widget.run_bar.running)
    widget.run_bar.cancel()
    fake.go.set()
    wait(lambda: not widget.run_bar.running)
    assert "1 of 3 slices were done; their results stay" in widget.run_bar.message.text()
    assert list(layer_metadata(shown[0][0]).stack.results) == [(0,)]
    assert len(shown) == 1


def test_a_result_that_comes_when_another_slice_is_in_view_shows_over_its_own(
    viewer, widget, wait, patients, fake
):
    viewer.add_image(patients, rgb=True, name="visits")
    viewer.dims.set_point(0, 2)
    fake.go.clear()
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    wait(lambda: fake.threads)
    viewer.dims.set_point(0, 0)
    fake.go.set()
    wait(lambda: shown)
    labels = [x for x in shown[0] if isinstance(x, Labels)]
    assert widget.results is None
    assert seen_at(viewer, labels, (0,)) == []
    assert seen_at(viewer, labels, (2,)) == labels
    assert "visits [2]" in widget.results.headline.text()


def test_a_rerun_leaves_the_labels_that_were_painted_in_that_slice(viewer, widget, wait, patients):
    viewer.add_image(patients, rgb=True, name="visits")
    viewer.dims.set_point(0, 0)
    painted = of_kind(detect(widget, wait), "labels", "EX")
    painted.paint((0, 5, 5), 77)
    drawn = np.asarray(painted.data)
    again = detect(widget, wait)
    assert painted not in again
    np.testing.assert_array_equal(np.asarray(painted.data), drawn)


def test_more_leading_axes_are_slices_too(viewer, widget, wait, retina):
    stack = np.stack([retina.pixels[..., 1], retina.pixels[::-1, :, 1]])[:, np.newaxis]
    viewer.add_image(np.repeat(stack, 4, axis=1), name="visits", axis_labels=("p", "v", "y", "x"))
    viewer.dims.set_point((0, 1), (1, 2))
    labels = [x for x in detect(widget, wait) if isinstance(x, Labels)]
    assert labels[0].ndim == 4
    assert seen_at(viewer, labels, (1, 2)) == labels
    for index in ((0, 2), (1, 1), (0, 0)):
        assert seen_at(viewer, labels, index) == []


def test_channels_in_the_first_axis_are_used_as_colours_and_told(viewer, widget, wait, retina):
    viewer.add_image(np.moveaxis(retina.pixels, -1, 0), name="eye")
    assert "colour channels" in widget.run_bar.message.text()
    assert widget.all_button.isHidden()
    layers = detect(widget, wait)
    expected = plain(widget, retina.pixels)
    for code in ("EX", "MA"):
        labels = of_kind(layers, "labels", code)
        np.testing.assert_array_equal(labels.data, expected.labels[code])
    assert widget.results._source == "viewer.layers['eye'].data.transpose(1, 2, 0)"


def test_three_slices_of_a_named_axis_are_photographs(viewer, widget, wait, retina):
    grey = np.stack([retina.pixels[..., 1] // n for n in (1, 2, 3)])
    layer = viewer.add_image(grey, axis_labels=("visit", "y", "x"))
    assert not has_channels_first(layer)
    layers = detect(widget, wait)
    assert of_kind(layers, "labels", "EX").ndim == 3


def test_channels_of_each_of_several_photographs_are_refused_with_advice(retina):
    pixels = np.moveaxis(np.stack([retina.pixels] * 2), -1, 1)
    with pytest.raises(UnsupportedImageError, match="channels of each photograph"):
        image_source(Image(pixels), None)


def test_channels_first_are_refused_with_advice_in_arrays(retina):
    with pytest.raises(UnsupportedImageError, match="channels first"):
        nf.detect(np.moveaxis(retina.pixels, -1, 0), "tophat")


def test_results_of_a_stack_are_not_offered_where_they_would_be_judged_over_all_slices(
    viewer, widget, wait, patients
):
    viewer.add_image(patients, rgb=True, name="visits")
    detect(widget, wait)
    assert list_results(viewer) == []
    assert find_result_layers(viewer) == []
