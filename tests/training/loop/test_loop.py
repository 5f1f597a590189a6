"""The loop: it learns, tells what it does, repeats itself, and survives a kill to the bit."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import napari_fundus
from napari_fundus.checkpoints import load_checkpoint, read_checkpoint
from napari_fundus.errors import (
    Cancelled,
    CheckpointError,
    LeakageError,
    OutputExistsError,
    TrainingError,
)
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import (
    CheckpointSaved,
    EpochEnd,
    Finished,
    Preview,
    Started,
    Step,
    train,
)
from napari_fundus.training.loop import clock as clock_module
from napari_fundus.training.loop import loop as loop_module
from napari_fundus.training.loop import state as state_module


def run(toy: ModuleType, folder: Path, *, task: Any = None, **changes: Any) -> list[Any]:
    arguments = {
        k: changes.pop(k) for k in ("resume", "overwrite", "initial", "monitor") if k in changes
    }
    settings = toy.SETTINGS.model_copy(update=changes)
    return list(train(task or toy.ToyTask(), settings, folder, device="cpu", **arguments))


def same(a: Path, b: Path, prefix: str = "") -> bool:
    first, second = read_checkpoint(a).tensors, read_checkpoint(b).tensors
    assert first.keys() == second.keys()
    assert first
    return all(torch.equal(first[n], second[n]) for n in first if n.startswith(prefix))


def test_events_come_in_order_and_say_what_happened(toy: ModuleType, tmp_path: Path) -> None:
    events = run(toy, tmp_path, preview_every=2, dry_steps=2)
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert kinds.count(Step) == 15
    assert kinds.count(EpochEnd) == 3
    assert kinds.count(Preview) == 1
    assert [e.kind for e in events if isinstance(e, CheckpointSaved)].count("last") == 3
    report = events[0].report
    assert report.train.images == 3
    assert report.train.lesions == {"MA": 12}
    assert report.train.patches["with lesion"] > 0
    assert report.seconds_per_step > 0
    assert report.activation_bytes > 8 * 8 * 16 * 16 * 4
    finished = events[-1]
    assert finished.reason == "epochs"
    assert (finished.epochs, finished.steps) == (3, 15)
    best = max((e for e in events if isinstance(e, EpochEnd)), key=lambda e: e.metrics["dice"])
    assert finished.best.epoch == best.epoch
    assert finished.best.metrics == best.metrics
    assert 0 <= finished.wait_share < 1


def test_the_toy_is_learned_and_the_best_weights_carry_their_card(
    toy: ModuleType, tmp_path: Path
) -> None:
    events = run(toy, tmp_path, max_epochs=12, steps_per_epoch=10, ema=0.0, learning_rate=0.02)
    dice = [e.metrics["dice"] for e in events if isinstance(e, EpochEnd)]
    assert max(dice) > 0.8
    checkpoint = load_checkpoint(events[-1].best.path, detector="toy")
    assert checkpoint.card.metrics["dice"] == max(dice)
    assert checkpoint.card.split.train == ("s0", "s1", "s2")
    assert checkpoint.card.split.validation == ("s9",)
    assert checkpoint.card.recipe["training"]["learning_rate"] == 0.02
    network = toy.Network()
    network.load_state_dict(dict(checkpoint.tensors))


def test_the_same_seed_gives_the_same_weights_and_another_others(
    toy: ModuleType, tmp_path: Path
) -> None:
    for name, changes in (("a", {}), ("b", {"data_threads": 3}), ("c", {"seed": 1})):
        torch.manual_seed(len(name))
        run(toy, tmp_path / name, **changes)
        torch.rand(7)
    assert same(tmp_path / "a" / "best.safetensors", tmp_path / "b" / "best.safetensors")
    assert same(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors")
    assert not same(tmp_path / "a" / "best.safetensors", tmp_path / "c" / "best.safetensors")


def test_dry_steps_and_reports_change_nothing(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path / "a", dry_steps=0, max_epochs=1)
    run(toy, tmp_path / "b", dry_steps=4, max_epochs=1, report_every=3, preview_every=1)
    assert same(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors")


def test_training_leaves_the_callers_random_numbers_alone(toy: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(toy, tmp_path, max_epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("changes", "kill_at", "goes_on_at"),
    [
        ({"save_minutes": 0.0}, "step 1 3", (1, {2, 3, 4})),
        ({"save_minutes": 60.0, "ema": 0.0, "optimizer": "sgd"}, "step 2 2", (2, {0})),
    ],
)
def test_a_killed_run_resumes_and_ends_with_the_same_weights_as_an_unbroken_one(
    toy: ModuleType,
    toy_path: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    kill_at: str,
    goes_on_at: tuple[int, set[int]],
) -> None:
    """SIGKILL in the middle of an epoch: no handler runs, nothing is flushed."""
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    with subprocess.Popen(
        [sys.executable, str(toy_path), str(broken), json.dumps(changes)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if line.strip() == kill_at:
                victim.send_signal(signal.SIGKILL)
                break
        victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    started = run(toy, broken, resume=True, **changes)[0]
    assert started.epoch == goes_on_at[0]
    assert started.step in goes_on_at[1]
    run(toy, unbroken, **changes)
    for name in ("best.safetensors", "last.safetensors"):
        assert same(broken / name, unbroken / name), name
    dice = [
        read_checkpoint(f / "best.safetensors").card.metrics["dice"] for f in (broken, unbroken)
    ]
    assert dice[0] == dice[1]


def environment() -> dict[str, str]:
    """Return the environment of a process that trains as this one does."""
    source = str(Path(napari_fundus.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}


def test_a_cancelled_run_stops_within_a_batch_and_resumes(toy: ModuleType, tmp_path: Path) -> None:
    monitor = Monitor()
    settings = toy.SETTINGS.model_copy(update={"save_minutes": 60})
    steps = 0
    events = train(toy.ToyTask(), settings, tmp_path / "a", device="cpu", monitor=monitor)
    while steps < 7:
        steps += isinstance(next(events), Step)
    monitor.cancel()
    with pytest.raises(Cancelled, match="resume to go on"):
        next(events)
    assert not [t for t in threading.enumerate() if t.name.startswith("napari-fundus-data")]
    task = toy.ToyTask()
    events = run(toy, tmp_path / "a", task=task, resume=True)
    assert (events[0].epoch, events[0].step) == (1, 2)
    assert task.epochs_started == [2]
    run(toy, tmp_path / "b")
    assert same(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors")


def test_a_finished_run_can_be_prolonged(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path / "a", max_epochs=1)
    events = run(toy, tmp_path / "a", max_epochs=3, resume=True)
    assert sum(isinstance(e, EpochEnd) for e in events) == 2
    run(toy, tmp_path / "b", max_epochs=3)
    assert same(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors")
    assert [type(e) for e in run(toy, tmp_path / "a", resume=True)] == [Started, Finished]


def test_a_run_with_other_settings_or_data_is_not_resumed(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path, max_epochs=1)
    with pytest.raises(TrainingError, match=r"learning_rate was 0\.01 and is 0\.5"):
        run(toy, tmp_path, resume=True, learning_rate=0.5)


def test_a_damaged_state_is_refused(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path, max_epochs=1)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        run(toy, tmp_path, resume=True)


def test_a_run_is_not_overwritten_unless_asked(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path, max_epochs=1)
    with pytest.raises(OutputExistsError):
        train(toy.ToyTask(), toy.SETTINGS, tmp_path, device="cpu")
    run(toy, tmp_path, max_epochs=1, seed=3, overwrite=True)
    assert read_checkpoint(tmp_path / "best.safetensors").card.recipe["training"]["seed"] == 3


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    toy: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        train(toy.ToyTask(), toy.SETTINGS, tmp_path / "file" / "run", device="cpu")


def test_a_full_disk_is_refused_before_the_first_step(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(state_module.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(TrainingError, match="MB left"):
        run(toy, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_later_leaves_the_last_state(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(toy, tmp_path, max_epochs=1)
    before = (tmp_path / "last.safetensors").read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_module, "save_checkpoint", full)
    with pytest.raises(TrainingError, match="No space left"):
        run(toy, tmp_path, max_epochs=2, resume=True)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_the_same_eye_in_both_parts_is_refused_unless_allowed(
    toy: ModuleType, tmp_path: Path
) -> None:
    task = toy.ToyTask(groups={"s9": "g1"})
    with pytest.raises(LeakageError, match=r"s9 \(validation\) shows the same eye as s1"):
        run(toy, tmp_path, task=task)
    events = run(toy, tmp_path, task=task, allow_leakage=True, max_epochs=1)
    assert "same eye" in events[0].report.text()


def test_early_stopping_ends_the_run(toy: ModuleType, tmp_path: Path) -> None:
    task = toy.ToyTask()
    values = iter([0.5, 0.6, 0.4, 0.5, 0.9])
    task.metrics = lambda sums: {"dice": next(values)}
    events = run(toy, tmp_path, task=task, max_epochs=5, early_stopping=2)
    assert events[-1].reason == "early stopping"
    assert events[-1].epochs == 4
    assert events[-1].best.epoch == 1
    assert [e.improved for e in events if isinstance(e, EpochEnd)] == [True, True, False, False]


def test_the_time_limit_ends_the_run_with_validated_weights(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock gains a second at every look, so that the limit is reached at the same step."""
    seconds = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(seconds)))
    monkeypatch.setattr(clock_module, "time", clock)
    events = run(toy, tmp_path, max_epochs=1000, steps_per_epoch=100_000, max_minutes=1)
    assert events[-1].reason == "time"
    assert 60 <= events[-1].seconds < 90
    assert events[-1].best.path.exists()


def test_a_diverging_loss_is_told(toy: ModuleType, tmp_path: Path) -> None:
    task = toy.ToyTask()
    task.loss = lambda network, batch: network(batch["images"]).sum() * float("nan")
    with pytest.raises(TrainingError, match="diverged"):
        run(toy, tmp_path, task=task)


@pytest.mark.parametrize("scheme", ["freeze_2", "freeze_2_bn", "interleaved"])
def test_frozen_weights_of_a_checkpoint_do_not_move_a_bit(
    toy: ModuleType, tmp_path: Path, scheme: str
) -> None:
    run(toy, tmp_path / "base", max_epochs=1)
    base = load_checkpoint(tmp_path / "base" / "best.safetensors")
    events = run(
        toy, tmp_path / "fine", scheme=scheme, initial=base, optimizer="adamw", weight_decay=0.1
    )
    fine = load_checkpoint(events[-1].best.path)
    assert fine.card.parent is not None
    assert fine.card.parent.sha256 == base.sha256
    frozen = ("convs.0.", "convs.1.") + (("norms.0.", "norms.1.") if scheme == "freeze_2" else ())
    for name, value in fine.tensors.items():
        assert torch.equal(value, base.tensors[name]) == name.startswith(frozen), name
    assert events[0].report.trainable < events[0].report.parameters


def test_the_scheme_none_measures_the_starting_weights_and_keeps_them(
    toy: ModuleType, tmp_path: Path
) -> None:
    run(toy, tmp_path / "base", max_epochs=1)
    base = load_checkpoint(tmp_path / "base" / "best.safetensors")
    events = run(toy, tmp_path / "none", scheme="none", initial=base, ema=0.0)
    assert [type(e) for e in events] == [
        Started,
        EpochEnd,
        CheckpointSaved,
        CheckpointSaved,
        Finished,
    ]
    assert events[-1].reason == "nothing to train"
    assert events[1].metrics["dice"] == base.card.metrics["dice"]
    assert same(tmp_path / "none" / "best.safetensors", tmp_path / "base" / "best.safetensors")


def test_weights_of_another_network_are_refused(toy: ModuleType, tmp_path: Path) -> None:
    run(toy, tmp_path / "base", max_epochs=1)
    base = load_checkpoint(tmp_path / "base" / "best.safetensors")
    task = toy.ToyTask()
    task.build = lambda: torch.nn.Conv2d(3, 1, 1)
    with pytest.raises(CheckpointError, match="do not fit"):
        run(toy, tmp_path / "fine", task=task, initial=base)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("too much"), "CPU has no memory left for a batch of 8.*accumulate"),
        (RuntimeError("CUDA error: unspecified launch failure"), "no longer answers.*Resume the"),
    ],
)
def test_a_device_that_fails_is_told_with_the_way_out(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(loop_module, "is_lost", lambda device, e: "CUDA error" in str(e))
    run(toy, tmp_path, max_epochs=1)
    task = toy.ToyTask()

    def fails(network: Any, batch: Any) -> Any:
        raise error

    task.loss = fails
    with pytest.raises(TrainingError, match=told):
        run(toy, tmp_path, task=task, max_epochs=2, resume=True)
    assert (
        read_checkpoint(tmp_path / "last.safetensors").card.recipe["training_state"]["epoch"] == 1
    )
