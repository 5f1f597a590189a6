"""Weights of a training are found by name at once, and never replace those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_fundus.checkpoints import (
    ModelCard,
    install_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from napari_fundus.errors import CheckpointError, OutputExistsError


@pytest.fixture
def models(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def weights(tmp_path):
    def write(value: float) -> Path:
        path = tmp_path / f"run-{value}" / "best.safetensors"
        save_checkpoint(
            path, {"w": torch.full((2,), value)}, ModelCard(name="x", detector="voting")
        )
        return path

    return write


def test_installed_weights_are_listed_and_load_by_name(models, weights) -> None:
    path = install_checkpoint(weights(1.0), "mine")
    assert path.parent == models
    assert "mine" in {info.name for info in list_checkpoints() if info.origin == "user"}
    assert float(load_checkpoint("mine", detector="voting").tensors["w"][0]) == 1.0


def test_a_run_replaces_its_own_weights_and_no_others(models, weights) -> None:
    first, second = weights(1.0), weights(2.0)
    install_checkpoint(first, "mine", run=first.parent)
    with pytest.raises(OutputExistsError, match="another name"):
        install_checkpoint(second, "mine", run=second.parent)
    with pytest.raises(OutputExistsError, match="another name"):
        install_checkpoint(second, "mine")
    assert float(load_checkpoint("mine").tensors["w"][0]) == 1.0
    install_checkpoint(second, "mine", run=first.parent)
    assert float(load_checkpoint("mine").tensors["w"][0]) == 2.0


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "with space"])
def test_a_name_that_is_none_is_refused(models, weights, name) -> None:
    with pytest.raises(CheckpointError, match="no name"):
        install_checkpoint(weights(1.0), name)


def test_bundled_weights_keep_their_name(models, weights) -> None:
    with pytest.raises(OutputExistsError, match="ship with"):
        install_checkpoint(weights(1.0), "voting-idrid")


def test_what_is_no_file_of_weights_is_not_installed(models, tmp_path) -> None:
    file = tmp_path / "notes.safetensors"
    file.write_text("hello")
    with pytest.raises(CheckpointError):
        install_checkpoint(file, "mine")
    assert not (models / "mine.safetensors").exists()
