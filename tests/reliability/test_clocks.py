"""A clock that is set back changes no result: times are measured by another, or merely noted."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.batch import run_batch
from napari_fundus.detector import Detector, Prediction
from napari_fundus.image import read_image
from napari_fundus.training.loop.clock import TrainingClock

YEAR = 365 * 24 * 3600


class Bright(Detector):
    """Takes brightness for exudates."""

    name = "bright"
    title = "Brightness"
    summary = "Bright pixels"
    lesions = ("EX",)

    def predict(self, image, options, *, device, monitor) -> Prediction:
        return Prediction({"EX": (image.rgb8[..., 1] / 255).astype("float32")})


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall loses an hour at every look; the other gains a second."""
    start, looks, seconds = time.time(), itertools.count(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: start - 3600 * next(looks))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(time, "monotonic", time.perf_counter)


@pytest.mark.usefixtures("backwards")
def test_the_time_of_a_training_and_of_a_detection_never_runs_backwards(photographs: Path) -> None:
    clock = TrainingClock()
    clock.restore_elapsed(100.0)
    assert [clock.elapsed() for _ in range(50)] == [101.0 + n for n in range(50)]
    clock.mark_saved()
    assert clock.seconds_since_save() == 1
    found = Bright().detect(read_image(photographs / "eye00.png"))
    assert found.provenance.seconds >= 1


@pytest.mark.parametrize("shift", [-YEAR, YEAR])
def test_a_batch_knows_what_is_done_whichever_way_the_clock_was_set(
    photographs: Path, tmp_path: Path, shift: int
) -> None:
    """A file is known by its size, date and pixels; no date is taken for older or newer."""
    out, eye = tmp_path / "out", photographs / "eye05.png"
    given = {"formats": ("csv",), "device": "cpu"}
    run_batch([photographs], out, Bright(), **given)
    moved = eye.stat().st_mtime + shift
    os.utime(eye, (moved, moved))
    assert len(run_batch([photographs], out, Bright(), **given).skipped) == 12
    before = (out / "eye05.csv").read_bytes()
    Image.fromarray(np.full((80, 100, 3), 90, np.uint8)).save(eye)
    os.utime(eye, (moved, moved))
    (failed,) = run_batch([photographs], out, Bright(), **given).failed
    assert "another image" in failed.message
    assert (out / "eye05.csv").read_bytes() == before
