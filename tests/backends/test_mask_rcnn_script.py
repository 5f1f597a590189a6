"""The paper's recipe, as the script has it, runs through its three stages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from napari_fundus.backends.mask_rcnn.weights import load_network
from napari_fundus.checkpoints import read_checkpoint

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_mask_rcnn.sh"
SMALL = {
    "pretrained": "false",
    "patch": "128",
    "side": "128",
    "batch_size": "1",
    "data_threads": "1",
    "dry_steps": "0",
    "report_every": "1",
    "steps_per_epoch": "1",
    "max_epochs": "3",
    "milestones": "[1,2]",
    "validation_share": "0.34",
}
"""What docs/methods/mask_rcnn.md tells to try, and to hold back one of three."""


@pytest.fixture
def folder(tmp_path, draw):
    """Return a folder for the run beside three drawn retinas with masks and a healthy one."""
    for name in ("data", "healthy"):
        (tmp_path / name).mkdir()
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(tmp_path / "data" / f"eye{seed}.png")
        for code in ("MA", "HE"):
            Image.fromarray(retina.masks[code]).save(tmp_path / "data" / f"eye{seed}_{code}.png")
    Image.fromarray(draw(160, 200, seed=9).pixels).save(tmp_path / "healthy" / "eye9.png")
    yield tmp_path
    shutil.rmtree(tmp_path)  # its weights take 700 MB


@pytest.mark.slow
def test_the_papers_recipe_runs_through_its_three_stages(folder) -> None:
    program = Path(sys.executable).with_name("napari-fundus")
    words = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    places = [str(folder / name) for name in ("data", "healthy", "run")]
    # The end of standard input would stop the training: it is held open until all is told.
    with subprocess.Popen(
        ["sh", str(SCRIPT), "paper", *places, "--device", "cpu", "--events", *words],
        env={**os.environ, "NAPARI_FUNDUS": str(program), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        told = [json.loads(line) for line in running.stdout]
    assert running.returncode == 0
    rates = [line["learning_rate"] for line in told if line["type"] == "Step"]
    assert rates == pytest.approx([1e-4, 1e-5, 1e-6])
    epochs = [line["metrics"] for line in told if line["type"] == "EpochEnd"]
    assert len(epochs) == 3
    assert all("ap35" in metrics for metrics in epochs)
    assert told[-1]["type"] == "Finished"

    checkpoint = read_checkpoint(folder / "run" / "best.safetensors")
    _, architecture = load_network(checkpoint)
    assert (architecture.kind, architecture.rois_per_image) == ("resnet50", 512)
    options = checkpoint.card.recipe["options"]
    assert (options["dilations"], options["zoom"], options["shift"]) == (2, 0.1, 0.1)
    assert checkpoint.card.recipe["training"]["optimizer"] == "adam"
