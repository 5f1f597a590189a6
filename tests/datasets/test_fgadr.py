"""FGADR in its layout: folders of masks, some classes for some photographs, a table of grades."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import open_dataset

SHAPE = (64, 96)
FOLDERS = {
    "MA": "Microaneurysms_Masks",
    "HE": "Hemohedge_Masks",
    "EX": "HardExudate_Masks",
    "SE": "SoftExudate_Masks",
}


@pytest.fixture
def fgadr(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    root = tmp_path / "Seg-set"
    for stem in ("0001_1", "0002_2"):
        write_image(root / "Original_Images" / f"{stem}.png")
        for folder in FOLDERS.values():
            write_mask(root / folder / f"{stem}.png", (5, 5))
    write_mask(root / "IRMA_Masks" / "0001_1.png", (9, 9), (30, 30))
    write_mask(root / "Neovascularization_Masks" / "0002_2.png", (9, 9))
    (root / "DR_Seg_Grading_Label.csv").write_text("0001_1.png,2\n0002_2.png,4\n")
    return root


def test_photographs_have_masks_and_grades(fgadr: Path) -> None:
    data = open_dataset(fgadr.parent)

    assert data.name == "fgadr"
    assert data.problems == ()
    assert {s.id: sorted(s.annotated) for s in data} == {
        "0001_1": ["EX", "HE", "IRMA", "MA", "SE"],
        "0002_2": ["EX", "HE", "MA", "NV", "SE"],
    }
    assert [s.grades for s in data] == [{"dr": 2}, {"dr": 4}]
    assert data[0].truths["IRMA"].count(SHAPE) == 2


def test_smoothed_edges_count_from_the_middle(fgadr: Path) -> None:
    smooth = np.zeros(SHAPE, np.uint8)
    smooth[10:20, 10:20], smooth[10:20, 9], smooth[10:20, 20] = 255, 127, 128
    Image.fromarray(smooth).save(fgadr / "HardExudate_Masks" / "0001_1.png")

    assert open_dataset(fgadr)[0].mask("EX", SHAPE).sum() == 110


def test_what_is_missing_or_odd_is_named(fgadr: Path, write_mask: Any) -> None:
    (fgadr / "SoftExudate_Masks" / "0002_2.png").unlink()
    write_mask(fgadr / "HardExudate_Masks" / "0009_3.png")
    (fgadr / "DR_Seg_Grading_Label.csv").write_text("0001_1.png,7\n0009_3.png,1\n")

    data = open_dataset(fgadr)

    assert "SE" not in data[1].annotated
    told = [f"{p.path}: {p.message}" for p in data.problems]
    for expected in (
        "Original_Images/0002_2.png: The SE mask is missing",
        "HardExudate_Masks/0009_3.png: The image of this mask is missing",
        "the grade '7' is left out",
        "DR_Seg_Grading_Label.csv: 0009_3.png: A row without an image",
        "Original_Images/0002_2.png: The photograph has no grade",
    ):
        assert any(expected in line for line in told), expected
