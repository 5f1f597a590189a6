"""Several processes train as one does that makes all their batches: the same losses and weights.

A step follows the mean gradient of `devices` × `accumulate` batches, so that one process with two
batches a step is the measure of two processes with one each. Draws, variation and dropout belong to
a batch and not to the process that makes it, hence all that may differ is rounding. What does
differ are the running averages of batch norm, which are those of the first process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import napari_fundus
from napari_fundus.checkpoints import read_checkpoint
from napari_fundus.errors import TrainingError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
TOLERANCE = 1e-5
"""Of losses, metrics and weights; seen are differences below 1e-6."""


@pytest.fixture(scope="module")
def child() -> ModuleType:
    """The module that trains, in this process."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location("two_child", HERE / "two_child.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
    return module


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes, joined by gloo, made every run."""
    folder = tmp_path_factory.mktemp("both")
    source = str(Path(napari_fundus.__file__).parents[1])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(str(HERE / "two_child.py"), str(folder)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def told(folder: Path, kind: str, rank: int = 0) -> dict:
    return json.loads((folder / f"{kind}-{rank}.json").read_text())


def weights(path: Path, *, buffers: bool = True) -> dict[str, torch.Tensor]:
    found = dict(read_checkpoint(path).tensors)
    return {n: t for n, t in found.items() if buffers or "running_" not in n}


def test_the_losses_are_those_of_one_process_with_two_batches_a_step(
    both: Path, child: ModuleType, tmp_path: Path
) -> None:
    """With batch norm, dropout, variation, clipping, averaged weights and Adam."""
    one = child.follow("whole", tmp_path / "one", accumulate=2)
    two = told(both, "whole")
    assert len(one["losses"]) == 15
    assert two["losses"] == pytest.approx(one["losses"], abs=TOLERANCE)
    names = ("network.convs.", "network.head.")
    first, second = (
        weights(folder / "last.safetensors") for folder in (tmp_path / "one", both / "whole")
    )
    for name in (n for n in first if n.startswith(names)):
        torch.testing.assert_close(second[name], first[name], atol=TOLERANCE, rtol=0)
    lone = child.follow("whole", tmp_path / "lone", accumulate=1)
    assert lone["losses"] != pytest.approx(one["losses"], abs=0.01)


def test_without_running_averages_all_figures_and_weights_agree(
    both: Path, child: ModuleType, tmp_path: Path
) -> None:
    one, two = child.follow("plain", tmp_path, accumulate=2), told(both, "plain")
    assert two["losses"] == pytest.approx(one["losses"], abs=TOLERANCE)
    for a, b in zip(one["metrics"], two["metrics"], strict=True):
        assert b == pytest.approx(a, abs=TOLERANCE)
    for name in ("best.safetensors", "last.safetensors"):
        first, second = weights(tmp_path / name), weights(both / "plain" / name)
        assert first.keys() == second.keys()
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, atol=TOLERANCE, rtol=0)


def test_one_process_that_is_stopped_stops_all_and_one_alone_can_resume(
    both: Path, child: ModuleType, tmp_path: Path
) -> None:
    for rank in (0, 1):
        assert told(both, "stopped", rank)["end"] == "Cancelled"
    resumed = child.follow("stopped", both / "stopped", accumulate=2, resume=True)
    unbroken = child.follow("stopped", tmp_path, accumulate=2)
    assert len(resumed["losses"]) == 15 - 7
    assert resumed["losses"] == pytest.approx(unbroken["losses"][7:], abs=TOLERANCE)
    assert len(told(both, "stopped")["losses"]) == 7


def test_a_run_is_not_resumed_with_another_number_of_batches_a_step(
    child: ModuleType, tmp_path: Path
) -> None:
    child.follow("plain", tmp_path, accumulate=2)
    with pytest.raises(TrainingError, match="had 2 batches and has 3"):
        child.follow("plain", tmp_path, accumulate=3, resume=True)


def test_a_loss_that_is_not_finite_in_one_process_ends_all(both: Path) -> None:
    assert [told(both, "diverging", rank)["end"] for rank in (0, 1)] == ["DivergedError"] * 2
