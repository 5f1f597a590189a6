"""Events become lines of JSON and come back the same, pictures and odd numbers included."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from napari_fundus.errors import Cancelled, DivergedError, TrainingError
from napari_fundus.runtime.progress import Progress
from napari_fundus.training.jobs.event_json import Failure, decode_message, encode_message
from napari_fundus.training.loop.events import (
    Best,
    CheckpointSaved,
    EpochEnd,
    Finished,
    Patches,
    Preview,
    Started,
    Step,
)
from napari_fundus.training.loop.preflight import Preflight, SplitReport

REPORT = Preflight(
    task="toy",
    device="cpu",
    precision="float32",
    scheme="interleaved",
    train=SplitReport(images=3, lesions={"MA": 4}, patches={"with lesion": 12}),
    validation=SplitReport(images=1, lesions={"MA": 0}, patches={}),
    leaks=("a shows the same eye as b",),
    warnings=("few",),
    parameters=10,
    trainable=4,
    seconds_per_step=0.25,
)

PLAIN = [
    Started(REPORT, epoch=2, step=5),
    Step(1, 20, 0.125, 1e-4),
    EpochEnd(3, {"aupr": 0.1 + 0.2, "train_loss": 1e-300}, improved=True, metric="aupr"),
    CheckpointSaved(Path("run") / "best.safetensors", "best"),
    CheckpointSaved(Path("run") / "last.safetensors", "last"),
    Finished("early stopping", Best(Path("b"), 4, {"x": 1.0}, "x", True), 9, 99, 12.5, 0.25),
    Progress(0.25, "épreuve\n2"),
    Progress(0.5, "held", paused=True),
    Failure("DivergedError", "the loss is nan"),
]


@pytest.mark.parametrize("message", PLAIN, ids=lambda m: type(m).__name__)
def test_what_is_told_comes_back(message, tmp_path) -> None:
    line = encode_message(message, tmp_path)
    assert "\n" not in line
    assert decode_message(line, tmp_path) == message


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_has_no_word_for_come_back_too(number, tmp_path) -> None:
    line = encode_message(EpochEnd(0, {"auc": number}, improved=False), tmp_path)
    json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    back = decode_message(line, tmp_path)
    assert isinstance(back, EpochEnd)
    np.testing.assert_equal(back.metrics["auc"], number)


def test_a_preview_comes_back_with_its_pictures(tmp_path) -> None:
    images = {
        "eye 1": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        "eye 1, MA found": np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4),
    }
    back = decode_message(encode_message(Preview(6, images), tmp_path), tmp_path)
    assert isinstance(back, Preview)
    assert back.epoch == 6
    assert list(back.images) == list(images)
    for title, image in images.items():
        np.testing.assert_array_equal(back.images[title], image)
        assert back.images[title].dtype == image.dtype


def test_of_the_previews_the_last_two_are_kept(tmp_path) -> None:
    lines = [
        encode_message(Preview(n, {"x": np.zeros((2, 2), np.float32)}), tmp_path) for n in range(4)
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["preview-0003.npz", "preview-0004.npz"]
    assert decode_message(lines[0], tmp_path) is None
    assert decode_message(lines[3], tmp_path) is not None


@pytest.mark.parametrize("masks", [None, np.array([[[0, 1], [2, 0]]], np.uint8)])
def test_patches_come_back_with_or_without_masks(masks, tmp_path) -> None:
    patches = Patches(np.full((1, 2, 2, 3), 7, np.uint8), masks, ("MA", "HE"))
    back = decode_message(encode_message(patches, tmp_path), tmp_path)
    assert isinstance(back, Patches)
    np.testing.assert_array_equal(back.images, patches.images)
    assert back.classes == ("MA", "HE")
    if masks is None:
        assert back.masks is None
    else:
        np.testing.assert_array_equal(back.masks, masks)


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[1]", "torch says hello", '{"type": "Step"}', '{"type": "Nothing", "epoch": 1}'],
)
def test_other_lines_are_refused(line, tmp_path) -> None:
    with pytest.raises(TrainingError, match="is no message"):
        decode_message(line, tmp_path)


def test_no_line_leads_out_of_the_run_s_folder(tmp_path) -> None:
    np.savez(tmp_path / "preview-0001.npz", titles=np.array(["secret"]), image_0=np.ones((2, 2)))
    inside = tmp_path / "run"
    inside.mkdir()
    line = json.dumps({"type": "Preview", "epoch": 0, "file": "../preview-0001.npz"})
    assert decode_message(line, inside) is None


def test_a_failure_is_raised_as_it_was() -> None:
    assert type(Failure.from_exception(Cancelled("stop")).to_exception()) is Cancelled
    assert type(Failure.from_exception(DivergedError("nan")).to_exception()) is DivergedError
    foreign = Failure.from_exception(RuntimeError("CUDA out of memory")).to_exception()
    assert type(foreign) is TrainingError
    assert "RuntimeError: CUDA out of memory" in str(foreign)
    assert type(Failure("SystemExit", "no").to_exception()) is TrainingError
