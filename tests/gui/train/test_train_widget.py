"""The widget trains, holds, stops and resumes; its weights serve at once, and errors are told."""

from __future__ import annotations

import signal
import subprocess
import weakref

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_fundus.backends.voting.options import VotingOptions
from napari_fundus.checkpoints import list_checkpoints, load_checkpoint, read_card
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.train import session as sessions
from napari_fundus.gui.train.session import TrainingSession
from napari_fundus.results.layer_metadata import lesion_in_name
from napari_fundus.training.jobs import process
from napari_fundus.training.jobs.config import read_training_config
from napari_fundus.training.loop import run
from napari_fundus.training.loop.state import LAST_FILE
from napari_fundus.training.patches.task import PatchTask

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def ready(widget, data, small, runs, **changes):
    """Fill the widget with a training of seconds from scratch."""
    widget.set_data(data)
    widget.job_form.settings.set_settings({**small, **changes})
    widget.job_form.run_folder.parent_folder.set_path(runs)
    return widget


def listen(widget):
    """Return what the widget's ends will be gathered in."""
    ends: list = []
    widget.finished.connect(ends.append)
    widget.failed.connect(ends.append)
    widget.checked.connect(lambda: ends.append("checked"))
    return ends


def test_nothing_of_a_training_is_held_when_the_device_s_memory_is_given_back(
    make, data, small, tmp_path, wait, monkeypatch
):
    """Torch gives back what no tensor holds: so it counts which tensors live at that moment."""
    known: dict[str, list[weakref.ref]] = {"network": [], "optimizer": [], "batch": []}
    alive: list[set[str]] = []

    class Watched(run.Learner):
        def __init__(self, network, *rest):
            super().__init__(network, *rest)
            known["network"] += map(weakref.ref, [network, *network.parameters()])
            known["optimizer"].append(weakref.ref(self._optimizer))

        def step(self):
            super().step()
            moments = [x for kept in self._optimizer.state.values() for x in kept.values()]
            known["optimizer"] += [weakref.ref(x) for x in moments if torch.is_tensor(x)]

    augment = PatchTask.augment

    def watched(task, batch):
        made = augment(task, batch)
        known["batch"] += [weakref.ref(x) for x in (*batch.values(), *made.values())]
        return made

    def count(device):
        alive.append({kind for kind, refs in known.items() if any(x() is not None for x in refs)})

    monkeypatch.setattr(run, "Learner", Watched)
    monkeypatch.setattr(PatchTask, "augment", watched)
    monkeypatch.setattr(sessions, "release_memory", count)
    widget = ready(make(), data, small, tmp_path / "runs")
    ends = listen(widget)
    widget.start()
    wait(lambda: ends)
    assert ends[0].problem == ""
    assert all(len(refs) > 1 for refs in known.values()), "each kind was seen"
    assert alive == [set()]


def test_a_training_shows_how_it_goes_and_its_weights_serve_at_once(
    make, data, small, tmp_path, wait, monkeypatch, qtbot
):
    released = []
    monkeypatch.setattr(sessions, "release_memory", released.append)
    widget = ready(make(), data, small, tmp_path / "runs", momentum=0.5, positive_share=0.6)
    detect = ModelForm(VotingOptions)
    qtbot.addWidget(detect.native)
    ends = listen(widget)
    widget.start()
    assert not widget.controls.start_button.isEnabled()
    wait(lambda: ends)
    (outcome,) = ends
    assert outcome.problem == ""
    assert outcome.finished.epochs == 2
    assert widget.session is None
    assert widget.controls.start_button.isEnabled()
    assert released == ["cpu"]

    name = outcome.name
    assert widget.job_form.run_folder.name.text() != name, "the next run gets a name of its own"
    assert name in {info.name for info in list_checkpoints()}
    editor = detect.editors["checkpoint"]
    editor.control.refresh()
    assert name in editor.control.names()
    assert widget.job_form.checkpoint_choice.findData(name) > 0
    card = load_checkpoint(name, detector="voting").card
    assert card.recipe["training"]["momentum"] == 0.5
    assert card.recipe["training"]["steps_per_epoch"] == 3
    assert card.recipe["options"]["positive_share"] == 0.6
    assert name in widget.card.text()
    assert "1 trained on, 1 held back" in widget.card.text()

    assert "Training voting on cpu" in widget.report.text()
    assert [epoch for epoch, _ in widget.curves.metric_history] == [0, 1]
    assert len(widget.curves.losses) == 6
    assert widget.curves.losses[-1][0] == pytest.approx(2.0), "steps and epochs share an axis"
    previews = [x for x in widget._viewer.layers if x.name.startswith("Training preview")]
    assert [x.name for x in previews] == ["Training preview, epoch 2"]
    assert read_training_config(tmp_path / "runs" / name).settings["momentum"] == 0.5


def test_stopped_it_keeps_the_best_and_another_window_goes_on(make, data, small, tmp_path, wait):
    widget = ready(make(in_subprocess=True), data, small, tmp_path / "runs", max_epochs=300)
    ends = listen(widget)
    widget.start()
    wait(lambda: widget.curves.metric_history)
    widget.stop()
    wait(lambda: ends)
    assert ends[0].finished is None
    assert ends[0].name
    load_checkpoint(ends[0].name, detector="voting")
    folder = ends[0].folder
    assert widget.job_form.run_folder.folder() == folder, "going on is what is offered next"
    made = len(read_card(folder / LAST_FILE).recipe["training_state"]["history"])
    assert made < 300

    again = make(in_subprocess=True)
    again.open_run(folder)
    assert len(again.curves.metric_history) == made, "the epochs made before are shown"
    assert again.job_form.settings.settings()["max_epochs"] == 300
    assert again.job_form.data_choice.data() == data.resolve()
    again.job_form.settings.budget.editors["max_epochs"].set_value(made + 1)
    ends = listen(again)
    again.start()
    wait(lambda: ends)
    assert ends[0].finished.epochs == made + 1
    assert len(again.curves.metric_history) == made + 1
    assert ends[0].problem == "", "a run replaces its own weights"


def test_a_paused_training_says_so_and_goes_on(make, data, small, tmp_path, wait):
    widget = ready(make(), data, small, tmp_path / "runs", max_epochs=500)
    ends = listen(widget)
    widget.start()
    wait(lambda: widget.curves.losses)
    widget.pause()
    wait(lambda: widget.controls.state == "paused" or ends)
    assert not ends
    assert widget.controls.pause_button.text() == "Go on"
    epochs = len(widget.curves.metric_history)
    widget.pause()
    wait(lambda: len(widget.curves.metric_history) > epochs)
    widget.stop()
    wait(lambda: ends)
    assert ends[0].finished is None


def test_a_killed_training_is_reported_and_the_window_goes_on(
    make, data, small, tmp_path, wait, monkeypatch
):
    children = []
    start = subprocess.Popen
    monkeypatch.setattr(
        process.subprocess, "Popen", lambda *a, **k: children.append(start(*a, **k)) or children[-1]
    )
    widget = ready(make(in_subprocess=True), data, small, tmp_path / "runs", max_epochs=200)
    ends = listen(widget)
    widget.start()
    folder = widget.job_form.run_folder.folder()
    wait(lambda: widget.curves.metric_history and (folder / LAST_FILE).exists())
    children[0].send_signal(signal.SIGKILL)
    wait(lambda: ends)
    assert "SIGKILL" in str(ends[0])
    assert "can be resumed" in widget.controls.message_label.text()
    wait(lambda: widget.session is None)
    assert widget.controls.start_button.isEnabled()
    assert widget.job_form.run_folder.resume(), "going on is what is offered next"


def test_patches_are_shown_in_layers_that_are_kept(make, data, small, tmp_path, wait):
    widget = ready(make(), data, small, tmp_path / "runs")
    ends = listen(widget)
    widget.preview_patches()
    wait(lambda: ends and widget.session is None)
    assert ends == ["checked"]
    wait(lambda: len(widget._viewer.layers) == 2)
    image, masks = widget._viewer.layers
    assert image.name == "Training patches"
    assert set(np.unique(masks.data)) == {0, 1}
    assert masks.data.shape == image.data.shape[:2]
    assert "Training voting" in widget.report.text()
    assert not list((tmp_path / "runs").iterdir()), "a check leaves nothing"
    widget.job_form.settings.options.editors["positive_share"].set_value(0.2)
    before = image.data.copy()
    widget.preview_patches()
    wait(lambda: len(ends) == 2 and widget.session is None)
    assert list(widget._viewer.layers) == [image, masks]
    assert not np.array_equal(image.data, before)


def test_the_open_image_and_its_labels_are_learned_from(make, draw, small, tmp_path, wait):
    retina = draw(160, 200)
    viewer = ViewerModel()
    viewer.add_image(retina.pixels, name="eye", rgb=True)
    viewer.add_labels(retina.masks["MA"].astype(np.uint16), name="eye: microaneurysms")
    viewer.add_labels(retina.masks["HE"].astype(np.uint16), name="something else")
    widget = ready(make(viewer), None, small, tmp_path / "runs", allow_leakage=True)
    assert [lesion for _, lesion in widget.job_form.data_choice.checked_labels()] == ["MA"]
    ends = listen(widget)
    widget.check()
    wait(lambda: ends and widget.session is None)
    assert ends == ["checked"]
    assert "upper half" in widget.report.text()
    assert not list((tmp_path / "runs").iterdir()), "a check leaves nothing"
    widget.start()
    wait(lambda: len(ends) == 2)
    assert ends[1].finished.epochs == 2
    assert read_training_config(ends[1].folder).data == str((ends[1].folder / "data").resolve())


def test_fine_tuning_begins_with_interleaved_freezing(make):
    widget = make()
    assert not widget.job_form.scheme_choice.isEnabled()
    assert widget.job_form.scheme_choice.scheme() == "full"
    widget.job_form.checkpoint_choice.choose("voting-idrid")
    assert widget.job_form.scheme_choice.scheme() == "interleaved"
    widget.job_form.scheme_choice.set_scheme("freeze_5_bn")
    assert widget.job_form.job_config("x").settings["scheme"] == "freeze_5_bn"
    widget.job_form.checkpoint_choice.choose(None)
    assert widget.job_form.scheme_choice.scheme() == "full"


def test_it_starts_from_the_method_and_the_weights_of_a_result(make):
    widget = make()
    widget.start_from("voting", "voting-idrid")
    assert widget.job_form.detector.name == "voting"
    assert widget.job_form.checkpoint_choice.checkpoint() == "voting-idrid"
    widget.start_from("voting", "weights that are gone")
    assert "weights that are gone" in widget.controls.message_label.text()
    widget.start_from("a method that is gone", None)
    assert "a method that is gone" in widget.controls.message_label.text()


def test_a_method_without_schemes_says_why(make, qtbot):
    from napari_fundus.gui.train import TrainWidget

    widget = TrainWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.choose("unet")
    widget.job_form.checkpoint_choice.choose("unet-idrid")
    assert widget.job_form.scheme_choice.scheme() == "full"
    assert "U-Net" in widget.job_form.scheme_choice.reason.text()
    widget.choose("cam")
    assert "grades" in widget.job_form.data_needs_label.text()
    widget.shutdown()


def test_what_is_wrong_is_told_before_anything_starts(make, data, small, tmp_path):
    widget = make()
    ends = listen(widget)
    widget.start()
    assert "Choose the folder" in str(ends[-1])
    ready(widget, data, small, tmp_path / "runs")
    widget.job_form.run_folder.name.setText("voting-idrid")
    widget.start()
    assert "another name" in str(ends[-1])
    widget.job_form.run_folder.name.setText("no/name")
    widget.start()
    assert "no name" in str(ends[-1])
    with pytest.raises(FundusError, match="holds no run"):
        widget.open_run(tmp_path)
    assert widget.session is None


def test_the_command_copied_is_that_of_the_form(make, data, small, tmp_path, qapp):
    widget = ready(make(), data, small, tmp_path / "runs")
    widget.copy_button.click()
    line = QApplication.clipboard().text()
    assert line.startswith(f"napari-fundus train voting --data {data.resolve()}")
    assert "--set width=2" in line


def test_a_closed_widget_stops_its_training_which_can_be_resumed(make, data, small, tmp_path, wait):
    widget = ready(make(), data, small, tmp_path / "runs", max_epochs=500)
    widget.start()
    running = widget.session
    assert isinstance(running, TrainingSession)
    folder = running.request.folder
    wait(lambda: widget.curves.metric_history)
    widget.shutdown()
    assert running.monitor.cancelled
    wait(lambda: not running._job._worker.is_running)
    assert (folder / LAST_FILE).exists()


@pytest.mark.parametrize(
    ("name", "lesion"),
    [
        ("eye: hard exudates", "EX"),
        ("eye: haemorrhages (experts)", "HE"),
        ("eye_MA", "MA"),
        ("SE", "SE"),
        ("vessels", None),
    ],
)
def test_the_class_of_labels_is_told_by_the_end_of_their_name(name, lesion):
    assert lesion_in_name(name) == lesion
