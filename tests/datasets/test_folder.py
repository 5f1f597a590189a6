"""Plain folders of images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.errors import DatasetError
from napari_fundus.samples import sample_folder

SHAPE = (64, 96)


def summary(folder: Path) -> dict[str, list[str]]:
    data = open_dataset(folder)
    assert isinstance(data, FolderDataset)
    return {s.id: sorted(s.annotated) for s in data}


def test_masks_are_told_by_suffix(tmp_path: Path, write_image: Any, write_mask: Any) -> None:
    write_image(tmp_path / "eye_01.jpg")
    for ending in ("MA", "hard_exudates", "HE"):
        write_mask(tmp_path / f"eye_01_{ending}.png", (5, 5))

    assert summary(tmp_path) == {"eye_01": ["EX", "HE", "MA"]}


def test_masks_are_told_by_folder(tmp_path: Path, write_image: Any, write_mask: Any) -> None:
    write_image(tmp_path / "images" / "x.jpg")
    write_mask(tmp_path / "labels" / "1. Microaneurysms" / "x.png", (5, 5))
    write_mask(tmp_path / "labels" / "SE" / "x_SE.tif", (5, 5))

    assert summary(tmp_path) == {"images/x": ["MA", "SE"]}
    assert open_dataset(tmp_path)[0].mask("SE", SHAPE).sum() == 6


def test_nested_sets_are_splits_and_masks_stay_with_the_nearest_image(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for split in ("train", "test"):
        write_image(tmp_path / split / "images" / "x.jpg")
    write_mask(tmp_path / "test" / "masks" / "MA" / "x.png", (5, 5))

    data = open_dataset(tmp_path)

    assert data.splits == {"test": 1, "train": 1}
    assert [sorted(s.annotated) for s in data] == [["MA"], []]


def test_class_without_a_mask_is_not_annotated_and_named(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for stem in "ab":
        write_image(tmp_path / f"{stem}.jpg")
    write_mask(tmp_path / "a_MA.png")

    data = open_dataset(tmp_path)

    assert [sorted(s.annotated) for s in data] == [["MA"], []]
    assert [p.path for p in data.problems] == ["b.jpg"]


def test_mask_without_an_image_is_named(tmp_path: Path, write_image: Any, write_mask: Any) -> None:
    write_image(tmp_path / "a.jpg")
    write_mask(tmp_path / "MA" / "b.png")

    assert "MA/b.png" in {p.path for p in open_dataset(tmp_path).problems}


def test_images_of_right_eyes_are_no_masks_of_the_disc(tmp_path: Path, write_image: Any) -> None:
    """OD also stands for the right eye; without an image of the stem before it, it is an image."""
    write_image(tmp_path / "patient7_OD.jpg")
    write_image(tmp_path / "patient7_OS.jpg")

    assert summary(tmp_path) == {"patient7_OD": [], "patient7_OS": []}


def test_folders_of_right_and_left_eyes_hold_no_masks(tmp_path: Path, write_image: Any) -> None:
    for side in ("OD", "OS"):
        write_image(tmp_path / side / "p1.jpg")

    assert summary(tmp_path) == {"OD/p1": [], "OS/p1": []}


def test_od_beside_os_at_the_end_of_names_is_the_right_eye(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for name in ("p1", "p1_OD", "p1_OS"):
        write_image(tmp_path / f"{name}.jpg")
    write_mask(tmp_path / "p1_OD_MA.png")

    assert summary(tmp_path) == {"p1": [], "p1_OD": ["MA"], "p1_OS": []}


def test_equal_stems_keep_their_suffix_in_the_id(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "a.png")

    assert [s.id for s in open_dataset(tmp_path)] == ["a.jpg", "a.png"]


def test_images_sorted_by_class_are_images(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "MA" / "a.jpg")
    write_image(tmp_path / "HE" / "b.jpg")

    assert summary(tmp_path) == {"HE/b": [], "MA/a": []}


@pytest.mark.parametrize(
    "junk", [".hidden.png", "._a.jpg", "Thumbs.db", "__MACOSX/a.jpg", "notes.txt"]
)
def test_junk_is_ignored(tmp_path: Path, write_image: Any, junk: str) -> None:
    write_image(tmp_path / "a.jpg")
    (tmp_path / junk).parent.mkdir(exist_ok=True)
    (tmp_path / junk).write_bytes(b"junk")

    assert summary(tmp_path) == {"a": []}


def test_links_are_followed_but_not_in_circles(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")

    assert summary(tmp_path / "data") == {"linked/a": []}


def test_sample_that_ships_with_the_package_is_a_folder_with_all_masks() -> None:
    sample = open_dataset(sample_folder())[0]

    assert sample.annotated == {"MA", "HE", "EX", "SE", "OD"}
    assert sample.truths["OD"].count((2848, 4288)) == 1


@pytest.mark.parametrize(
    "mask",
    [
        "masks/a.png",
        "mask/a_mask.png",
        "labels/a_mask.png",
        "Label/a.png",
        "vessel/a.png",
        "vessels/a_vessel.png",
        "GT/a.png",
        "groundtruth/a.png",
        "Ground truth/a.png",
        "GroundTruths/a.png",
        "annotations/a.png",
        "1st_manual/a_manual1.gif",
        "segmentation/a.png",
        "masks/Vessels/a.png",
        "masks/OpticCup/a.png",
        "Disc_Cup_Masks/a.png",
        "images/a_mask.png",
        "images/a_gt.png",
        "images/a-vessels.png",
    ],
)
def test_masks_without_a_known_class_are_no_photographs_and_told(
    tmp_path: Path, write_image: Any, write_mask: Any, mask: str
) -> None:
    write_image(tmp_path / "images" / "a.jpg")
    write_mask(tmp_path / mask, (5, 5))

    assert summary(tmp_path) == {"images/a": []}
    (problem,) = open_dataset(tmp_path).problems
    assert problem.path == Path(mask).parent.as_posix()
    assert "1 masks are left out" in problem.message


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        ("Microaneurysms_Masks/a.png", "MA"),
        ("Hemohedge_Masks/a.png", "HE"),
        ("HardExudate_Masks/a.png", "EX"),
        ("masks/CottonWoolSpots/a.png", "SE"),
        ("masks/OpticDisc/a.png", "OD"),
        ("labels/a_EX_mask.png", "EX"),
        ("MA/a_mask.png", "MA"),
        ("EX/masks/a.png", "EX"),
        ("images/a_EX_gt.png", "EX"),
    ],
)
def test_masks_of_a_known_class_go_to_the_image_of_their_name(
    tmp_path: Path, write_image: Any, write_mask: Any, mask: str, code: str
) -> None:
    write_image(tmp_path / "images" / "a.jpg")
    write_image(tmp_path / "images" / "b.jpg", seed=1)
    write_mask(tmp_path / mask, (5, 5))

    assert summary(tmp_path) == {"images/a": [code], "images/b": []}
    assert open_dataset(tmp_path)[0].mask(code, SHAPE).sum() == 6


@pytest.mark.parametrize(
    "place",
    [
        "Segmentation/Original images/a.jpg",
        "labels/images/a.jpg",
        "images and masks/a.jpg",
        "Vein occlusion/a.jpg",
        "unlabelled/a.jpg",
        "mask.jpg",
        "gt.jpg",
        "a_label.jpg",
    ],
)
def test_photographs_are_not_taken_for_masks(tmp_path: Path, write_image: Any, place: str) -> None:
    write_image(tmp_path / place)
    write_image(tmp_path / "eye.jpg")

    assert Path(place).with_suffix("").as_posix() in summary(tmp_path)


def test_a_folder_of_masks_that_is_named_itself_holds_photographs(
    tmp_path: Path, write_image: Any
) -> None:
    """Around it there is none, which is said with what to do."""
    write_image(tmp_path / "masks" / "a.png")

    assert summary(tmp_path / "masks") == {"a": []}
    with pytest.raises(DatasetError, match=r"1 masks .* no photograph.*name the files themselves"):
        open_dataset(tmp_path)
