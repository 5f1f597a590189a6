"""Retinal-Lesions in its layout: a folder of masks for each photograph, with two grey values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import open_dataset

SHAPE = (64, 96)


@pytest.fixture
def retinal_lesions(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    root = tmp_path / "retinal-lesions-v20191227"
    for stem in ("10_left", "10_right", "13_left"):
        write_image(root / "images_896x896" / f"{stem}.jpg")
    masks = root / "lesion_segs_896x896"
    for name in ("microaneurysm", "retinal_hemorrhage", "hard_exudate", "cotton_wool_spots"):
        write_mask(masks / "10_left" / f"{name}.png", (5, 5))
    for name in ("neovascularization", "preretinal_hemorrhage", "fibrous_proliferation"):
        write_mask(masks / "10_right" / f"{name}.png", (5, 5))
    (root / "dr_grades.csv").write_text(
        "image id,kaggle label,our label\n10_left,0,2\n10_right,4,3\n13_left,1,0\n"
    )
    return root


def test_every_class_is_annotated_and_grades_are_the_authors_own(retinal_lesions: Path) -> None:
    data = open_dataset(retinal_lesions)

    assert data.name == "retinal_lesions"
    assert {s.id: s.grades["dr"] for s in data} == {"10_left": 2, "10_right": 3, "13_left": 0}
    drawn = {s.id: {c for c in s.annotated if s.mask(c, SHAPE).any()} for s in data}
    assert drawn == {"10_left": {"MA", "HE", "EX", "SE"}, "10_right": {"NV"}, "13_left": set()}
    assert {s.annotated for s in data} == {frozenset({"MA", "HE", "EX", "SE", "NV"})}
    assert [s.group for s in data] == ["eyepacs:10", "eyepacs:10", "eyepacs:13"]
    assert [p.message.split(" are")[0] for p in data.problems] == [
        "1 masks of fibrous proliferations",
        "1 masks of preretinal haemorrhages",
    ]


def test_what_the_authors_exclude_does_not_count(retinal_lesions: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:12, 10:13], mask[20:22, 10:20] = 255, 127
    place = retinal_lesions / "lesion_segs_896x896" / "10_left" / "microaneurysm.png"
    Image.fromarray(mask).save(place)

    assert open_dataset(retinal_lesions)[0].mask("MA", SHAPE).sum() == 6


def test_what_is_missing_is_named(retinal_lesions: Path) -> None:
    (retinal_lesions / "images_896x896" / "10_right.jpg").unlink()
    (retinal_lesions / "dr_grades.csv").write_text("image id,kaggle label,our label\n10_left,0,2\n")

    told = {p.path for p in open_dataset(retinal_lesions).problems}

    assert told == {"lesion_segs_896x896/10_right", "images_896x896/13_left.jpg"}
