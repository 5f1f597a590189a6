"""Sliders act at once on kept maps, and what is copied gives the same numbers again."""

from __future__ import annotations

import shlex
import threading

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from typer.testing import CliRunner

import napari_fundus as nf
from napari_fundus.cli import app
from napari_fundus.errors import FundusError
from napari_fundus.export import read_csv
from napari_fundus.gui import add_detections
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.results import relabel
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.snippets import as_command, as_python

pytestmark = pytest.mark.gui


def result(shape=(96, 128), *, seed=0, **changes) -> Detections:
    rng = np.random.default_rng(seed)
    maps = {}
    for code in ("MA", "HE", "EX"):
        values = rng.random(shape, dtype=np.float32)
        maps[code] = (values * (values > 0.7)).astype(np.float32)
    provenance = Provenance(
        detector="tophat",
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=shape,
        options={"threshold": 0.9, "min_area": 1},
    )
    return Detections(provenance, maps, dict.fromkeys(maps, 0.9), **changes)


@pytest.fixture
def make(qtbot):
    panels = []

    def build(detections):
        viewer = ViewerModel()
        layers = add_detections(viewer, detections)
        panel = ResultsPanel(viewer, layer_metadata(layers[0]).live, layers, source="image")
        qtbot.addWidget(panel)
        panels.append(panel)
        return viewer, layers, panel

    yield build
    for panel in panels:
        panel.shutdown()


def labels(layers):
    return {
        layer.metadata[METADATA_KEY].lesion: layer
        for layer in layers
        if layer.metadata[METADATA_KEY].kind == "labels"
    }


def assert_shows(layers, panel, expected):
    for code, layer in labels(layers).items():
        np.testing.assert_array_equal(layer.data, expected.labels[code])
        mine = expected.instances[expected.instances.lesion == code]
        np.testing.assert_array_equal(layer.features["index"], mine["id"])
        assert panel.rows[code].count.text() == f"<b>{len(mine)}</b>"


def test_sliders_give_the_labels_ids_and_tables_of_the_headless_path(make, wait):
    _, layers, panel = make(result())
    panel.rows["HE"].slider.setValue(800)
    panel.area.spin.setValue(3)
    wait(lambda: not panel.busy)
    expected = result().threshold({"HE": 0.8}, min_area=3)
    assert_shows(layers, panel, expected)
    pd.testing.assert_frame_equal(panel.live.detections().instances, expected.instances)
    metadata = layer_metadata(labels(layers)["HE"])
    assert metadata.threshold == 0.8
    assert metadata.live is panel.live
    assert metadata.live.settings.min_area == 3


def test_many_slider_events_are_answered_by_the_last(make, wait):
    _, layers, panel = make(result())
    for value in range(700, 1000, 7):
        panel.rows["MA"].slider.setValue(value)
        panel.rows["EX"].slider.setValue(value - 1)
    wait(lambda: not panel.busy)
    assert_shows(layers, panel, result().threshold({"MA": 0.994, "EX": 0.993}))


def test_a_result_layer_that_was_deleted_does_not_matter(make, wait):
    viewer, layers, panel = make(result())
    gone = labels(layers).pop("MA")
    viewer.layers.remove(gone)
    before = gone.data.copy()
    panel.live.set_threshold("MA", 0.75)
    panel.live.set_threshold("EX", 0.75)
    wait(lambda: not panel.busy)
    np.testing.assert_array_equal(gone.data, before)
    kept = {k: v for k, v in labels(layers).items() if v is not gone}
    assert_shows(kept.values(), panel, result().threshold({"MA": 0.75, "EX": 0.75}))


def test_what_was_painted_stays_and_is_exported(make, wait, tmp_path):
    _, layers, panel = make(result())
    layer = labels(layers)["MA"]
    layer.data_setitem((np.array([1, 1, 2]), np.array([1, 2, 1])), 500)
    painted = layer.data.copy()
    panel.live.set_threshold("MA", 0.99)
    panel.live.set_min_area(4)
    wait(lambda: not panel.busy)
    np.testing.assert_array_equal(layer.data, painted)
    assert not panel.rows["MA"].slider.isEnabled()
    now = panel.live.detections()
    np.testing.assert_array_equal(now.labels["MA"] > 0, painted > 0)
    np.testing.assert_array_equal(
        now.labels["EX"] > 0, result().threshold(min_area=4).labels["EX"] > 0
    )
    assert now.provenance.edited == ("MA",)


def test_undoing_what_was_painted_gives_the_class_back_to_its_slider(make, wait):
    _, layers, panel = make(result())
    layer = labels(layers)["MA"]
    wait(lambda: not panel.busy)
    layer.paint((3, 3), 500)
    assert panel.live.edited == {"MA"}
    assert panel.rows["MA"].count.text() == "edited by hand"
    panel.live.set_min_area(4)
    wait(lambda: not panel.busy)
    layer.undo()
    assert panel.live.edited == frozenset()
    assert panel.rows["MA"].slider.isEnabled()
    wait(lambda: not panel.busy)
    assert_shows(layers, panel, result().threshold(min_area=4))
    panel.rows["MA"].spin.setValue(0.8)
    wait(lambda: not panel.busy)
    assert_shows(layers, panel, result().threshold({"MA": 0.8}, min_area=4))
    layer.redo()
    assert panel.live.edited == {"MA"}


def test_two_panels_on_one_result_show_the_same(make, wait, qtbot):
    viewer, layers, panel = make(result())
    other = ResultsPanel(viewer, panel.live, layers)
    qtbot.addWidget(other)
    panel.rows["HE"].spin.setValue(0.1 + 0.7)
    wait(lambda: not panel.busy and not other.busy)
    assert other.rows["HE"].spin.value() == 0.1 + 0.7
    panel.shutdown()
    other.rows["HE"].spin.setValue(0.85)
    wait(lambda: not other.busy)
    assert_shows(layers, other, result().threshold({"HE": 0.85}))
    other.shutdown()


def test_boxes_follow_the_sliders(make, wait):
    _, layers, panel = make(result((40, 60), has_boxes=True))
    panel.live.set_threshold("EX", 0.97)
    wait(lambda: not panel.busy)
    (boxes,) = [
        layer
        for layer in layers
        if layer.metadata[METADATA_KEY].kind == "boxes"
        and layer.metadata[METADATA_KEY].lesion == "EX"
    ]
    expected = result((40, 60)).threshold({"EX": 0.97}).instances
    assert len(boxes.data) == (expected.lesion == "EX").sum()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("csv", "a.csv"),
        ("coco", "a.json"),
        ("geojson", "a.geojson"),
        ("labels", "a.tif"),
        ("probability", "a.prob.tif"),
    ],
)
def test_export_writes_the_result_as_it_stands(make, wait, tmp_path, form, name):
    _, _, panel = make(result())
    panel.live.set_threshold("MA", 0.95)
    wait(lambda: not panel.busy)
    job = panel.export(tmp_path / "a", form)
    wait(lambda: (tmp_path / name).is_file() and not job._worker.is_running)
    if form == "csv":
        expected = result().threshold({"MA": 0.95}).instances
        pd.testing.assert_frame_equal(read_csv(tmp_path / name), expected)


@pytest.mark.parametrize(("action", "maps"), [("threshold", ["MA"]), ("area", [])])
def test_a_slider_searches_no_map_but_its_own(make, wait, monkeypatch, action, maps):
    """A search of a map of 12 megapixels is what takes time; ``make bench`` measures it."""
    _, _, panel = make(result())
    wait(lambda: not panel.busy)
    searched: list[str] = []
    search = relabel.map_components

    def count(probability, *, lesion, threshold):
        searched.append(lesion)
        assert threading.current_thread() is not threading.main_thread()
        return search(probability, lesion=lesion, threshold=threshold)

    monkeypatch.setattr(relabel, "map_components", count)
    answered: list[bool] = []
    panel.live.shown_changed.connect(lambda: answered.append(True))
    if action == "threshold":
        panel.live.set_threshold("MA", 0.95)
    else:
        panel.live.set_min_area(2)
    wait(lambda: answered and not panel.busy)
    assert searched == maps


@pytest.fixture(scope="module")
def found() -> Detections:
    """The real sample, searched at a working size that is quick."""
    return nf.detect(nf.sample_image_path(), "tophat", device="cpu", working_diameter=500)


def test_the_copied_python_gives_the_same_numbers(found):
    moved = found.threshold({"MA": 0.45, "EX": 0.55}, min_area=30)
    scope: dict = {"print": lambda *_: None}
    exec(as_python(moved), scope)
    pd.testing.assert_frame_equal(scope["result"].instances, moved.instances)


def test_the_copied_python_of_a_layer_without_file_runs_in_the_console(found):
    image = nf.read_image(nf.sample_image_path())
    viewer = ViewerModel()
    viewer.add_image(image.pixels[::4, ::4], rgb=True, name='the "left" eye')
    layer = viewer.layers[0]
    here = nf.detect(layer, "tophat", working_diameter=400)
    text = as_python(here, source=f"viewer.layers[{layer.name!r}]")
    scope: dict = {"viewer": viewer, "print": lambda *_: None}
    exec(text, scope)
    pd.testing.assert_frame_equal(scope["result"].instances, here.instances)
    with pytest.raises(FundusError, match="Save the layer as TIFF"):
        as_command(here, here)


def run_command(command: str, folder) -> pd.DataFrame:
    """Run a copied command line in `folder`, as a shell would, and return its table."""
    program, *arguments = shlex.split(command)
    assert program == "napari-fundus"
    arguments[arguments.index("-o") + 1] = str(folder)
    outcome = CliRunner().invoke(app, [*arguments, "--format", "csv"])
    assert outcome.exit_code == 0, outcome.output
    (table,) = (p for p in folder.rglob("*.csv") if p.name != "summary.csv")
    return read_csv(table)


@pytest.mark.parametrize(
    "thresholds",
    [{}, {"MA": 0.6, "HE": 0.6, "EX": 0.6}, {"MA": 0.45, "HE": 0.551}],
    ids=["as run", "one for all", "one a class"],
)
def test_the_copied_command_gives_the_same_numbers(found, tmp_path, thresholds):
    moved = found.threshold(thresholds, min_area=25)
    table = run_command(as_command(moved, found), tmp_path)
    pd.testing.assert_frame_equal(table, moved.instances)


def test_copy_puts_the_texts_into_the_clipboard(found, make, clipboard):
    _, _, panel = make(found)
    panel.copy_python()
    assert clipboard() == as_python(found)
    panel.copy_command()
    assert clipboard() == as_command(found, found)
    assert shlex.split(clipboard())[:2] == ["napari-fundus", "detect"]
