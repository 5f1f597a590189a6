"""The command ``evaluate``: choices reach the library, warnings are loud, reports are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from napari_fundus import evaluation as reports
from napari_fundus.detector import Detector
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections
from napari_fundus.samples import sample_folder


@pytest.fixture
def folder(tmp_path: Path, draw: Callable[..., Any]) -> Path:
    """Two images with masks of EX, one of them in a testing part."""
    root = tmp_path / "data"
    for split in ("train", "test"):
        retina = draw(120, 160, seed=len(split))
        (root / split).mkdir(parents=True)
        cv2.imwrite(str(root / split / f"{split}_eye.png"), retina.pixels[..., ::-1])
        mask = retina.masks["EX"].astype(np.uint8) * 255
        cv2.imwrite(str(root / split / f"{split}_eye_EX.png"), mask)
    return root


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take seconds and are looked at elsewhere."""
    module = import_module("napari_fundus.evaluation.write_report")
    monkeypatch.setattr(module.Report, "plots", lambda report: {})
    monkeypatch.setattr(module, "classes_with_crops", lambda report: [])


@pytest.fixture
def evaluate(run, folder: Path, tmp_path: Path, no_pictures: None):
    def _evaluate(*words: object):
        few = ("--resamples", 20)
        return run("evaluate", folder, "-d", "glow", "-o", tmp_path / "out", *few, *words)

    return _evaluate


def read(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out" / "report.json").read_text())


def test_a_report_is_written_and_told_of(evaluate, tmp_path: Path) -> None:
    done = evaluate()
    assert done.exit_code == 0, done.stderr
    assert "1 images (test): the data set's own test part." in done.stderr
    assert "aupr     EX   glow: AUPR, 33 thresholds" in done.stderr
    assert "report.md" in done.stderr
    content = read(tmp_path)
    assert list(content["protocols"]) == ["aupr", "froc", "overlap"]
    assert [i["sample"] for i in content["detectors"][0]["images"]] == ["test/test_eye"]


def test_choices_reach_the_library(evaluate, tmp_path: Path) -> None:
    done = evaluate(
        *("--protocol", "froc,aupr", "--split", "all", "--points", "roc", "--thresholds", "11"),
        *("--set", "gain=0.5", "--set", "glow.threshold=0.25", "--lesions", "EX"),
    )
    assert done.exit_code == 0, done.stderr
    content = read(tmp_path)
    assert content["protocols"]["froc"]["parameters"]["points"] == [1, 2, 4, 8, 12, 16, 20]
    assert content["protocols"]["aupr"]["parameters"]["thresholds"] == [11]
    (detector,) = content["detectors"]
    assert (detector["options"]["gain"], detector["options"]["threshold"]) == (0.5, 0.25)
    assert len(detector["images"]) == 2


def test_healthy_images_join_in(evaluate, tmp_path: Path, draw: Callable[..., Any]) -> None:
    (tmp_path / "well").mkdir()
    cv2.imwrite(str(tmp_path / "well" / "a.png"), draw(120, 160, seed=9).pixels[..., ::-1])
    done = evaluate("--healthy", tmp_path / "well", "-p", "froc")
    assert done.exit_code == 0, done.stderr
    assert read(tmp_path)["detectors"][0]["figures"]["froc"]["EX"]["healthy"] == 1


def test_ctrl_c_keeps_the_maps_and_the_same_command_goes_on(
    evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = Detector.detect

    def stopped(self: Detector, image: FundusImage, *args: Any, **kwargs: Any) -> Detections:
        if image.name == "train_eye":
            raise KeyboardInterrupt
        return detect(self, image, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Detector, "detect", stopped)
        done = evaluate("--split", "all")
    assert done.exit_code == 130
    assert "the same command goes on" in done.stderr
    assert not (tmp_path / "out" / "report.json").exists()
    assert evaluate("--split", "all").exit_code == 0
    images = read(tmp_path)["detectors"][0]["images"]
    assert {i["sample"]: i["kept"] for i in images} == {
        "test/test_eye": True,
        "train/train_eye": False,
    }


def test_a_report_is_not_replaced_unasked(evaluate, tmp_path: Path) -> None:
    assert evaluate().exit_code == 0
    again = evaluate()
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert evaluate("--overwrite").exit_code == 0
    assert read(tmp_path)["detectors"][0]["images"][0]["kept"] is True


def test_json_goes_to_standard_output_alone(evaluate, tmp_path: Path) -> None:
    assert json.loads(evaluate("--json").stdout) == read(tmp_path)


def test_bad_images_are_named_and_change_the_status(evaluate, folder: Path) -> None:
    (folder / "train" / "train_eye.png").write_bytes(b"no image")
    done = evaluate("--split", "all")
    assert done.exit_code == 1
    assert "WARNING: 1 images could not be evaluated" in done.stderr
    assert "train/train_eye:" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "half"), "--split takes held-back, test, valid, train, all, not 'half'"),
        (("--split", "held-back"), "No weights name images"),
        (("--split", "valid"), "has no image in the data set's own valid part"),
        (("--points", "all"), "--points takes cpm, roc, not 'all'"),
        (("--thresholds", "12"), "--thresholds takes 33, 11, exact, not '12'"),
        (("--protocol", "map"), "No protocol is called 'map'"),
        (("--lesions", "SE"), "SE: not annotated"),
        (("--set", "colour=red"), "None of the detectors has the option colour"),
        (("--set", "voting.gain=1"), "None of the detectors has the option voting.gain"),
        (("--set", "gain=9"), "Option 'gain' = '9'"),
        (("--checkpoint", "x"), "--checkpoint is for one detector that takes weights"),
        (("-d", "glow@weights"), "Unknown option 'checkpoint'"),
        (("-d", "nothing"), "No detector is called 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    evaluate, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = evaluate(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_weights_that_held_the_sample_picture_back_are_measured_on_it() -> None:
    from napari_fundus.backends.voting import Voting
    from napari_fundus.datasets import open_dataset

    candidate = reports.Candidate.of(Voting())
    selection = reports.select_samples(open_dataset(sample_folder()), [candidate])
    assert selection.split == "held-back"
    assert [s.id for s in selection.samples] == ["IDRiD_13"]
