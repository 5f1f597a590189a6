"""A batch takes the photographs, all of them once, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_fundus.batch import find_items
from napari_fundus.samples import sample_folder

Draw = Callable[..., Path]


def places(sources: list[Path], output: Path) -> list[str]:
    return [item.output_stem.as_posix() for item in find_items(sources, output)]


def test_folders_are_searched_and_keep_their_structure(draw: Draw, tmp_path: Path) -> None:
    folder = draw("b.png", "a.jpg", "left/a.jpg", "left/deep/c.tif")
    assert places([folder], tmp_path / "out") == ["a", "b", "left/a", "left/deep/c"]


def test_hidden_files_and_other_files_are_left_out(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a.jpg", "._a.jpg", ".hidden/b.jpg")
    (folder / "notes.txt").write_text("x")
    assert places([folder], tmp_path / "out") == ["a"]


def test_masks_are_not_photographs(draw: Draw, tmp_path: Path) -> None:
    folder = draw("eye.jpg", "eye_MA.png", "EX/eye.png")
    assert places([folder], tmp_path / "out") == ["eye"]
    assert places([sample_folder()], tmp_path / "out") == ["IDRiD_13"]


def test_photographs_beside_a_data_set_are_taken_too(draw: Draw, tmp_path: Path) -> None:
    images = "set/A. Segmentation/1. Original Images/a. Training Set"
    masks = "set/A. Segmentation/2. All Segmentation Groundtruths/a. Training Set"
    folder = draw(
        f"{images}/IDRiD_01.jpg", f"{masks}/1. Microaneurysms/IDRiD_01_MA.tif", "own/eye.jpg"
    )
    assert places([folder], tmp_path / "out") == ["own/eye", f"{images}/IDRiD_01"]


def test_the_output_folder_is_no_source(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a.jpg", "out/a.overlay.jpg", "out/b.jpg")
    assert places([folder], folder / "out") == ["a"]


def test_results_beside_the_images_are_no_sources(draw: Draw, tmp_path: Path) -> None:
    folder = draw(
        "a.jpg", "a.overlay.jpg", "a.labels.tif", "a.preprocessed.png", "a.probability.tif"
    )
    assert places([folder], folder) == ["a"]
    assert places([folder], tmp_path / "out") == ["a"]


def test_each_image_is_taken_once(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a.jpg", "b.jpg")
    assert places([folder / "b.jpg", folder, folder / "a.jpg"], tmp_path) == ["b", "a"]


def test_equal_names_get_places_of_their_own(draw: Draw, tmp_path: Path) -> None:
    folder = draw("1/eye.jpg", "2/eye.jpg", "2/other.jpg")
    files = [folder / name for name in ("1/eye.jpg", "2/eye.jpg", "2/other.jpg")]
    assert places(files, tmp_path / "out") == ["1/eye", "2/eye", "other"]
    assert places([folder / "1", folder / "2"], tmp_path / "out") == ["1/eye", "2/eye", "other"]


def test_equal_stems_keep_their_suffix(draw: Draw, tmp_path: Path) -> None:
    folder = draw("eye.jpg", "eye.png", "EYE.tif", "fine.jpg")
    found = places([folder], tmp_path / "out")
    assert sorted(found) == ["EYE.tif", "eye.jpg", "eye.png", "fine"]


def test_places_are_unique_even_for_names_made_to_collide(draw: Draw, tmp_path: Path) -> None:
    folder = draw("a.png", "a.jpg", "a.jpg.png", "a.jpg.jpg")
    found = places([folder], tmp_path / "out")
    assert len({place.casefold() for place in found}) == 4


def test_an_image_called_summary_does_not_meet_the_summary(draw: Draw, tmp_path: Path) -> None:
    assert places([draw("Summary.jpg")], tmp_path / "out") == ["Summary.jpg"]


def test_links_to_images_elsewhere_count(draw: Draw, tmp_path: Path) -> None:
    store = draw("store/1234.jpg").parent / "in" / "store"
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "eye.jpg").symlink_to(store / "1234.jpg")
    assert places([folder], tmp_path / "out") == ["eye"]
    assert places([folder / "eye.jpg"], tmp_path / "out") == ["eye"]


@pytest.mark.parametrize("name", ["missing.jpg", "empty"])
def test_sources_without_image_become_problems(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (item,) = find_items([tmp_path / name], tmp_path / "out")
    assert item.error
