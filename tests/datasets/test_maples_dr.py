"""MAPLES-DR in its layout, with MESSIDOR's photographs beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset

SHAPE = (64, 96)
STRUCTURES = {
    "Microaneurysms": "MA",
    "Hemorrhages": "HE",
    "Exudates": "EX",
    "CottonWoolSpots": "SE",
    "Neovascularization": "NV",
    "OpticDisc": "OD",
    "Macula": "FOVEA",
}
OTHERS = ("OpticCup", "Vessels", "Drusens", "BrightUncertains", "RedUncertains")


@pytest.fixture
def maples(tmp_path: Path, write_mask: Any) -> Path:
    for split, stem in (("train", "20051019_38557_0100_PP"), ("test", "20051020_43808_0100_PP")):
        for structure in (*STRUCTURES, *OTHERS):
            write_mask(tmp_path / split / structure / f"{stem}.png", (5, 5))
    (tmp_path / "train" / "diagnosis.csv").write_text("name,DR,ME\n20051019_38557_0100_PP,R4A,M1\n")
    (tmp_path / "test" / "diagnosis.csv").write_text("name,DR,ME\n20051020_43808_0100_PP,R6,M6\n")
    return tmp_path


def test_photographs_have_masks_grades_and_splits(maples: Path, write_image: Any) -> None:
    write_image(maples / "images" / "20051019_38557_0100_PP.tif")
    write_image(maples / "images" / "20051020_43808_0100_PP.tif", seed=1)

    data = open_dataset(maples)

    assert data.name == "maples_dr"
    assert [(s.split, s.grades) for s in data] == [
        ("test", {"gradable": 0}),
        ("train", {"dr": 4, "dme": 1}),
    ]
    for sample in data:
        assert sample.annotated == set(STRUCTURES.values())
        assert all(sample.mask(code, SHAPE).sum() == 6 for code in sample.annotated)
    assert {p.path for p in data.problems} == {
        f"{split}/{name}" for split in ("train", "test") for name in OTHERS
    }


def test_that_the_photographs_are_missing_is_told(maples: Path, write_image: Any) -> None:
    data = open_dataset(maples, "maples_dr")

    assert len(data) == 0
    assert any("MESSIDOR's photographs are no part of the set" in p.message for p in data.problems)

    write_image(maples / "Messidor" / "20051019_38557_0100_PP.tif")
    data = open_dataset(maples)
    assert [s.id for s in data] == ["train/20051019_38557_0100_PP"]
    assert any(
        p.path.endswith("20051020_43808_0100_pp") and "photograph is missing" in p.message
        for p in data.problems
    )


def test_without_its_tables_its_masks_are_still_no_photographs(
    maples: Path, write_image: Any
) -> None:
    for table in maples.rglob("*.csv"):
        table.unlink()
    write_image(maples / "images" / "20051019_38557_0100_PP.tif")

    data = open_dataset(maples)

    assert data.name == "folder"
    assert [s.id for s in data] == ["images/20051019_38557_0100_PP"]
    assert data[0].annotated == set(STRUCTURES.values())
