"""An archive is listed bit by bit, and its images get the places that a list of all gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_fundus.batch import find_items
from napari_fundus.batch.iter_items import iter_items
from napari_fundus.samples import sample_folder

Draw = Callable[..., Path]


@pytest.mark.parametrize(
    "names",
    [
        ("b.png", "a.jpg", "left/a.jpg", "left/deep/c.tif"),
        ("a.jpg", "a.png", "x/a.jpg", "x/A.tif"),
        ("eye.jpg", "eye_MA.png", "EX/eye.png", "other/eye2.png"),
        ("MA/a.jpg", "EX/b.jpg"),
        ("OD/a.jpg", "OS/a.jpg"),
        ("images/a.jpg", "masks/a.png", "vessel/a_vessel.png", "labels/a_mask.png"),
        ("a.jpg", "a_mask.png", "b.jpg", "Microaneurysms_Masks/a.png", "masks/OpticCup/a.png"),
        ("train/images/a.jpg", "train/GT/a.png", "test/Original/b.jpg", "test/Ground truth/b.png"),
        ("A. Segmentation/1. Original Images/a.jpg", "A. Segmentation/masks/a.png"),
        ("summary.png", "a.jpg"),
        ("a.jpg", "a.overlay.jpg", "._a.jpg", ".hidden/b.jpg", "out/c.jpg"),
    ],
)
def test_images_and_places_are_those_of_the_whole_list(draw: Draw, names: tuple[str, ...]) -> None:
    folder = draw(*names)
    (folder / "notes.txt").write_text("x")
    whole = {(i.path, i.output_stem.as_posix()) for i in find_items([folder], folder / "out")}
    listed = [(i.path, i.output_stem.as_posix()) for i in iter_items([folder], folder / "out")]
    assert set(listed) == whole
    assert len(listed) == len(whole)


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "a_OD.png", "b.jpg"),
        ("a.jpg", "b.jpg", "OD/a.png", "MA/b_MA.png"),
        ("images/deep/a.jpg", "images/b.jpg", "OD/a.png", "MA/b.png"),
        ("images/a.jpg", "masks/OpticDisc/a.png", "masks/EX/a_EX_mask.png"),
        ("images/a.jpg", "OD_Masks/a.png"),
    ],
)
def test_an_image_has_the_masks_that_the_whole_list_knows(
    draw: Draw, names: tuple[str, ...], tmp_path: Path
) -> None:
    def known(items):
        return {i.path: i.sample.annotated for i in items}

    folder = draw(*names)
    whole = known(find_items([folder], tmp_path / "out"))
    assert any(whole.values())
    assert known(iter_items([folder], tmp_path / "out")) == whole


def test_a_folder_is_not_looked_into_before_its_turn(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a/1.jpg", "b/1.jpg")
    items = iter_items([folder], tmp_path / "out")
    assert next(items).output_stem == Path("a/1")
    (folder / "b/2.jpg").write_bytes((folder / "b/1.jpg").read_bytes())
    assert [item.output_stem.as_posix() for item in items] == ["b/1", "b/2"]


def test_folders_that_differ_in_case_alone_do_not_meet(draw: Draw, tmp_path: Path) -> None:
    folder = draw("left/a.jpg", "Left/a.jpg")
    places = [i.output_stem.as_posix().casefold() for i in iter_items([folder], tmp_path / "out")]
    assert len(set(places)) == 2


def test_data_sets_and_several_sources_are_listed_as_ever(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a.jpg")
    both = [folder, sample_folder()]
    assert list(iter_items(both, tmp_path)) == find_items(both, tmp_path)
    (sample,) = iter_items([sample_folder()], tmp_path / "out")
    assert sample.sample is not None
    assert "OD" in sample.sample.annotated, "so that distances to the disc are the same"


def test_a_folder_without_photograph_becomes_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (item,) = iter_items([tmp_path / "empty"], tmp_path / "out")
    assert "no photograph" in item.error
