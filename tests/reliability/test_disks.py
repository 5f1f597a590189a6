"""A disk that fills up at any byte, and folders that may not be written, cost nothing but the rest.

A limit on the size of files stands for the full disk: the system refuses every byte beyond it, to
Python's writers and to those of libraries alike.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.batch import run_batch
from napari_fundus.checkpoints import ModelCard, read_checkpoint, save_checkpoint
from napari_fundus.detector import Detector, Prediction
from napari_fundus.errors import FundusError, TrainingError
from napari_fundus.export import FORMATS, export, read_csv
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import write_json
from napari_fundus.training.loop.state import check_output, save

resource = pytest.importorskip("resource", reason="this system has no limits of that kind")

NEEDS_NO_IMAGE = tuple(name for name in FORMATS if name != "overlay")


class Bright(Detector):
    """Takes brightness for exudates."""

    name = "bright"
    title = "Brightness"
    summary = "Bright pixels"
    lesions = ("EX",)

    def predict(self, image, options, *, device, monitor) -> Prediction:
        return Prediction({"EX": (image.rgb8[..., 1] / 255).astype("float32")})


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user who may not write everywhere, as root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def found() -> Detections:
    pixels = np.full((80, 100, 3), 60, np.uint8)
    pixels[20:40, 30:60] = np.random.default_rng(0).integers(150, 250, (20, 30, 3))
    return Bright().detect(FundusImage.from_array(pixels, name="eye"))


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", NEEDS_NO_IMAGE)
def test_no_export_leaves_half_a_file_wherever_the_disk_ends(
    found: Detections, tmp_path: Path, name: str
) -> None:
    whole = tmp_path / "whole"
    export(found, whole, formats=(name,))
    largest = max(len(content) for content in visible(whole).values())
    rng = random.Random(name)
    for size in (0, 1, largest - 1, *rng.sample(range(2, largest - 1), 5)):
        folder = tmp_path / str(size)
        with room(size), pytest.raises((OSError, FundusError)):
            export(found, folder, formats=(name,))
        assert not list(folder.glob("*")), size
        export(found, folder, formats=(name,))
        assert set(visible(folder)) == set(visible(whole))


def test_a_full_disk_leaves_the_older_results_as_they_were(
    found: Detections, tmp_path: Path
) -> None:
    export(found, tmp_path, formats=NEEDS_NO_IMAGE)
    before = visible(tmp_path)
    with room(700), pytest.raises((OSError, FundusError)):
        export(found, tmp_path, formats=NEEDS_NO_IMAGE, overwrite=True)
    assert visible(tmp_path) == before


@pytest.mark.parametrize("size", [0, 7, 100, 3000, 16_383])
def test_weights_on_a_full_disk_leave_the_older_ones(tmp_path: Path, size: int) -> None:
    path, card = tmp_path / "best.safetensors", ModelCard(name="w", detector="toy")
    save(path, {"w": torch.zeros(5)}, card)
    with room(size), pytest.raises(TrainingError, match="What was saved before is still there"):
        save(path, {"w": torch.ones(4096)}, card)
    assert torch.equal(read_checkpoint(path).tensors["w"], torch.zeros(5))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with room(size), pytest.raises(OSError, match="File too large"):
        save_checkpoint(tmp_path / "new.safetensors", {"w": torch.ones(4096)}, card)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_json_on_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    write_json(path, {"old": 1})
    for size in range(0, 40, 3):
        with room(size), pytest.raises(OSError, match="File too large"):
            write_json(path, {"new": "x" * 50}, overwrite=True)
    assert path.read_text() == '{\n  "old": 1\n}\n'
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_batch_on_a_full_disk_names_what_it_could_not_write_and_goes_on_later(
    photographs: Path, tmp_path: Path
) -> None:
    """The pictures with a larger map are too large for what is left; the small ones are written."""
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3)).astype(np.uint8)
    Image.fromarray(noise).save(photographs / "eye03.png")
    out = tmp_path / "out"
    with room(12_000):
        report = run_batch(
            [photographs], out, Bright(), formats=("csv", "probability"), device="cpu"
        )
    assert [outcome.path.name for outcome in report.failed] == ["eye03.png"]
    assert "File too large" in report.failed[0].message
    assert len(report.written) == 11
    assert not list(out.glob("*eye03*"))
    again = run_batch([photographs], out, Bright(), formats=("csv", "probability"), device="cpu")
    assert [outcome.path.name for outcome in again.written] == ["eye03.png"]
    assert len(again.skipped) == 11
    assert all(len(read_csv(path)) >= 1 for path in out.glob("eye*.csv"))


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that may be read and not written; not below tmp_path, which only root may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "mine.csv").write_text("mine")
        if os.geteuid() != 0:
            folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_an_output_that_cannot_be_written_is_told_and_left_alone(
    locked: Path, photographs: Path
) -> None:
    image = read_image(photographs / "eye00.png")
    found = Bright().detect(image)
    with nobody():
        with pytest.raises(PermissionError):
            export(found, locked, formats=("csv",))
        with pytest.raises(PermissionError):
            write_json(locked / "new.json", {})
        with pytest.raises(TrainingError, match="cannot be written to: Permission denied"):
            check_output(locked / "run", resume=False, overwrite=False)
    assert [path.name for path in locked.iterdir()] == ["mine.csv"]
