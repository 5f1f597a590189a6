"""DDR in its original layout, and what is missing from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset, summarize

SHAPE = (64, 96)


@pytest.fixture
def ddr(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    root = tmp_path / "DDR" / "lesion_segmentation"
    for split, labels in (("train", "label"), ("valid", "segmentation label"), ("test", "label")):
        stem = f"007-0004-{split}"
        write_image(root / split / "image" / f"{stem}.jpg")
        for code in ("EX", "HE", "MA", "SE"):
            places = [(10, 10)] if code == "MA" else []
            write_mask(root / split / labels / code / f"{stem}.png", *places)
            mask = root / split / labels / code / f"{stem}.png"
            mask.rename(mask.with_suffix(".tif"))
    return root


def test_three_splits_are_annotated_in_full(ddr: Path) -> None:
    data = open_dataset(ddr)

    assert data.name == "ddr"
    assert data.problems == ()
    assert data.splits == {"train": 1, "valid": 1, "test": 1}
    assert {s.annotated for s in data} == {frozenset({"EX", "HE", "MA", "SE"})}
    assert data[1].mask("MA", SHAPE).sum() == 6


def test_black_mask_means_looked_for_and_not_found(ddr: Path) -> None:
    classes = {c.code: c for c in summarize(open_dataset(ddr)).classes}

    assert (classes["EX"].annotated, classes["EX"].with_lesions) == (3, 0)
    assert (classes["MA"].with_lesions, classes["MA"].lesions) == (3, 3)


@pytest.mark.parametrize("inside", ["..", "../..", "train", "valid/segmentation label/EX"])
def test_folder_around_or_inside_is_understood(ddr: Path, inside: str) -> None:
    assert len(open_dataset(ddr / inside)) == 3


def test_what_is_missing_is_named_and_not_annotated(ddr: Path) -> None:
    (ddr / "train" / "label" / "SE" / "007-0004-train.tif").unlink()
    (ddr / "valid" / "image" / "007-0004-valid.jpg").unlink()
    shutil.rmtree(ddr / "test")

    data = open_dataset(ddr)

    paths = {p.path for p in data.problems}
    assert "train/image/007-0004-train.jpg" in paths
    assert "valid/segmentation label/MA/007-0004-valid.tif" in paths
    assert "test" in paths
    assert data[0].annotated == {"EX", "HE", "MA"}
