"""Objects in the window: layers, what hovering tells, sliders, edits, and exports of the shown."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes, Vectors

from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers import box_layer as boxes
from napari_fundus.gui.layers.build import add_layers, detection_layers
from napari_fundus.gui.layers.live_layers import show_labels
from napari_fundus.results import relabel
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.edits import apply_edited_labels
from napari_fundus.results.instances import label_objects
from napari_fundus.results.layer_metadata import METADATA_KEY, detections_from_layer, layer_metadata
from napari_fundus.results.objects import LesionObject, score_maps
from napari_fundus.results.outlines import outline_vectors
from napari_fundus.results.relabel import label_image
from napari_fundus.results.shown_lesions import ThresholdSettings, apply_thresholds

pytestmark = pytest.mark.gui


def scattered(
    shape: tuple[int, int], count: int, *, lesion: str, size: int = 12, seed: int = 0
) -> list[LesionObject]:
    """Return round objects at random, of scores from 0.05 on; some overlap."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    disc = np.hypot(rows - size / 2 + 0.5, cols - size / 2 + 0.5) <= size / 2
    places = rng.integers(0, np.array(shape) - size, (count, 2))
    scores = np.linspace(0.05, 0.99, count).astype(np.float32)
    return [
        LesionObject(lesion, float(score), int(row), int(col), disc)
        for score, (row, col) in zip(scores, places, strict=True)
    ]


def result(shape: tuple[int, int] = (200, 240), **counts: int) -> Detections:
    counts = counts or {"MA": 40, "EX": 20}
    objects = [
        found
        for seed, (code, count) in enumerate(counts.items())
        for found in scattered(shape, count, lesion=code, seed=seed)
    ]
    return Detections(
        Provenance(
            detector="mask_rcnn",
            detector_version="1",
            package_version="0",
            image_name="eye",
            image_shape=shape,
        ),
        score_maps(objects, counts, shape),
        dict.fromkeys(counts, 0.35),
        has_boxes=True,
        objects=tuple(objects),
    )


def kinds(layers: list[Layer], kind: str) -> dict[str, Layer]:
    known = [layer.metadata[METADATA_KEY] for layer in layers]
    return {k.lesion: x for k, x in zip(known, layers, strict=True) if k.kind == kind}


@pytest.fixture
def shown(qtbot):
    """Return a viewer's layers and the panel that moves them."""
    panels = []

    def make(found: Detections) -> tuple[list[Layer], ResultsPanel]:
        viewer = ViewerModel()
        layers = add_layers(viewer, detection_layers(found))
        panel = ResultsPanel(viewer, layer_metadata(layers[0]).live, layers)
        panels.append(panel)
        qtbot.addWidget(panel)
        qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
        return layers, panel

    yield make
    for panel in panels:
        panel.shutdown()


def test_each_class_has_a_layer_of_objects_with_features_and_one_of_boxes() -> None:
    found = result()
    layers = add_layers(ViewerModel(), detection_layers(found))
    labels, shapes = kinds(layers, "labels"), kinds(layers, "boxes")
    assert list(labels) == list(shapes) == ["MA", "EX"]
    for code, layer in labels.items():
        assert isinstance(layer, Labels)
        assert isinstance(shapes[code], Shapes)
        expected = found.instances[found.instances["lesion"] == code]
        assert set(np.unique(layer.data)) - {0} == set(expected["id"])
        assert len(shapes[code].data) == len(expected)
        assert list(layer.features["index"]) == expected["id"].tolist()
        told = {"score", "area_px", "equivalent_diameter_px", "centroid_row", "centroid_col"}
        assert told <= set(layer.features)


def test_hovering_tells_class_and_score() -> None:
    found = result()
    layer = kinds(add_layers(ViewerModel(), detection_layers(found)), "labels")["EX"]
    row = found.instances[found.instances["lesion"] == "EX"].iloc[0]
    place = np.argwhere(layer.data == row["id"])[0]
    told = layer.get_status(place)["coordinates"]
    assert "lesion: EX" in told
    assert f"score: {row['score']:.2f}"[:-1] in told


def test_the_slider_shows_what_the_headless_path_gives(shown, qtbot) -> None:
    found = result()
    layers, panel = shown(found)
    panel.rows["MA"].spin.setValue(0.7)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    expected = found.threshold({"MA": 0.7})
    for code, layer in kinds(layers, "labels").items():
        np.testing.assert_array_equal(layer.data, expected.labels[code])
        rows = expected.instances[expected.instances["lesion"] == code]
        assert list(layer.features["score"]) == rows["score"].tolist()
        assert len(kinds(layers, "boxes")[code].data) == len(rows)
    assert 0 < len(expected.instances) < len(found.instances)


def test_the_slider_goes_down_to_objects_below_the_first_threshold(shown, qtbot) -> None:
    found = result()
    layers, panel = shown(found)
    panel.rows["MA"].spin.setValue(0.05)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    assert len(kinds(layers, "labels")["MA"].features) > found._counts()["MA"]


def test_boxes_come_once_there_is_a_lesion_to_box(shown, qtbot) -> None:
    layers, panel = shown(result().threshold({"MA": 0.999, "EX": 0.5}))
    assert set(kinds(layers, "boxes")) == {"EX"}
    panel.rows["MA"].spin.setValue(0.4)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    added = panel.live_layers.boxes.layers["MA"]
    expected = result().threshold({"MA": 0.4}).instances
    assert len(added.data) == (expected["lesion"] == "MA").sum() > 0
    panel.rows["MA"].spin.setValue(0.999)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    assert len(added.data) == 0


@pytest.mark.parametrize("value", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("min_area", [1, 90])
def test_what_is_exported_is_what_is_shown(shown, qtbot, tmp_path, value, min_area) -> None:
    layers, panel = shown(result())
    panel.rows["MA"].spin.setValue(value)
    panel.live.set_min_area(min_area)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    labels = kinds(layers, "labels")
    count = sum(len(np.unique(layer.data)) - 1 for layer in labels.values())
    assert count == sum(len(layer.features) for layer in labels.values())
    written = {}
    for form, suffix in (("csv", ".csv"), ("coco", ".json"), ("geojson", ".geojson")):
        path = tmp_path / f"lesions{suffix}"
        with qtbot.waitSignal(panel.export(path, form).ended, timeout=300_000):
            pass
        written[form] = path
    table = pd.read_csv(written["csv"])
    assert len(table) == count
    coco = json.loads(written["coco"].read_text())
    assert len(coco["annotations"]) == count
    assert len(json.loads(written["geojson"].read_text())["features"]) == count
    assert sum(a["area"] for a in coco["annotations"]) == sum(
        np.count_nonzero(layer.data) for layer in labels.values()
    )


def test_beyond_so_many_lesions_outlines_stand_for_boxes(monkeypatch, shown, qtbot) -> None:
    monkeypatch.setattr(boxes, "MAX_BOXES", 10)
    layers, panel = shown(result())
    lines = kinds(layers, "boxes")["MA"]
    assert isinstance(lines, Vectors)
    panel.rows["MA"].spin.setValue(0.9)
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    labels = kinds(layers, "labels")["MA"].data
    assert outlined(lines.data, labels.shape) == edges(labels)


@given(st.integers(0, 10_000))
def test_outlines_are_all_edges_between_lesions_and_each_once(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (7, 9))
    pixels = np.flatnonzero(labels)
    lines = outline_vectors(pixels, labels.reshape(-1)[pixels], labels.shape)
    assert outlined(lines, labels.shape) == edges(labels)


def outlined(lines: np.ndarray, shape: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Return the unit edges that vectors cover."""
    found = []
    for (row, col), (down, right) in lines.tolist():
        assert bool(down) != bool(right)
        found += [
            (row + (n + 0.5) * bool(down), col + (n + 0.5) * bool(right))
            for n in range(int(down + right))
        ]
    return sorted(found)


def edges(labels: np.ndarray) -> list[tuple[float, ...]]:
    """Return the middles of all unit edges of lesions, twice between two of them."""
    padded = np.pad(labels, 1)
    found = []
    for row, col in np.argwhere(labels).tolist():
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if padded[row + 1 + down, col + 1 + right] != labels[row, col]:
                found.append((row + down / 2, col + right / 2))
    return sorted(found)


def test_no_lesion_has_no_outline() -> None:
    none = np.zeros(0, np.int64)
    assert outline_vectors(none, none, (5, 6)).shape == (0, 2, 2)


def test_a_person_s_strokes_keep_objects_apart_and_their_scores() -> None:
    found = result()
    drawn = found.labels["MA"].copy()
    first, second = found.instances["id"].iloc[:2]
    drawn[drawn == first] = 0
    drawn[0:3, 0:3] = 4000
    now = apply_edited_labels(found, {"MA": drawn})
    assert now.provenance.edited == ("MA",)
    table = now.instances[now.instances["lesion"] == "MA"]
    before = found.instances[found.instances["lesion"] == "MA"]
    assert len(table) == len(before)
    assert (table["score"] == 1).sum() == 1
    kept = before.set_index("id")["score"][second]
    assert kept in set(table["score"])
    np.testing.assert_array_equal(now.labels["MA"] > 0, drawn > 0)
    np.testing.assert_array_equal(now.labels["EX"] > 0, found.labels["EX"] > 0)


def test_an_untouched_layer_is_written_as_found_and_a_split_one_as_edited() -> None:
    found = result()
    layer = kinds(add_layers(ViewerModel(), detection_layers(found)), "labels")["MA"]
    assert detections_from_layer(*layer.as_layer_data_tuple()[:2]).provenance.edited == ()
    place = np.argwhere(layer.data)[0]
    layer.data[tuple(place)] = 5000
    now = detections_from_layer(*layer.as_layer_data_tuple()[:2])
    assert now.provenance.edited == ("MA",)
    assert len(now.instances) == len(layer.features) + 1


def test_relabelling_gives_the_labels_of_the_headless_path() -> None:
    found = result()
    settings = ThresholdSettings({"MA": 0.5, "EX": 0.2}, 30)
    shown = apply_thresholds(found, settings, {}, renumber=True)
    expected = found.threshold(dict(settings.thresholds), min_area=30)
    for code, now in shown.items():
        labels = label_image(found.shape, now.components.pixels, now.ids)
        np.testing.assert_array_equal(labels, expected.labels[code])
    table = pd.concat([now.table for now in shown.values()], ignore_index=True)
    pd.testing.assert_frame_equal(table, expected.instances)


def test_objects_are_painted_once_whatever_the_slider_does(monkeypatch) -> None:
    """Painting 500 objects on 12 megapixels is what takes time; ``make bench`` measures it."""
    shape = 300, 400
    found = result(shape, MA=30, EX=20)
    layers = {code: Labels(np.zeros(shape, np.uint16), name=code) for code in found.lesions}
    painted: list[int] = []
    paint = relabel.rasterize_objects

    def count(objects, shape):
        painted.append(len(objects))
        return paint(objects, shape)

    monkeypatch.setattr(relabel, "rasterize_objects", count)
    shown: dict = {}
    for value in (0.5, 0.3, 0.6, 0.4):
        settings = ThresholdSettings({"MA": value, "EX": value}, 1)
        now = apply_thresholds(found, settings, shown, renumber=True)
        for code, labels in now.items():
            show_labels(layers[code], labels, shown.get(code))
        shown = now
    assert sorted(painted) == [20, 30]
    labels, _ = label_objects(found.objects_of("MA"), lesion="MA", shape=shape, threshold=0.4)
    np.testing.assert_array_equal(layers["MA"].data, labels)


@pytest.mark.parametrize("suffix", [".json", ".csv", ".geojson", ".tif"])
def test_boxes_are_written_as_they_stand(tmp_path, save_layer, suffix) -> None:
    found = result(MA=6)
    layers = add_layers(ViewerModel(), detection_layers(found))
    layer = kinds(layers, "boxes")["MA"]
    count = len(layer.data)

    def written() -> int:
        path = tmp_path / f"boxes{suffix}"
        path.unlink(missing_ok=True)
        save_layer(layer, path)
        if suffix == ".csv":
            return len(pd.read_csv(path))
        if suffix == ".tif":
            return int(tifffile.imread(path).max())
        content = json.loads(path.read_text())
        return len(content["annotations" if suffix == ".json" else "features"])

    assert written() == count
    layer.selected_data = {0}
    layer.remove_selected()
    assert written() == count - 1
    layer.add_rectangles(np.array([[150, 200], [150, 220], [160, 220], [160, 200]]) - 0.5)
    assert written() == count


def test_changed_boxes_count_in_the_panel_s_export_and_keep_off_the_slider(
    qtbot, wait, tmp_path
) -> None:
    viewer = ViewerModel()
    found = result(MA=6, EX=5)
    layers = add_layers(viewer, detection_layers(found))
    live = layer_metadata(layers[0]).live
    panel = ResultsPanel(viewer, live, layers)
    qtbot.addWidget(panel)
    wait(lambda: not panel.busy)
    layer = kinds(layers, "boxes")["MA"]
    count = len(layer.data)
    panel.live.set_threshold("MA", 0.2)
    wait(lambda: not panel.busy)
    assert live.edited == frozenset()  # boxes that a slider brings are the result's own
    count = len(layer.data)
    layer.selected_data = {0}
    layer.remove_selected()
    assert live.edited == {"MA"}
    live.set_threshold("EX", 0.2)
    wait(lambda: not panel.busy)
    assert len(layer.data) == count - 1
    job = panel.export(tmp_path / "all.json", "coco")
    with qtbot.waitSignal(job.ended, timeout=30_000):
        pass
    content = json.loads((tmp_path / "all.json").read_text())
    (category,) = (x["id"] for x in content["categories"] if x["code"] == "MA")
    assert sum(x["category_id"] == category for x in content["annotations"]) == count - 1
    panel.shutdown()
