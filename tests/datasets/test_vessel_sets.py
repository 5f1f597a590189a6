"""FIVES and RETA in their layouts: the photographs are read, the vessels are told as left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_fundus.batch import find_items
from napari_fundus.datasets import open_dataset


def test_fives_has_splits_and_knows_what_is_normal(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    root = tmp_path / "FIVES A Fundus Image Dataset for AI-based Vessel Segmentation"
    for split, stems in (("train", ("1_A", "2_N")), ("test", ("1_D", "2_G"))):
        for stem in stems:
            write_image(root / split / "Original" / f"{stem}.png")
            write_mask(root / split / "Ground truth" / f"{stem}.png", (5, 5))

    data = open_dataset(tmp_path)

    assert data.name == "fives"
    assert {s.id: s.grades for s in data} == {
        "test/1_D": {},
        "test/2_G": {},
        "train/1_A": {},
        "train/2_N": {"dr": 0},
    }
    assert {s.annotated for s in data} == {frozenset()}
    assert [(p.path, p.message[:18]) for p in data.problems] == [
        ("test/Ground truth", "2 masks of vessels"),
        ("train/Ground truth", "2 masks of vessels"),
    ]
    assert len(find_items([tmp_path], tmp_path / "out")) == 4


def test_reta_has_splits_though_no_vessels_of_its_testing_part(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for split, stem in (("train", "IDRiD_01"), ("test", "IDRiD_55")):
        write_image(tmp_path / "images" / split / "img" / f"{stem}.jpg")
    write_mask(tmp_path / "images" / "train" / "vessel" / "IDRiD_01_vessel.png", (5, 5))

    data = open_dataset(tmp_path)

    assert data.name == "reta"
    assert [(s.id, s.split) for s in data] == [
        ("test/IDRiD_55", "test"),
        ("train/IDRiD_01", "train"),
    ]
    assert [p.path for p in data.problems] == ["train/vessel"]
