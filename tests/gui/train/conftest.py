"""A small data set, a folder for weights, and a widget that trains on the CPU in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from napari.components import ViewerModel
from PIL import Image

from napari_fundus.backends.voting import Voting
from napari_fundus.gui.train import TrainWidget
from napari_fundus.plugins import Discovery

SMALL = {
    "width": 2,
    "patch": 16,
    "disc_diameter": 128,
    "batch_size": 8,
    "steps_per_epoch": 3,
    "max_epochs": 2,
    "validation_tiles": 10,
    "dry_steps": 0,
    "report_every": 1,
    "preview_every": 1,
}


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path) -> Path:
    """The user's own folder of weights, which no test may reach."""
    folder = tmp_path / "weights" / "models"
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small() -> dict:
    """Settings of a training of seconds."""
    return dict(SMALL)


@pytest.fixture
def data(tmp_path, draw) -> Path:
    """Two drawn retinas with masks of microaneurysms."""
    root = tmp_path / "data"
    root.mkdir()
    for seed in range(2):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        Image.fromarray(retina.masks["MA"]).save(root / f"eye{seed}_MA.png")
    return root


@pytest.fixture
def make(qtbot):
    """Make a widget with the voting detector alone, in a viewer without a window."""
    made = []

    def build(viewer=None, *, in_subprocess: bool = False) -> TrainWidget:
        found = Discovery({"voting": Voting()}, {"voting": "us"}, ())
        widget = TrainWidget(viewer or ViewerModel(), discovery=found)
        qtbot.addWidget(widget)
        widget.job_form.subprocess_box.setChecked(in_subprocess)
        widget.job_form.device_choice.choose("cpu")
        made.append(widget)
        return widget

    yield build
    for widget in made:
        if widget.session is not None:
            widget.session.cancel_silently()
