"""Killed fifty times at random, a batch's folder is valid and a training can be resumed."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path

import pytest
import torch

from napari_fundus.batch.config import BATCH_NAME, read_batch_config
from napari_fundus.checkpoints import read_checkpoint
from napari_fundus.export import read_csv, read_labels_tiff, read_provenance

pytestmark = pytest.mark.slow

KILLS = 50
FORMATS = ["csv", "labels"]
MARK = ".provenance.json"


def finished(folder: Path) -> dict[str, bytes]:
    """Return what stands in an output folder, read through; hidden files are nobody's result.

    Every file under a final name must be whole, and where there is a provenance file, all that it
    speaks of must be there.
    """
    content: dict[str, bytes] = {}
    for mark in sorted(folder.glob(f"*{MARK}")):
        stem = mark.name.removesuffix(MARK)
        read_provenance(mark)
        content[f"{stem}.csv"] = (folder / f"{stem}.csv").read_bytes()
        planes, _ = read_labels_tiff(folder / f"{stem}.labels.tif")
        content[f"{stem}.labels"] = planes["EX"].tobytes()
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.startswith("."):
            continue
        if path.name == "summary.csv":
            with path.open(newline="") as file:
                assert all(row["status"] for row in csv.DictReader(file))
        elif path.name == BATCH_NAME:
            assert read_batch_config(folder) is not None
        elif path.name.endswith(".csv"):
            assert len(read_csv(path)) == 1
        elif path.name.endswith(".labels.tif"):
            assert set(read_labels_tiff(path)[0]) == {"EX"}
        else:
            assert path.name.endswith(MARK), path
    return content


def test_the_output_of_a_batch_is_valid_after_every_kill_and_complete_in_the_end(
    start, photographs: Path, tmp_path: Path
) -> None:
    rng, broken, whole = random.Random(0), tmp_path / "broken", tmp_path / "whole"
    given = {"sources": [photographs], "formats": FORMATS}
    assert start("batch", output=whole, **given) == "done"
    expected = finished(whole)
    assert len(expected) == 24
    kills, seen = 0, set()
    while kills < KILLS:
        # Half of them into results that are already there, which are then replaced.
        again, early = kills % 2 == 1, rng.random() < 0.2
        kill = {"signs": rng.randint(1, 6), "delay": rng.uniform(0.0, 0.03)}
        ended = start("batch", **kill, early=early, output=broken, overwrite=again, **given)
        assert ended != "failed"
        there = finished(broken)
        assert there.items() <= expected.items()
        seen.add(len(there))
        if ended == "killed":
            kills += 1
        else:
            assert there == expected
            shutil.rmtree(broken)
    assert start("batch", output=broken, **given) == "done"
    assert finished(broken) == expected
    # A kill between the last renaming and the tidying up leaves a hidden folder, and nothing else.
    hidden = [path.name for path in broken.iterdir() if path.name.startswith(".")]
    assert all(name.endswith(".partial") for name in hidden)
    assert len(seen) > 2, "the kills struck at one place only"


def test_a_training_can_be_resumed_after_every_kill_and_loses_nothing(
    start, tmp_path: Path
) -> None:
    """A state is saved after every step, so that many a kill strikes while a file is written."""
    rng, broken, whole = random.Random(1), tmp_path / "broken", tmp_path / "whole"
    given = {"save_minutes": 0.0, "steps_per_epoch": 4, "early_stopping": 0}
    reached = []
    for _ in range(KILLS):
        kill = {"signs": rng.randint(1, 6), "delay": rng.uniform(0.0, 0.1)}
        ended = start("training", **kill, folder=broken, max_epochs=10_000, **given)
        assert ended == "killed"
        if (broken / "last.safetensors").exists():
            numbers = read_checkpoint(broken / "last.safetensors").card.recipe["training_state"]
            reached.append(numbers["total_steps"])
        if (broken / "best.safetensors").exists():
            read_checkpoint(broken / "best.safetensors")
    assert reached == sorted(reached)
    assert len(set(reached)) > 3, "the kills struck at one place only"
    epochs = reached[-1] // 4 + 1
    for folder in (broken, whole):
        assert start("training", folder=folder, max_epochs=epochs, **given) == "done"
    for name in ("best.safetensors", "last.safetensors"):
        first, second = (read_checkpoint(f / name).tensors for f in (broken, whole))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert not [path for path in broken.iterdir() if path.name.startswith(".")]
