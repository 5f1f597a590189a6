"""A live result follows thresholds, least area and strokes, tells its listeners, and keeps none."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError, OptionsError
from napari_fundus.landmarks import Fovea, Landmarks
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.edits import apply_edited_labels
from napari_fundus.results.layer_metadata import (
    METADATA_KEY,
    METADATA_VERSION,
    LayerMetadata,
    detections_from_layer,
    layer_metadata,
    layer_snapshot,
)
from napari_fundus.results.live import LiveResult
from napari_fundus.results.objects import LesionObject, score_maps
from napari_fundus.results.relabel import label_image

SHAPE = (40, 60)


def result(*, seed: int = 0, objects: bool = False) -> Detections:
    rng = np.random.default_rng(seed)
    provenance = Provenance(
        detector="tophat", detector_version="1", package_version="0", image_shape=SHAPE
    )
    if objects:
        disc = np.ones((4, 4), np.bool_)
        found = tuple(
            LesionObject("MA", score / 10, 4 * score, 5 * score, disc) for score in range(1, 9)
        )
        return Detections(
            provenance, score_maps(found, ("MA",), SHAPE), {"MA": 0.35}, objects=found
        )
    maps = {}
    for code in ("MA", "HE", "EX"):
        values = rng.random(SHAPE, dtype=np.float32)
        maps[code] = np.where(values > 0.6, values, np.float32(0))
    return Detections(provenance, maps, dict.fromkeys(maps, 0.9), min_area=2)


class Layer:
    """Labels as a layer has them, and strokes as napari makes them."""

    def __init__(self, labels: np.ndarray) -> None:
        self.data = labels.copy()

    def paint(self, live: LiveResult, code: str, pixels: list[int], value: int) -> np.ndarray:
        """Paint, and return what undoes it."""
        flat, before = self.data.reshape(-1), self.data.reshape(-1)[pixels].copy()
        flat[pixels] = value
        live.add_stroke(code, np.array(pixels), before)
        return before

    def set(self, live: LiveResult, code: str, pixels: list[int], values: np.ndarray) -> None:
        """Write values as undoing and redoing do, which tell of no stroke."""
        self.data.reshape(-1)[pixels] = values
        live.check_edits(code)


def attached(live: LiveResult) -> dict[str, Layer]:
    layers = {code: Layer(labels) for code, labels in live.detections().labels.items()}
    for code, layer in layers.items():
        live.attach(code, layer)
    return layers


def listen(live: LiveResult) -> list[object]:
    heard: list[object] = []
    live.settings_changed.connect(lambda: heard.append("settings"))
    live.shown_changed.connect(lambda: heard.append("shown"))
    live.edited_changed.connect(heard.append)
    live.landmarks_changed.connect(lambda: heard.append("landmarks"))
    return heard


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("value", [0.1, 0.65, 0.1 + 0.2, 0.9, float(np.float32(0.7))])
@pytest.mark.parametrize("min_area", [1, 3])
def test_settings_give_what_the_headless_path_gives_bit_for_bit(objects, value, min_area) -> None:
    found = result(objects=objects)
    live = LiveResult(found)
    live.set_threshold("MA", value)
    live.set_min_area(min_area)
    expected = found.threshold({"MA": value}, min_area=min_area)
    now = live.detections()
    assert now.thresholds == expected.thresholds
    assert now.thresholds["MA"].hex() == value.hex()
    assert now.min_area == min_area
    live.show(live.computation()())
    assert live.up_to_date
    for code in found.lesions:
        shown = live.shown[code]
        labels = label_image(SHAPE, shown.components.pixels, shown.ids)
        np.testing.assert_array_equal(labels, expected.labels[code])
        np.testing.assert_array_equal(now.labels[code], expected.labels[code])
    table = pd.concat([shown.table for shown in live.shown.values()], ignore_index=True)
    pd.testing.assert_frame_equal(table, expected.instances)


def test_the_original_stays_and_is_given_back_where_nothing_was_moved() -> None:
    found = result()
    live = LiveResult(found)
    assert live.detections() is found
    live.set_threshold("EX", 0.7)
    assert live.original is found
    assert live.detections().thresholds == {"MA": 0.9, "HE": 0.9, "EX": 0.7}


def test_ids_may_wait_until_a_slider_is_at_rest() -> None:
    live = LiveResult(result())
    live.show(live.computation()())
    before = live.shown
    live.set_threshold("MA", 0.7)
    assert not live.up_to_date
    live.show(live.computation(renumber=False)())
    assert live.shown["HE"] is before["HE"]
    assert len(live.shown["MA"].table) != len(before["MA"].table)
    assert not live.up_to_date
    live.show(live.computation()())
    assert live.up_to_date
    assert live.shown["HE"].first_id == 1 + len(live.shown["MA"].table)
    assert live.shown["HE"].components is before["HE"].components


def test_listeners_hear_what_changed_and_only_that() -> None:
    live = LiveResult(result())
    heard = listen(live)
    live.set_threshold("MA", 0.9)
    live.set_min_area(2)
    assert heard == []
    live.set_threshold("MA", 0.8)
    live.set_min_area(5)
    live.show(live.computation()())
    live.set_landmarks(Landmarks(fovea=Fovea(row=3, col=4)))
    assert heard == ["settings", "settings", "shown", "landmarks"]
    assert live.detections().landmarks.fovea == live.original.landmarks.fovea == Fovea(row=3, col=4)
    assert live.detections().thresholds["MA"] == 0.8


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    live = LiveResult(result())
    heard = listen(live)
    with pytest.raises(OptionsError, match="No map for SE"):
        live.set_threshold("SE", 0.5)
    with pytest.raises(OptionsError, match="between 0 and 1"):
        live.set_threshold("MA", 1.5)
    with pytest.raises(OptionsError, match="at least 1 pixel"):
        live.set_min_area(0)
    assert heard == []
    assert live.detections().thresholds == dict.fromkeys(("MA", "HE", "EX"), 0.9)


def test_painting_makes_a_class_edited_and_undoing_it_as_found_again() -> None:
    live = LiveResult(result())
    layer = attached(live)["MA"]
    heard = listen(live)
    assert live.has_threshold("MA")
    first = layer.paint(live, "MA", [0, 1, 2], 500)
    second = layer.paint(live, "MA", [2, 3], 0 if layer.data.flat[3] else 501)
    assert live.edited == {"MA"}
    assert not live.has_threshold("MA")
    assert live.has_threshold("HE")
    layer.set(live, "MA", [2, 3], second)
    assert live.edited == {"MA"}
    layer.set(live, "MA", [0, 1, 2], first)
    assert live.edited == frozenset()
    assert live.has_threshold("MA")
    assert live.detections() is live.original
    layer.set(live, "MA", [0, 1, 2], np.array([500, 500, 500]))
    assert live.edited == {"MA"}
    assert heard == ["MA", "MA", "MA"]


def test_undoing_is_noticed_after_the_result_was_shown_anew_too() -> None:
    live = LiveResult(result())
    layer = attached(live)["MA"]
    before = layer.paint(live, "MA", [5], 700)
    layer.set(live, "MA", [5], before)
    layer.data[...] = live.original.threshold({"MA": 0.7}).labels["MA"]
    live.rebase_edits("MA")
    live.check_edits("MA")
    assert live.edited == frozenset()
    layer.set(live, "MA", [5], np.array([700]))
    assert live.edited == {"MA"}


def test_an_empty_stroke_and_a_check_without_strokes_change_nothing() -> None:
    live = LiveResult(result())
    layer = attached(live)["MA"]
    heard = listen(live)
    layer.paint(live, "MA", [], 3)
    layer.data[0, 0] += 1
    live.check_edits("MA")
    assert live.edited == frozenset()
    assert heard == []


def test_what_was_drawn_is_in_the_result_as_it_is_at_that_moment() -> None:
    found = result()
    live = LiveResult(found)
    layer = attached(live)["MA"]
    live.set_threshold("HE", 0.7)
    layer.paint(live, "MA", [0, 1, 60, 61], 500)
    drawn = layer.data.copy()
    make = live.snapshot()
    layer.paint(live, "MA", [300], 501)
    expected = apply_edited_labels(found.threshold({"HE": 0.7}), {"MA": drawn})
    now = make()
    assert now.provenance.edited == ("MA",)
    np.testing.assert_array_equal(now.labels["MA"] > 0, drawn > 0)
    pd.testing.assert_frame_equal(now.instances, expected.instances)
    assert live.detections(edits=False).provenance.edited == ()


def test_a_class_is_given_to_a_thread_as_drawn_or_as_thresholded() -> None:
    live = LiveResult(result())
    layer = attached(live)["MA"]
    live.show(live.computation()())
    assert live.class_snapshot("MA")().components is live.shown["MA"].components
    assert live.class_snapshot("EX")().table["id"].equals(live.shown["EX"].table["id"])
    live.set_threshold("MA", 0.7)
    snapshot = live.class_snapshot("MA")
    expected = live.detections()
    live.set_threshold("MA", 0.95)
    thresholded = snapshot()
    assert len(thresholded.table) == (expected.instances["lesion"] == "MA").sum()
    np.testing.assert_array_equal(
        thresholded.components.pixels[thresholded.ids > 0], np.flatnonzero(expected.labels["MA"])
    )
    layer.data[...] = 0
    layer.paint(live, "MA", [7], 1)
    drawn = live.class_snapshot("MA")
    layer.data[...] = 1
    assert drawn().components.pixels.tolist() == [7]
    assert drawn().table["area_px"].tolist() == [1]


def test_a_layer_without_a_result_is_given_to_a_thread_as_it_is_drawn() -> None:
    layer = Layer(np.zeros(SHAPE, np.uint16))
    layer.metadata = {METADATA_KEY: LayerMetadata(kind="labels", lesion="HE")}
    layer.data[3, 4:6] = 9
    snapshot = layer_snapshot(layer)
    layer.data[...] = 1
    assert snapshot().components.pixels.tolist() == [3 * SHAPE[1] + 4, 3 * SHAPE[1] + 5]
    assert snapshot().table["lesion"].tolist() == ["HE"]
    live = LiveResult(result())
    layer.metadata = {METADATA_KEY: LayerMetadata(kind="labels", lesion="HE", live=live)}
    expected = live.detections().instances
    assert len(layer_snapshot(layer)().table) == (expected["lesion"] == "HE").sum()


def test_a_review_locks_classes_whatever_is_undone() -> None:
    live = LiveResult(result())
    layer = attached(live)["MA"]
    heard = listen(live)
    live.lock(["MA", "HE", "SE"])
    live.lock(["MA"])
    before = layer.paint(live, "MA", [0], 9)
    layer.set(live, "MA", [0], before)
    assert live.edited == {"MA", "HE"}
    assert heard == ["MA", "HE"]


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("objects", [False, True])
def test_a_review_that_has_ended_leaves_edited_what_was_changed_alone(computed, objects) -> None:
    live = LiveResult(result(objects=objects))
    layers = attached(live)
    if computed:
        live.show(live.computation()())
    live.lock(layers)
    labels = layers["MA"].data
    before = layers["MA"].paint(live, "MA", [0], int(labels.max()) + 1)
    heard = listen(live)
    live.unlock(layers)
    assert live.edited == {"MA"}
    assert heard == [code for code in layers if code != "MA"]
    live.lock(["MA"])
    layers["MA"].set(live, "MA", [0], before)
    layers["MA"].data = np.where(labels > 0, labels + 7, 0)  # a review may give other ids
    live.unlock(["MA"])
    assert live.edited == frozenset()
    assert heard[-1] == "MA"
    live.unlock(["MA"])
    assert heard.count("MA") == 1


def test_one_presenter_at_a_time() -> None:
    live, first, second = LiveResult(result()), Layer(np.zeros(1)), Layer(np.zeros(1))
    assert live.claim(first)
    assert not live.claim(second)
    live.release(second)
    assert not live.claim(second)
    live.release(first)
    assert live.claim(second)
    del second
    assert live.claim(first), "one that is gone does not count"
    live.close()
    assert not live.claim(first)


def test_nothing_is_kept_alive() -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard = 0

        def on_change(self) -> None:
            self.heard += 1

    live, listener = LiveResult(result()), Listener()
    layer = attached(live)["MA"]
    live.settings_changed.connect(listener.on_change)
    live.claim(listener)
    live.set_threshold("MA", 0.8)
    assert listener.heard == 1
    gone = [weakref.ref(listener), weakref.ref(layer)]
    layer.paint(live, "MA", [0], 5)
    del listener, layer
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    live.set_threshold("MA", 0.7)
    assert live.labels("MA") is None
    assert live.detections().provenance.edited == ()
    alone = weakref.ref(live)
    del live
    gc.collect()
    assert alone() is None


def test_several_results_have_nothing_in_common() -> None:
    one, two = LiveResult(result()), LiveResult(result(seed=1))
    layers = attached(one)
    attached(two)
    heard = listen(two)
    one.set_threshold("MA", 0.7)
    one.set_min_area(7)
    layers["HE"].paint(one, "HE", [1], 4)
    one.show(one.computation()())
    assert heard == []
    assert two.detections() is two.original
    assert two.edited == frozenset()
    assert not two.shown


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_layer_s_metadata_can_be_copied_and_stored(again) -> None:
    live = LiveResult(result())
    live.set_threshold("MA", 0.7)
    heard = listen(live)
    metadata = LayerMetadata(
        kind="labels", lesion="MA", provenance={"detector": "tophat"}, live=live
    )
    other = again(metadata)
    assert (other.kind, other.lesion, other.version) == ("labels", "MA", METADATA_VERSION)
    assert other.threshold == metadata.threshold == 0.7
    pd.testing.assert_frame_equal(other.detections.instances, metadata.detections.instances)
    other.live.set_threshold("MA", 0.8)
    assert (metadata.threshold, heard) == (0.7, [])


def test_metadata_of_another_program_is_read_and_none_is_no_error() -> None:
    stored = {"kind": "truth", "lesion": "MA", "colour": "red", "version": 1}
    metadata = layer_metadata({METADATA_KEY: stored})
    assert (metadata.kind, metadata.lesion, dict(metadata.extra)) == (
        "truth",
        "MA",
        {"colour": "red"},
    )
    for nothing in (None, 3, {}, {METADATA_KEY: 7}, Layer(np.zeros(1))):
        assert layer_metadata(nothing).kind == ""
        assert layer_metadata(nothing).detections is None
        assert layer_metadata(nothing).threshold is None


def test_a_layer_is_written_at_the_present_thresholds() -> None:
    found = result()
    live = LiveResult(found)
    live.set_threshold("MA", 0.7)
    metadata = {METADATA_KEY: LayerMetadata(kind="labels", lesion="MA", live=live)}
    labels = found.threshold({"MA": 0.7}).labels["MA"]
    written = detections_from_layer(labels, {"metadata": metadata})
    assert written.lesions == ("MA",)
    assert written.thresholds == {"MA": 0.7}
    assert written.provenance.edited == ()
    np.testing.assert_array_equal(written.labels["MA"] > 0, labels > 0)
    boxes = {METADATA_KEY: replace(metadata[METADATA_KEY], kind="boxes")}
    assert detections_from_layer([], {"metadata": boxes}, "shapes").lesions == ("MA",)


@pytest.mark.parametrize("data", [np.zeros((3, 4), np.float32), np.zeros((2, 3, 4), np.uint8)])
def test_a_layer_that_is_no_labels_of_a_picture_is_not_written(data) -> None:
    with pytest.raises(FundusError, match="'soft' carries no result"):
        detections_from_layer(data, {"name": "soft"})
