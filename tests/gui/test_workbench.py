"""The workbench in a real window: find, correct, fine-tune on that, find again, judge."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_fundus.checkpoints import list_checkpoints
from napari_fundus.datasets import open_dataset
from napari_fundus.results.layer_metadata import layer_metadata

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def result_labels(viewer, checkpoint: str) -> list[Labels]:
    """Return the labels layers that these weights gave."""
    found = []
    for layer in viewer.layers:
        metadata = layer_metadata(layer)
        if metadata.kind == "labels" and metadata.provenance["checkpoint"] == checkpoint:
            found.append(layer)
    return found


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 950)
    return viewer


def test_the_whole_loop(viewer, qtbot, wait, layer_turns, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_FUNDUS_REVIEWS", str(tmp_path / "reviews"))
    turns = layer_turns(viewer)

    def open_widget(title: str):
        dock, widget = viewer.window.add_plugin_dock_widget("napari-fundus", title, tabify=True)
        del dock
        turns.skip()
        return widget

    # Open the sample: a photograph, and the experts' masks.
    viewer.open_sample("napari-fundus", "idrid")
    photograph = viewer.layers["IDRiD_13"]
    before = photograph.data.copy()
    viewer.layers.selection.active = photograph
    turns.skip()

    # Detect.
    detect = open_widget("Detect lesions")
    detect.choose("voting")
    detect.form.set_values({"stride": 64})
    shown: list = []
    detect.shown.connect(shown.append)
    turns.skip()
    turns.doing = "detect"
    detect.run()
    wait(lambda: shown)
    assert result_labels(viewer, "voting-idrid")

    # Correct five lesions by key and brush.
    review = open_widget("Review lesions")
    turns.doing = "review"
    wait(lambda: review.ready and review.current is not None)
    labels = review.review.labels["MA"]
    first = list(review.queue.ids[:3])
    canvas = viewer.window._qt_viewer.canvas.native
    for key, verdict in (("A", "accepted"), ("R", "rejected"), ("2", "relabelled")):
        one = review.current.id
        qtbot.keyClick(canvas, getattr(Qt.Key, f"Key_{key}"))
        wait(lambda one=one, verdict=verdict: review.review.lesions[one].verdict == verdict)
    assert {review.review.lesions[i].verdict for i in first} == {
        "accepted",
        "rejected",
        "relabelled",
    }
    layer = next(x for x in result_labels(viewer, "voting-idrid") if x.data is labels)
    free = np.argwhere(labels[200:-200:50, 200:-200:50] == 0)[0] * 50 + 200
    turns.skip()
    review.draw("MA")
    qtbot.wait(50)
    layer.brush_size = 6
    layer.paint(tuple(free), layer.selected_label)
    wait(lambda: any(x.verdict == "drawn" for x in review.review.lesions.values()))
    drawn = next(x for x in review.review.lesions.values() if x.verdict == "drawn")
    assert labels[tuple(free)] == drawn.id
    other = next(x for x in review.review.lesions.values() if x.present and x.verdict is None)
    row, col = (int(v) for v in other.centroid)
    turns.skip()
    review.select(other.id)
    qtbot.wait(50)
    review.erase()
    layer.brush_size = 100
    erased = int((labels == other.id).sum())
    turns.skip()
    layer.paint((row, col), 0)
    wait(lambda: int((labels == other.id).sum()) < erased)

    # Undo one.
    turns.skip()
    review.undo()
    wait(lambda: int((labels == other.id).sum()) == erased)

    # Save.
    turns.skip()
    saved: list = []
    review.saved.connect(saved.append)
    folder = tmp_path / "corrections"
    review.save(folder)
    wait(lambda: saved)
    sample = open_dataset(folder)[0]
    np.testing.assert_array_equal(sample.mask("MA", labels.shape), labels > 0)
    np.testing.assert_array_equal(photograph.data, before)
    turns.skip()

    # Fine-tune three short epochs with Interleaved Freezing.
    train = open_widget("Train or fine-tune")
    turns.doing = "train"
    train.choose("voting")
    train.set_data(folder)
    train.job_form.checkpoint_choice.choose("voting-idrid")
    train.job_form.scheme_choice.set_scheme("interleaved")
    train.job_form.settings.set_settings(
        {
            "max_epochs": 3,
            "steps_per_epoch": 4,
            "batch_size": 16,
            "validation_tiles": 50,
            "dry_steps": 1,
            "allow_leakage": True,
            "preview_every": 1,
        }
    )
    train.job_form.run_folder.name.setText("walk")
    turns.skip()
    ended: list = []
    train.finished.connect(ended.append)
    train.start()
    assert train.session.request.in_subprocess, "the window's process does not grow"
    wait(lambda: ended)
    outcome = ended[0]
    assert outcome.problem == ""
    assert outcome.finished.epochs == 3
    assert outcome.card.recipe["training"]["scheme"] == "interleaved"
    assert outcome.name in {info.name for info in list_checkpoints()}

    # Detect with the new checkpoint.
    turns.doing = "detect again"
    shown.clear()
    detect.form.set_values({"checkpoint": outcome.name, "stride": 64})
    viewer.layers.selection.active = photograph
    turns.skip()
    detect.run()
    wait(lambda: shown)
    assert result_labels(viewer, outcome.name)

    # And once more with the same: its layers take the new result, none goes.
    first = result_labels(viewer, outcome.name)
    known = {id(layer) for layer in viewer.layers}
    turns.doing = "detect the same again"
    shown.clear()
    turns.skip()
    detect.run()
    wait(lambda: shown)
    assert list(map(id, result_labels(viewer, outcome.name))) == list(map(id, first))
    assert {id(layer) for layer in viewer.layers} == known

    # Evaluate before and after.
    evaluate = open_widget("Evaluate against truth")
    turns.doing = "evaluate"
    truth = [x for x in viewer.layers if layer_metadata(x).kind == "truth"]
    metrics = {}
    for name in ("voting-idrid", outcome.name):
        updated: list = []
        evaluate.updated.connect(lambda updated=updated: updated.append(True))
        evaluate.choose(result_labels(viewer, name), truth)
        wait(lambda updated=updated: updated and not evaluate.busy)
        metrics[name] = evaluate.assessment
    for found in metrics.values():
        row = found.metrics.set_index("lesion").loc["MA"]
        assert row["lesions"] > 100
        assert 0 < row["sensitivity"] <= 1
        assert 0 < row["aupr"] < 1
    assert turns.removed == 0
    assert max(turns.added)[0] == 1, sorted(turns.added)[-5:]
