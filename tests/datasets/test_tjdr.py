"""TJDR in its layout: one mask a photograph, whose numbers tell the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import open_dataset, split_by_group
from napari_fundus.errors import DatasetError

SHAPE = (64, 96)


def write_numbers(path: Path) -> None:
    """Write a palette PNG as Labelme does: 1 EX (2 px), 2 HE (3), 3 MA (4), 4 SE (5)."""
    numbers = np.zeros(SHAPE, np.uint8)
    for number in (1, 2, 3, 4):
        numbers[10 * number, 10 : 11 + number] = number
    image = Image.fromarray(numbers, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def tjdr(tmp_path: Path, write_image: Any) -> Path:
    for seed, stem in enumerate(("train_001", "train_002", "test_001")):
        split = stem.partition("_")[0]
        write_image(tmp_path / split / "image" / f"{stem}.png", seed=seed)
        write_numbers(tmp_path / split / "annotation" / f"{stem}.png")
    return tmp_path


def test_each_number_is_its_class(tjdr: Path) -> None:
    data = open_dataset(tjdr)

    assert data.name == "tjdr"
    assert data.problems == ()
    assert data.splits == {"test": 1, "train": 2}
    for sample in data:
        pixels = {code: int(sample.mask(code, SHAPE).sum()) for code in sample.annotated}
        assert pixels == {"EX": 2, "HE": 3, "MA": 4, "SE": 5}


def test_a_photograph_that_is_in_it_twice_is_told_and_grouped(tjdr: Path, write_image: Any) -> None:
    write_image(tjdr / "test" / "image" / "test_001.png", seed=1)

    data = open_dataset(tjdr)

    (problem,) = data.problems
    assert "the same photograph" in problem.message
    assert len({s.group for s in data if s.id in ("test_001", "train_002")}) == 1
    for seed in range(5):
        first, second = split_by_group(data, 2, seed=seed)
        assert sum(s.id in ("test_001", "train_002") for s in first) in (0, 2), second


def test_a_mask_whose_numbers_became_colours_is_refused(tjdr: Path) -> None:
    """As programs do that know no palettes."""
    path = tjdr / "train" / "annotation" / "train_001.png"
    Image.open(path).convert("RGB").save(path)

    with pytest.raises(DatasetError, match=r"train_001\.png holds 128.*0, 1, 2, 3, 4"):
        open_dataset(tjdr)[1].mask("EX", SHAPE)


def test_what_is_missing_is_named(tjdr: Path) -> None:
    (tjdr / "train" / "annotation" / "train_001.png").unlink()
    (tjdr / "train" / "image" / "train_002.png").unlink()

    data = open_dataset(tjdr)

    assert [s.annotated for s in data if s.id == "train_001"] == [frozenset()]
    assert [p.path for p in data.problems] == [
        "train/image/train_001.png",
        "train/annotation/train_002.png",
    ]
