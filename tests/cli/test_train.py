"""Training and lists of weights from the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from napari_fundus import plugins
from napari_fundus.backends.voting import Voting
from napari_fundus.checkpoints import read_card
from napari_fundus.cli import app
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.jobs.config import read_training_config

SETTINGS = {
    "width": 2,
    "patch": 16,
    "disc_diameter": 128,
    "batch_size": 8,
    "steps_per_epoch": 3,
    "validation_tiles": 10,
    "dry_steps": 0,
    "validation_share": 0.5,
}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's folder of weights."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(folder))
    monkeypatch.setenv("COLUMNS", "250")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, models: Path):
    """Call the command line with the voting detector alone."""
    found = plugins.Discovery({"voting": Voting()}, {"voting": "us"}, ())
    monkeypatch.setattr(plugins, "find_detectors", lambda: found)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def train(call, tmp_path: Path, draw):
    """Train on two drawn retinas, with further words."""
    data = tmp_path / "data"
    data.mkdir()
    for seed in range(2):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(data / f"eye{seed}.png")
        Image.fromarray(retina.masks["MA"]).save(data / f"eye{seed}_MA.png")

    def run(*words: object, **changes: object) -> Result:
        flags = [w for k, v in {**SETTINGS, **changes}.items() for w in ("--set", f"{k}={v}")]
        output = tmp_path / "run"
        return call(
            "train", "voting", "--data", data, "-o", output, "--device", "cpu", *flags, *words
        )

    return run


def test_train_then_list_then_detect(train, call, models, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["napari-fundus", "train", "voting", "--data", "my eyes"])
    result = train(max_epochs=1)
    assert result.exit_code == 0, result.output
    assert "Training voting on cpu" in result.stderr
    assert "1 images; lesions: MA 3" in result.stderr
    assert "epoch 1: aupr" in result.stderr
    job = read_training_config(tmp_path / "run" / "job.json")
    assert (job.detector, job.data) == ("voting", str((tmp_path / "data").resolve()))
    assert (job.device, job.settings["width"], job.resume) == ("cpu", "2", False)
    assert job.command == "napari-fundus train voting --data 'my eyes'"
    best = tmp_path / "run" / "best.safetensors"
    assert f"--set checkpoint={best}" in result.stdout
    shutil.copy(best, models / "mine.safetensors")
    listed = call("models")
    assert "mine" in listed.stdout
    assert "aupr 0." in listed.stdout
    cards = json.loads(call("models", "--json").stdout)
    mine = next(m for m in cards["models"] if m["name"] == "mine")
    assert mine["origin"] == "user"
    assert mine["card"]["split"]["train"]
    out = tmp_path / "out"
    done = call(
        "detect", tmp_path / "data" / "eye0.png", "-d", "voting", "-s", "checkpoint=mine", "-o", out
    )
    assert done.exit_code == 0, done.output
    assert (out / "summary.csv").exists()


def test_a_run_goes_on_where_it_was(train) -> None:
    assert train(max_epochs=1).exit_code == 0
    again = train(max_epochs=2)
    assert again.exit_code == 2
    assert "Resume it" in again.stderr
    resumed = train("--resume", "--json", max_epochs=2)
    assert resumed.exit_code == 0, resumed.output
    assert "Going on in epoch 2" in resumed.stderr
    assert "epoch 1:" not in resumed.stderr
    assert json.loads(resumed.stdout)["detector"] == "voting"


def test_a_cancelled_run_keeps_its_state(train, tmp_path, monkeypatch) -> None:
    step = Monitor.step

    def cancel_late(self: Monitor, fraction: float, message: str = "") -> None:
        if "step 3" in message:
            self.cancel()
        step(self, fraction, message)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "step", cancel_late)
        stopped = train(max_epochs=1)
    assert stopped.exit_code == 130
    assert "resume to go on" in stopped.stderr
    resumed = train("--resume", max_epochs=1)
    assert resumed.exit_code == 0
    assert "Going on in epoch 1 after step 2" in resumed.stderr


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        ((), {"widht": 3}, "Unknown setting 'widht'"),
        ((), {"patch": 12}, "'patch' = '12'"),
        (("--scheme", "freeze_5"), {}, "name those to start from"),
        (("--scheme", "full"), {"scheme": "full"}, "given twice"),
        (("--checkpoint", "nobody"), {}, "No checkpoint is called 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(train, tmp_path, words, changes, message) -> None:
    result = train(*words, **changes)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_detector_without_weights_cannot_be_trained(run, tmp_path) -> None:
    result = run("train", "glow", "--data", tmp_path, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "has nothing to train" in result.stderr


def test_broken_weights_are_listed_with_their_reason(call, models) -> None:
    (models / "odd.safetensors").write_bytes(b"nothing")
    result = call("models", "--json")
    odd = next(m for m in json.loads(result.stdout)["models"] if m["name"] == "odd")
    assert odd["problem"]
    assert odd["card"] is None


def test_folds_are_each_held_back_once_and_summed_up(train, tmp_path) -> None:
    result = train("--folds", 2, "--json", max_epochs=1)
    assert result.exit_code == 0, result.output
    assert "Fold 2 of 2" in result.stderr
    summary = json.loads(result.stdout)
    assert [fold["test"] for fold in summary["results"]] in (
        [["eye0"], ["eye1"]],
        [["eye1"], ["eye0"]],
    )
    assert [fold["train"] for fold in summary["results"]] == [
        fold["test"] for fold in reversed(summary["results"])
    ]
    for fold in (1, 2):
        card = read_card(tmp_path / "run" / f"fold_{fold}" / "best.safetensors")
        assert card.name == f"run-fold-{fold}"
    again = train("--folds", 2, max_epochs=1)
    assert again.exit_code == 2
    assert "holds a cross-validation already" in again.stderr
    resumed = train("--folds", 2, "--resume", max_epochs=1)
    assert resumed.exit_code == 0, resumed.output
    assert "epoch 1:" not in resumed.stderr
    assert "| average_precision |" in resumed.stdout
    other = train("--folds", 2, "--resume", max_epochs=2)
    assert other.exit_code == 2
    assert "cannot be resumed like this" in other.stderr


def test_folds_given_twice_are_refused(train) -> None:
    result = train("--folds", 2, folds=3)
    assert result.exit_code == 2
    assert "given twice" in result.stderr
