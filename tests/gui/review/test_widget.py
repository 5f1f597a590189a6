"""The review widget: keys, strokes, undo, autosave with recovery, and what is saved."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Shapes
from napari.utils.key_bindings import KeymapHandler
from PIL import Image

from napari_fundus.datasets import open_dataset
from napari_fundus.datasets.corrections import read_correction
from napari_fundus.gui import add_detections
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.build import image_layer
from napari_fundus.gui.review.widget import ReviewWidget
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.review.autosave import read_autosave

pytestmark = pytest.mark.gui

SHAPE = (96, 128)


def result(image: FundusImage, *, seed: int = 0, detector: str = "tophat") -> Detections:
    rng = np.random.default_rng(seed)
    maps = {}
    for code in ("MA", "HE", "EX"):
        values = np.zeros(SHAPE, np.float32)
        for row, col in rng.integers(6, 80, (6, 2)):
            values[row : row + 4, col : col + 5] = rng.uniform(0.5, 1)
        maps[code] = values
    provenance = Provenance(
        detector=detector,
        detector_version="1",
        package_version="0",
        image_name=image.name,
        image_shape=SHAPE,
        image_sha256=image.sha256,
    )
    return Detections(provenance, maps, dict.fromkeys(maps, 0.5))


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    path = tmp_path / "source" / "eye.png"
    path.parent.mkdir()
    Image.fromarray(draw(*SHAPE).pixels).save(path)
    return path


@pytest.fixture
def viewer(source) -> ViewerModel:
    viewer = ViewerModel()
    image = read_image(source)
    data, meta, _ = image_layer(image)
    layer = viewer.add_image(data, **meta)
    add_detections(viewer, result(image), layer)
    return viewer


@pytest.fixture
def open_review(qtbot, wait, tmp_path):
    widgets = []

    def make(viewer: ViewerModel) -> ReviewWidget:
        widget = ReviewWidget(viewer, autosave_folder=tmp_path / "reviews")
        qtbot.addWidget(widget)
        widgets.append(widget)
        wait(lambda: widget.ready)
        return widget

    yield make
    for widget in widgets:
        if not getattr(widget, "gone", False):
            widget.shutdown()


@pytest.fixture
def widget(viewer, open_review) -> ReviewWidget:
    return open_review(viewer)


def labels_of(viewer: ViewerModel) -> dict:
    return {
        layer.metadata[METADATA_KEY].lesion: layer
        for layer in viewer.layers
        if layer_metadata(layer).kind == "labels"
    }


def press(viewer: ViewerModel, key: str) -> None:
    """Press a key as the canvas would, with the active layer asked first."""
    handler = KeymapHandler()
    active = viewer.layers.selection.active
    handler.keymap_providers = [x for x in (active, viewer) if x is not None]
    handler.press_key(key)


def state(viewer: ViewerModel, widget: ReviewWidget) -> tuple:
    arrays = {code: layer.data.copy() for code, layer in labels_of(viewer).items()}
    tables = {code: table.copy() for code, table in widget.review.tables.items()}
    return arrays, tables


def assert_state(viewer: ViewerModel, widget: ReviewWidget, before: tuple) -> None:
    for code, array in before[0].items():
        np.testing.assert_array_equal(labels_of(viewer)[code].data, array)
        pd.testing.assert_frame_equal(widget.review.tables[code], before[1][code])


def paint(layer, row: int, col: int, value: int | None = None, size: int = 3) -> None:
    """Paint a stroke of two dabs as the mouse does."""
    layer.brush_size = size
    chosen = layer.selected_label if value is None else value
    with layer.block_history():
        layer.paint((row, col), chosen)
        layer.paint((row, col + 1), chosen)


def free_place(layer) -> tuple[int, int]:
    for row in range(8, 80):
        for col in range(8, 110):
            if not layer.data[row - 6 : row + 7, col - 6 : col + 8].any():
                return row, col
    raise AssertionError("no free place")


def test_the_newest_result_comes_by_itself(widget, viewer) -> None:
    found = sum(len(np.unique(layer.data)) - 1 for layer in labels_of(viewer).values())
    assert len(widget.queue) == found
    assert widget.review.counts["left"] == found
    assert widget.current is not None
    assert widget.list.model.rowCount() == found


@pytest.mark.parametrize(("key", "verdict"), [("A", "accepted"), ("R", "rejected")])
def test_verdict_keys_judge_and_go_on(widget, viewer, key, verdict) -> None:
    one, then = widget.queue.ids[:2]
    press(viewer, key)
    assert widget.review.lesions[one].verdict == verdict
    assert widget.current.id == then
    there = any((layer.data == one).any() for layer in labels_of(viewer).values())
    assert there == (verdict == "accepted")


@pytest.mark.parametrize(("key", "code"), [("1", "MA"), ("2", "HE"), ("3", "EX"), ("4", "SE")])
def test_number_keys_move_a_lesion_to_a_class(widget, viewer, qtbot, key, code) -> None:
    one = widget.current
    press(viewer, key)
    qtbot.waitUntil(lambda: code in labels_of(viewer), timeout=300_000)
    layers = labels_of(viewer)
    assert (layers[code].data == one.id).any()
    assert one.id in set(layers[code].features["index"])
    if code != one.lesion:
        assert not (layers[one.lesion].data == one.id).any()
        assert widget.review.lesions[one.id].verdict == "relabelled"


def test_n_and_p_move_and_z_zooms(widget, viewer) -> None:
    first, second = widget.queue.ids[:2]
    press(viewer, "N")
    assert widget.current.id == second
    press(viewer, "P")
    assert widget.current.id == first
    before = viewer.scene.camera.zoom
    press(viewer, "Z")
    assert viewer.scene.camera.zoom > before
    row, col = widget.current.centroid
    assert viewer.scene.camera.center[-2:] == pytest.approx((row, col), abs=3)
    press(viewer, "Z")
    assert viewer.scene.camera.zoom == pytest.approx(before, rel=0.3)


def test_d_and_e_take_brush_and_eraser_and_put_them_down(widget, viewer) -> None:
    widget.judge.drawn.setCurrentIndex(widget.judge.drawn.findData("SE"))
    press(viewer, "D")
    layer = viewer.layers.selection.active
    assert layer is labels_of(viewer)["SE"]
    assert (layer.mode, layer.selected_label) == ("paint", widget.review.next_id)
    press(viewer, "D")
    assert layer.mode == "pan_zoom"
    press(viewer, "E")
    assert viewer.layers.selection.active.mode == "erase"


def test_keys_work_whatever_image_or_labels_layer_is_active_and_are_given_back(
    widget, viewer
) -> None:
    photograph = viewer.layers[0]
    before = dict(photograph.keymap)
    viewer.layers.selection.active = photograph
    press(viewer, "A")
    assert widget.review.counts["accepted"] == 1
    viewer.layers.selection.active = photograph
    widget._keys.release()
    assert dict(photograph.keymap) == before
    shapes = viewer.add_shapes(ndim=2)
    widget._keys.hold()
    assert not shapes.keymap


def test_undo_and_redo_by_key_go_through_everything(widget, viewer, wait) -> None:
    states = [state(viewer, widget)]

    def note() -> None:
        states.append(state(viewer, widget))

    for action in (widget.accept, widget.reject, lambda: widget.relabel("HE")):
        action()
        note()
    layer = labels_of(viewer)["MA"]
    row, col = free_place(layer)
    paint(layer, row, col)
    wait(lambda: widget.review.counts["drawn"] == 1)
    note()
    paint(layer, row, col, 0, size=2)
    wait(lambda: len(widget.review.stack) == 5)
    note()
    widget.reject()
    note()
    for before in reversed(states[:-1]):
        press(viewer, "Control-Z")
        assert_state(viewer, widget, before)
    assert widget.review.stack.undo_title is None
    for after in states[1:]:
        press(viewer, "Control-Shift-Z")
        assert_state(viewer, widget, after)


def test_each_stroke_draws_a_lesion_of_its_own(widget, viewer, wait) -> None:
    layer = labels_of(viewer)["EX"]
    first = widget.review.next_id
    paint(layer, *free_place(layer))
    wait(lambda: widget.review.counts["drawn"] == 1)
    paint(layer, *free_place(layer))
    wait(lambda: widget.review.counts["drawn"] == 2)
    assert {first, first + 1} <= set(np.unique(layer.data).tolist())
    assert layer.features["index"].tolist()[-2:] == [first, first + 1]
    assert widget.queue.ids[-2:] == [first, first + 1]


@pytest.mark.parametrize("tool", ["polygon", "setitem", "fill"])
def test_every_tool_of_napari_is_noticed(widget, viewer, tool) -> None:
    layer = labels_of(viewer)["MA"]
    row, col = free_place(layer)
    if tool == "polygon":
        layer.paint_polygon([(row, col), (row, col + 4), (row + 4, col)], layer.selected_label)
    elif tool == "setitem":
        layer.data_setitem((np.array([row, row]), np.array([col, col + 1])), layer.selected_label)
    else:
        lesion = next(x for x in widget.review.lesions.values() if x.lesion == "MA")
        layer.fill(np.argwhere(layer.data == lesion.id)[0], 0)
    widget.undo()  # takes note of the stroke first, though napari has told of it too early
    assert widget.review.stack.redo_title is not None
    assert len(widget.review.stack) == 0


def test_clicking_a_lesion_selects_it(widget, viewer) -> None:
    lesion = widget.review.lesions[widget.queue.ids[5]]
    pixel = np.argwhere(labels_of(viewer)[lesion.lesion].data == lesion.id)[0]
    widget.controller.cursor._on_clicked((float(pixel[0]), float(pixel[1])))
    at = widget.current
    assert (at.id == lesion.id) or at.area <= lesion.area  # a smaller one may lie on it
    widget.list.chosen.emit(widget.queue.ids[2])
    assert widget.current.id == widget.queue.ids[2]


def test_orders_and_a_class_can_be_chosen_in_the_list(widget) -> None:
    widget.list.order.setCurrentIndex(widget.list.order.findData("lowest"))
    scores = [widget.review.lesions[i].score for i in widget.queue.ids]
    assert scores == sorted(scores)
    widget.list.only.setCurrentIndex(widget.list.only.findData("HE"))
    assert {widget.review.lesions[i].lesion for i in widget.queue.ids} == {"HE"}


def test_only_the_result_under_review_is_seen(viewer, source, open_review, wait) -> None:
    first = list(labels_of(viewer).values())
    image = read_image(source)
    other = add_detections(viewer, result(image, seed=1, detector="unet"), viewer.layers[0])
    theirs = [x for x in other if x.metadata[METADATA_KEY].kind == "labels"]
    widget = open_review(viewer)
    assert all(layer.visible for layer in theirs)
    assert not any(layer.visible for layer in first)
    widget.set_layers(first)
    wait(lambda: widget.ready)
    assert all(layer.visible for layer in first)
    assert not any(layer.visible for layer in theirs)
    widget.set_layers(first, other=theirs)
    wait(lambda: widget.ready)
    assert all(layer.visible for layer in first)


def test_a_second_detector_s_findings_come_as_candidates(viewer, source, open_review, wait) -> None:
    image = read_image(source)
    first = list(labels_of(viewer).values())
    other = add_detections(viewer, result(image, seed=1, detector="unet"), viewer.layers[0])
    widget = open_review(viewer)
    assert widget.results.result.count() == 2
    theirs = [x for x in other if x.metadata[METADATA_KEY].kind == "labels"]
    widget.set_layers(first, other=theirs)
    wait(lambda: widget.ready and widget.controller.other is not None)
    widget.list.order.setCurrentIndex(widget.list.order.findData("disagreement"))
    alone = [widget.review.lesions[i].alone for i in widget.queue.ids]
    assert alone == sorted(alone, reverse=True)
    candidate = next(x for x in widget.review.lesions.values() if x.source == "unet")
    widget.select(candidate.id)
    widget.accept()
    layer = {x.metadata[METADATA_KEY].lesion: x for x in first}[candidate.lesion]
    assert (layer.data == candidate.id).any()


@pytest.mark.parametrize("with_panel", [False, True])
@pytest.mark.parametrize("by", ["widget", "napari"])
def test_what_is_undone_gives_the_classes_back_to_their_sliders(
    viewer, open_review, qtbot, wait, by, with_panel
) -> None:
    layers = labels_of(viewer)
    live = layer_metadata(layers["MA"]).live
    if with_panel:
        panel = ResultsPanel(viewer, live, list(viewer.layers))
        qtbot.addWidget(panel)
        wait(lambda: not panel.busy)
    widget = open_review(viewer)
    before = state(viewer, widget)
    row, col = free_place(layers["MA"])
    paint(layers["MA"], row, col)
    wait(lambda: widget.review.counts["drawn"] == 1)
    assert live.edited == set(layers)
    (widget if by == "widget" else layers["MA"]).undo()
    assert live.edited == frozenset()
    assert_state(viewer, widget, before)
    assert widget.review.counts["drawn"] == 0
    (widget if by == "widget" else layers["MA"]).redo()
    assert widget.review.counts["drawn"] == 1
    assert live.edited == set(layers)


def test_an_undo_of_napari_s_amid_other_verdicts_is_a_change_like_any_other(
    widget, viewer, wait
) -> None:
    layer = labels_of(viewer)["MA"]
    row, col = free_place(layer)
    paint(layer, row, col)
    wait(lambda: widget.review.counts["drawn"] == 1)
    (drawn,) = (x for x in widget.review.lesions.values() if x.verdict == "drawn")
    widget.accept()
    layer.undo()
    assert widget.review.lesions[drawn.id].verdict == "rejected"
    assert drawn.id not in set(widget.review.tables["MA"]["index"])
    assert widget.review.counts["accepted"] == 1
    widget.undo()
    assert widget.review.lesions[drawn.id].present


def test_a_review_that_has_ended_leaves_the_sliders_what_it_did_not_change(widget, viewer) -> None:
    live = layer_metadata(labels_of(viewer)["MA"]).live
    changed = widget.current.lesion
    widget.reject()
    other = next(x for x in widget.review.lesions.values() if x.lesion != changed)
    widget.select(other.id)
    widget.accept()
    assert live.edited == set(labels_of(viewer))
    widget.gone = True
    widget.shutdown()
    assert live.edited == {changed}


def test_the_sliders_let_go_of_labels_under_review(
    viewer, source, open_review, qtbot, wait
) -> None:
    image = read_image(source)
    found = result(image)
    viewer.layers.clear()
    data, meta, _ = image_layer(image)
    layer = viewer.add_image(data, **meta)
    layers = add_detections(viewer, found, layer)
    panel = ResultsPanel(viewer, layer_metadata(layers[0]).live, layers)
    qtbot.addWidget(panel)
    widget = open_review(viewer)
    before = len(widget.queue)
    panel.live.set_threshold("MA", 0.8)
    wait(lambda: not panel.busy)
    wait(lambda: widget.ready and len(widget.queue) != before)
    widget.accept()
    arrays = {code: x.data.copy() for code, x in labels_of(viewer).items()}
    panel.live.set_threshold("EX", 0.9)
    wait(lambda: not panel.busy)
    for code, array in arrays.items():
        np.testing.assert_array_equal(labels_of(viewer)[code].data, array)
    panel.shutdown()


def correct_some(widget: ReviewWidget, viewer: ViewerModel) -> None:
    widget.accept()
    widget.reject()
    widget.relabel("HE")
    layer = labels_of(viewer)["EX"]
    paint(layer, *free_place(layer))


def test_what_was_saved_is_opened_with_same_masks_classes_and_region(
    widget, viewer, source, tmp_path, wait
) -> None:
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    listed = sorted(p.name for p in source.parent.iterdir())
    correct_some(widget, viewer)
    wait(lambda: widget.review.counts["drawn"] == 1)
    box = np.array([[4, 4], [4, 100], [90, 100], [90, 4]], float)
    region = viewer.add_shapes([box], shape_type="polygon", name="mine")
    widget.save_box.set_region(region)
    for code, box in widget.save_box.classes.items():
        if box.isChecked() != (code in ("HE", "EX")):
            box.click()
    places: list[Path] = []
    widget.saved.connect(places.append)
    widget.save(tmp_path / "corrections")
    wait(lambda: places and not widget.busy)
    (sample,) = open_dataset(tmp_path / "corrections")
    assert sample.annotated == {"HE", "EX"}
    inside = np.zeros(SHAPE, np.bool_)
    inside[4:91, 4:101] = True
    np.testing.assert_array_equal(sample.region(SHAPE), inside)
    for code in ("HE", "EX"):
        expected = (labels_of(viewer)[code].data > 0) & inside
        np.testing.assert_array_equal(sample.mask(code, SHAPE), expected)
    record = read_correction(places[0])
    assert record.classes["EX"].provenance["detector"] == "tophat"
    verdicts = {v.verdict for part in record.classes.values() for v in part.verdicts}
    assert {"relabelled", "drawn"} <= verdicts
    assert sample.image().sha256 == read_image(source).sha256
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert sorted(p.name for p in source.parent.iterdir()) == listed
    assert str(places[0]) in widget.save_box.message.text()


def test_a_class_is_ticked_once_something_in_it_was_judged(widget) -> None:
    assert widget.save_box.reviewed() == []
    assert widget.save() is None
    assert "Tick the classes" in widget.save_box.message.text()
    one = widget.current.lesion
    widget.accept()
    assert widget.save_box.reviewed() == [one]
    widget.undo()
    assert widget.save_box.reviewed() == []
    widget.save_box.classes[one].click()
    widget.accept()
    widget.undo()
    assert widget.save_box.reviewed() == [one]  # the reviewer has said so


def test_a_region_that_encloses_nothing_is_told_of(widget, viewer, tmp_path) -> None:
    widget.accept()
    widget.draw_region()
    assert isinstance(viewer.layers.selection.active, Shapes)
    assert widget.save(tmp_path / "c") is None
    assert "encloses nothing" in widget.save_box.message.text()


def test_a_folder_with_other_files_is_refused(widget, source, wait) -> None:
    widget.accept()
    widget.save(source.parent)
    wait(lambda: not widget.busy)
    assert "holds other files" in widget.save_box.message.text()
    assert [p.name for p in source.parent.iterdir()] == ["eye.png"]


def test_training_on_the_corrections_is_asked_for(widget, tmp_path, wait) -> None:
    asked: list[Path] = []
    widget.train_requested.connect(asked.append)
    assert not widget.save_box.train_button.isEnabled()
    widget.accept()
    widget.save(tmp_path / "c")
    wait(lambda: widget.save_box.train_button.isEnabled())
    widget.save_box.train_button.click()
    assert asked == [tmp_path / "c"]


def crash(widget: ReviewWidget) -> None:
    """Drop a widget without any farewell."""
    widget._keys.release()
    widget.controller._label_layers.release()
    widget.controller._autosaver._rest()
    widget.gone = True


def fresh_viewer(source: Path) -> ViewerModel:
    viewer = ViewerModel()
    image = read_image(source)
    data, meta, _ = image_layer(image)
    layer = viewer.add_image(data, **meta)
    add_detections(viewer, result(image), layer)
    return viewer


def test_a_review_is_taken_up_after_a_crash(widget, viewer, source, open_review, wait) -> None:
    correct_some(widget, viewer)
    widget.relabel("SE")  # a class that the result does not have
    wait(lambda: not widget.busy)  # autosaved by itself
    before = state(viewer, widget)
    counts = widget.review.counts
    crash(widget)
    again = fresh_viewer(source)
    second = open_review(again)
    assert second.results.banner.isVisibleTo(second)
    assert f"{sum(counts.values()) - counts['left']} verdicts" in second.results.banner_text.text()
    second.recover()
    wait(lambda: second.review.counts == counts)
    assert_state(again, second, before)
    for layer in labels_of(again).values():
        assert set(layer.features["index"]) == set(np.unique(layer.data[layer.data > 0]))
    second.reject()
    second.undo()
    assert_state(again, second, before)


def test_what_was_done_before_a_crash_can_be_undone_after_it(
    widget, viewer, source, open_review, wait
) -> None:
    start = state(viewer, widget)
    title = widget.review.stack.undo_title
    assert title is None
    widget.reject()
    one = state(viewer, widget)
    widget.relabel("HE" if widget.current.lesion != "HE" else "EX")
    steps = len(widget.review.stack)
    wait(lambda: not widget.busy)
    crash(widget)
    again = fresh_viewer(source)
    second = open_review(again)
    second.recover()
    wait(lambda: len(second.review.stack) == steps)
    second.undo()
    assert_state(again, second, one)
    second.undo()
    assert_state(again, second, start)
    assert second.review.stack.undo_title is None


def test_an_unfinished_review_stays_until_it_is_taken_up_or_discarded(
    widget, viewer, source, open_review, wait, tmp_path
) -> None:
    widget.accept()
    wait(lambda: not widget.busy)
    crash(widget)
    (kept,) = (tmp_path / "reviews").iterdir()
    content = kept.read_bytes()
    second = open_review(fresh_viewer(source))
    second.reject()
    second.reject()
    wait(lambda: not second.busy)
    assert kept.read_bytes() == content
    second.discard_unfinished()
    (own,) = (tmp_path / "reviews").iterdir()
    assert read_autosave(own).judged == 2


def judged(widget: ReviewWidget) -> dict[int, str]:
    return {x.id: x.verdict for x in widget.review.lesions.values() if x.verdict is not None}


def test_verdicts_given_while_an_unfinished_review_is_on_offer_are_kept(
    widget, source, open_review, wait, tmp_path
) -> None:
    widget.accept()
    widget.accept()
    widget.reject()
    first = judged(widget)
    widget.gone = True
    widget.shutdown()
    second = open_review(fresh_viewer(source))
    for _ in range(5):
        second.next()
    second.reject()
    second.relabel("SE")
    other = judged(second)
    assert not first.keys() & other.keys()
    second.gone = True
    second.shutdown()
    again = fresh_viewer(source)
    third = open_review(again)
    text = third.results.banner_text.text()
    assert "2 unfinished reviews" in text
    assert ("3 verdicts" in text, "2 verdicts" in text) == (True, True)
    third.recover()
    wait(lambda: not third.busy)
    assert judged(third) == {**first, **other}
    (kept,) = (tmp_path / "reviews").iterdir()
    assert read_autosave(kept).judged == 5
    for code, layer in labels_of(again).items():
        here = {x.id for x in third.review.lesions.values() if x.present and x.lesion == code}
        assert set(np.unique(layer.data[layer.data > 0])) == here


def test_taking_up_keeps_the_verdicts_given_meanwhile_and_the_later_counts(
    widget, source, open_review, wait
) -> None:
    first = widget.current.id
    widget.reject()
    widget.accept()
    earlier = judged(widget)
    widget.gone = True
    widget.shutdown()
    second = open_review(fresh_viewer(source))
    assert second.current.id == first
    second.accept()
    second.recover()
    wait(lambda: not second.busy)
    assert judged(second) == {**earlier, first: "accepted"}
    assert second.review.lesions[first].present
    second.undo()
    assert judged(second) == earlier


def test_the_work_is_kept_though_the_widget_is_closed_during_an_autosave(
    widget, source, open_review, wait
) -> None:
    widget.accept()
    widget.controller._autosaver.flush()
    widget.accept()
    widget.gone = True
    widget.shutdown()
    second = open_review(fresh_viewer(source))
    wait(lambda: "2 verdicts" in second.results.banner_text.text() or reopen(second))


def reopen(widget: ReviewWidget) -> bool:
    """Read the result again, and return False."""
    if widget.ready:
        widget.controller.load(widget.controller.found, None)
    return False


def test_a_file_that_cannot_be_read_is_told_of_and_stays(
    widget, source, open_review, wait, tmp_path
) -> None:
    widget.accept()
    wait(lambda: not widget.busy)
    crash(widget)
    (damaged,) = (tmp_path / "reviews").iterdir()
    damaged.write_bytes(b"PK\x03\x04 half a file")
    second = open_review(fresh_viewer(source))
    assert "damaged" in second.save_box.message.text()
    second.accept()
    wait(lambda: not second.busy)
    assert damaged.read_bytes() == b"PK\x03\x04 half a file"
    assert len(list((tmp_path / "reviews").iterdir())) == 2


def test_what_is_saved_as_corrections_is_unfinished_no_more(widget, tmp_path, wait) -> None:
    widget.accept()
    wait(lambda: not widget.busy)
    assert list((tmp_path / "reviews").iterdir())
    widget.save(tmp_path / "c")
    wait(lambda: not widget.busy)
    assert not list((tmp_path / "reviews").iterdir())


def test_closing_the_widget_keeps_what_is_unfinished(widget, tmp_path, wait) -> None:
    widget.accept()
    widget.gone = True
    widget.shutdown()
    wait(lambda: list((tmp_path / "reviews").glob("*.npz")))


def test_removing_a_layer_ends_the_review_and_keeps_it(widget, viewer, tmp_path, wait) -> None:
    widget.accept()
    viewer.layers.remove(labels_of(viewer)["MA"])
    assert widget.review is None
    widget.accept()  # of no effect, and no error
    widget.undo()
    wait(lambda: list((tmp_path / "reviews").glob("*.npz")))


def test_a_hidden_layer_is_corrected_too(widget, viewer) -> None:
    lesion = widget.current
    layer = labels_of(viewer)[lesion.lesion]
    layer.visible = False
    widget.reject()
    assert not (layer.data == lesion.id).any()
    widget.undo()
    assert (layer.data == lesion.id).any()


def test_no_command_copies_labels_of_12_megapixels(open_review, wait) -> None:
    shape = (2848, 4288)
    rng = np.random.default_rng(0)
    maps = {}
    for code in ("MA", "HE", "EX"):
        values = np.zeros(shape, np.float32)
        for row, col in rng.integers(40, (2800, 4240), (250, 2)):
            values[row : row + 12, col : col + 12] = rng.uniform(0.5, 1)
        maps[code] = values
    provenance = Provenance(
        detector="tophat", detector_version="1", package_version="0", image_shape=shape
    )
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((*shape, 3), np.uint8), rgb=True, name="eye")
    add_detections(viewer, Detections(provenance, maps, dict.fromkeys(maps, 0.5)), layer)
    widget = open_review(viewer)
    ma = labels_of(viewer)["MA"]

    def stroke() -> None:
        paint(ma, *rng.integers(100, 2000, 2).tolist(), size=20)
        widget.controller.cursor.flush_strokes()

    def autosave() -> None:
        widget.controller._autosaver.flush()

    actions = {
        "accept": widget.accept,
        "reject": widget.reject,
        "relabel": lambda: widget.relabel("EX" if widget.current.lesion != "EX" else "HE"),
        "next": widget.next,
        "zoom": widget.toggle_zoom,
        "stroke": stroke,
        "undo": widget.undo,
        "redo": widget.redo,
        "autosave": autosave,
        "copying for a save": widget.controller._state,
    }
    peaks = {}
    for name, action in actions.items():
        tracemalloc.start()
        try:
            action()
            _, peaks[name] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        wait(lambda: not widget.controller._autosaver._job)
    # To be saved in a thread, the labels of each class are copied, once.
    saves = [peaks.pop(name) for name in ("autosave", "copying for a save")]
    assert max(saves) < 1.1 * sum(layer.data.nbytes for layer in labels_of(viewer).values())
    assert max(peaks.values()) < ma.data.nbytes / 10, peaks
