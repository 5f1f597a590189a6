"""e-ophtha in its original layout, and its traps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset, split_by_group
from napari_fundus.errors import DatasetError

SHAPE = (64, 96)


@pytest.fixture(params=["e_optha", "e_ophtha"])
def eophtha(
    request: pytest.FixtureRequest, tmp_path: Path, write_image: Any, write_mask: Any
) -> Path:
    """Both sets; C0000887 and C0001273 stand in both, the latter healthy in EX."""
    ma, ex = (tmp_path / "data" / f"{request.param}_{code}" for code in ("MA", "EX"))
    write_image(ma / "MA" / "E0000043" / "C0000887.jpg", seed=1)
    write_mask(ma / "Annotation_MA" / "E0000043" / "C0000887.png", (10, 10), (20, 20))
    write_image(ma / "MA" / "E0000404" / "C0001273.JPG", seed=2)
    write_mask(ma / "Annotation_MA" / "E0000404" / "C0001273.png", (10, 10))
    write_image(ma / "healthy" / "E0000500" / "C0002000.png", seed=3)
    write_image(ma / "healthy" / "E0000500" / "C0002001.jpg", seed=4)
    write_image(ex / "EX" / "E0000043" / "C0000887.jpg", seed=1)
    write_mask(ex / "Annotation_EX" / "E0000043" / "C0000887_EX.png", (30, 30))
    write_image(ex / "EX" / "E0000600" / "C0003000.jpg", seed=5)
    write_mask(ex / "Annotation_EX" / "E0000600" / "C0003000_EX.png", (30, 30), (40, 40), (50, 50))
    write_image(ex / "healthy" / "E0019457" / "C0001273.JPG", seed=2)
    for junk in ma.rglob("E0*"):
        (junk / "Thumbs.db").write_bytes(b"junk")
    return tmp_path / "data"


def part(eophtha: Path, code: str) -> Path:
    return next(eophtha.glob(f"*_{code}"))


def test_set_of_microaneurysms_says_nothing_of_exudates(eophtha: Path) -> None:
    data = open_dataset(part(eophtha, "MA"))

    assert data.name == "eophtha"
    assert data.problems == ()
    assert {sample.annotated for sample in data} == {frozenset({"MA"})}
    with pytest.raises(DatasetError, match="EX is not annotated"):
        data[0].mask("EX", SHAPE)


def test_set_of_exudates_says_nothing_of_microaneurysms(eophtha: Path) -> None:
    data = open_dataset(part(eophtha, "EX"))

    assert {sample.annotated for sample in data} == {frozenset({"EX"})}
    assert sum(sample.truths["EX"].count(SHAPE) for sample in data if sample.truths) == 4


def test_healthy_images_are_annotated_with_nothing_found(eophtha: Path) -> None:
    healthy = next(s for s in open_dataset(eophtha) if s.id == "MA/healthy/E0000500/C0002000")

    assert healthy.annotated == {"MA"}
    assert not healthy.mask("MA", SHAPE).any()


def test_image_in_both_sets_becomes_one_sample_with_both_classes(eophtha: Path) -> None:
    data = open_dataset(eophtha)
    both = {s.image_path.stem: s for s in data if s.annotated == {"MA", "EX"}}

    assert len(data) == 5
    assert set(both) == {"C0000887", "C0001273"}
    assert both["C0000887"].truths["MA"].count(SHAPE) == 2
    assert both["C0000887"].truths["EX"].count(SHAPE) == 1
    assert not both["C0001273"].mask("EX", SHAPE).any()
    assert both["C0001273"].mask("MA", SHAPE).any()


def test_counts_by_class_are_those_of_the_sets(eophtha: Path) -> None:
    data = open_dataset(eophtha)

    assert len(data.select(annotated="MA")) == 4
    assert len(data.select(annotated="EX")) == 3


def test_images_of_one_examination_are_never_separated(eophtha: Path) -> None:
    data = open_dataset(eophtha)
    pair = [s for s in data if "E0000500" in s.id]

    assert len({s.group for s in pair}) == 1
    for seed in range(10):
        parts = split_by_group(data, [0.5, 0.5], seed=seed)
        assert sorted(sum("E0000500" in s.id for s in p) for p in parts) == [0, 2]


@pytest.mark.parametrize("inside", [".", "..", "*_MA/..", "*_MA/MA/E0000043", "*_EX/Annotation_EX"])
def test_folder_around_or_inside_is_understood(eophtha: Path, inside: str) -> None:
    folder = next(eophtha.glob(inside)) if "*" in inside else eophtha / inside

    assert open_dataset(folder).name == "eophtha"


def test_image_without_its_mask_is_named_and_not_annotated(eophtha: Path) -> None:
    next(part(eophtha, "MA").rglob("Annotation_MA/E0000404/*.png")).unlink()

    data = open_dataset(part(eophtha, "MA"))

    assert next(s for s in data if "C0001273" in s.id).annotated == frozenset()
    assert [p.path for p in data.problems] == ["MA/E0000404/C0001273.JPG"]


def test_mask_without_its_image_and_missing_folder_are_named(eophtha: Path) -> None:
    next(part(eophtha, "EX").rglob("EX/E0000600/*.jpg")).unlink()
    shutil.rmtree(part(eophtha, "EX") / "healthy")

    paths = {p.path for p in open_dataset(part(eophtha, "EX")).problems}

    assert paths == {"healthy", "Annotation_EX/E0000600/C0003000_EX.png"}
