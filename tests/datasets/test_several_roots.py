"""Several roots of a data set below one folder: all are read, or what is not is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.batch.items import find_items
from napari_fundus.datasets import Dataset, open_dataset, split_by_group
from napari_fundus.errors import DatasetError

SHAPE = (64, 96)
IDRID_IMAGES, TRAIN = "1. Original Images", "a. Training Set"


@pytest.fixture
def idrid(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    """IDRiD with each zip unpacked into a folder of its own."""
    a, b, c = (
        tmp_path / f"{zipped}" / zipped
        for zipped in ("A. Segmentation", "B. Disease Grading", "C. Localization")
    )
    write_image(a / IDRID_IMAGES / TRAIN / "IDRiD_01.jpg")
    masks = a / "2. All Segmentation Groundtruths" / TRAIN / "1. Microaneurysms"
    write_mask(masks / "IDRiD_01_MA.tif", (10, 10))
    tables = ("2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",)
    for part in (b, c):
        write_image(part / IDRID_IMAGES / TRAIN / "IDRiD_001.jpg", 1)
    (b / "2. Groundtruths").mkdir()
    (b / tables[0]).write_text("Image name,Retinopathy grade\nIDRiD_001,3\n")
    centres = c / "2. Groundtruths" / "1. Optic Disc Center Location"
    centres.mkdir(parents=True)
    (centres / "IDRiD_OD_Center_Training Set_Markups.csv").write_text("Image,X,Y\nIDRiD_001,7,3\n")
    return tmp_path


def places(dataset: Dataset) -> list[str]:
    return [sample.image_path.relative_to(dataset.root).as_posix() for sample in dataset]


def test_idrid_with_its_zips_apart_is_one_data_set(idrid: Path) -> None:
    data = open_dataset(idrid)
    assert data.root == idrid
    assert [s.id for s in data] == ["grading/IDRiD_001", "segmentation/IDRiD_01"]
    assert data[0].centres == {"OD": (3, 7)}
    assert data[1].mask("MA", SHAPE).sum() == 6
    assert not any("left out" in p.message or "not read" in p.message for p in data.problems)


def test_a_second_copy_of_a_part_is_named(idrid: Path, write_image: Any) -> None:
    shutil.copytree(idrid / "A. Segmentation", idrid / "Another")
    data = open_dataset(idrid)
    assert len(data) == 2
    assert any(p.path.startswith("Another/") and "second copy" in p.message for p in data.problems)


def test_second_folders_and_tables_of_one_set_are_named(idrid: Path, write_image: Any) -> None:
    part = idrid / "B. Disease Grading" / "B. Disease Grading"
    write_image(part / IDRID_IMAGES / "a. Training Set (2)" / "IDRiD_002.jpg")
    table = part / "2. Groundtruths" / "IDRiD_Grading_Training Labels.csv"
    table.write_text("Image name,Retinopathy grade\nIDRiD_001,0\n")
    data = open_dataset(idrid)
    second = {p.path.rpartition("/")[2] for p in data.problems if "A second" in p.message}
    assert second == {"a. Training Set (2)", "a. IDRiD_Disease Grading_Training Labels.csv"}


def test_eophtha_with_its_sets_apart_is_one_data_set(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for code, seed in (("MA", 1), ("EX", 2)):
        part = tmp_path / f"zip of {code}" / "unpacked" / f"e_optha_{code}"
        write_image(part / code / "E1" / f"{code}.jpg", seed)
        write_image(part / "healthy" / "E2" / f"{code}.jpg", seed + 5)
        write_mask(part / f"Annotation_{code}" / "E1" / f"{code}.png", (10, 10))
    data = open_dataset(tmp_path)
    assert len(data) == 4
    assert [len(data.select(annotated=code)) for code in ("MA", "EX")] == [2, 2]


def test_ddr_with_its_sets_apart_is_one_data_set(
    tmp_path: Path, write_image: Any, write_mask: Any
) -> None:
    for split in ("train", "valid", "test", "valid"):
        root = tmp_path / f"DDR-{split}" / split
        if root.exists():
            root = tmp_path / "more" / split
        write_image(root / "image" / f"{split}.jpg")
        for code in ("EX", "HE", "MA", "SE"):
            write_mask(root / "label" / code / f"{split}.png")
    data = open_dataset(tmp_path)
    assert data.splits == {"train": 1, "valid": 1, "test": 1}
    assert any(p.path == "more/valid" and "second copy" in p.message for p in data.problems)


def test_roc_with_its_sets_apart_is_one_data_set(tmp_path: Path, write_image: Any) -> None:
    training = tmp_path / "one" / "ROCtraining"
    write_image(training / "image0_training.jpg")
    xml = '<set><annotations-per-image imagename="image0_training.jpg"/></set>'
    (training / "annotations-consensus-ma-only.xml").write_text(xml)
    write_image(training / "holiday.jpg")
    write_image(tmp_path / "two" / "ROCtesting" / "image0_test.jpg")
    data = open_dataset(tmp_path)
    assert data.splits == {"test": 1, "train": 1}
    assert [p.path for p in data.problems] == ["one/ROCtraining/holiday.jpg"]


def write_messidor(folder: Path, write_image: Any, seed: int, grade: int = 1) -> Path:
    write_image(folder / "IMAGES" / f"eye{seed}.png", seed)
    (folder / "messidor_data.csv").write_text(
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        f"eye{seed}.png,{grade},0,1\n"
    )
    return folder


def test_roots_of_any_reader_are_read_together(tmp_path: Path, write_image: Any) -> None:
    write_messidor(tmp_path / "train", write_image, 1, grade=2)
    write_messidor(tmp_path / "deep" / "er", write_image, 2, grade=3)
    data = open_dataset(tmp_path)
    assert data.name == "messidor2"
    assert {s.id: (s.split, s.grades["dr"]) for s in data} == {
        "deep/er/eye2": (None, 3),
        "train/eye1": ("train", 2),
    }
    assert data.problems == ()
    assert len(open_dataset(tmp_path, "messidor2")) == 2
    assert len(open_dataset(tmp_path / "train")) == 1


def test_roots_are_read_though_one_of_them_cannot_be(tmp_path: Path, write_image: Any) -> None:
    for name in "ab":
        write_image(tmp_path / name / "holiday.jpg")
    for name in "ab":
        for seed in (1, 2):
            write_image(tmp_path / name / f"img{seed}.jpg", seed)
        (tmp_path / name / "c.json").write_text('{"images": [], "annotations": [')
    with pytest.raises(DatasetError, match="Export it again"):
        open_dataset(tmp_path)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "b" / "c.json").write_text(json.dumps(content))
    assert any(p.path == "a/c.json" for p in open_dataset(tmp_path).problems)


def test_images_that_stand_in_two_roots_are_named_and_never_separated(
    tmp_path: Path, write_image: Any
) -> None:
    write_messidor(tmp_path / "a", write_image, 1)
    write_messidor(tmp_path / "b", write_image, 1)
    data = open_dataset(tmp_path)
    assert len(data) == 2
    assert data[0].group == data[1].group is not None
    assert ["byte for byte" in p.message for p in data.problems] == [True]
    assert sorted(map(len, split_by_group(data, [0.5, 0.5]))) == [0, 2]


def test_a_root_inside_a_root_is_named(tmp_path: Path, write_image: Any) -> None:
    write_messidor(tmp_path, write_image, 1)
    inner = write_messidor(tmp_path / "a" / "b", write_image, 2)
    (inner / "IMAGES" / "eye2.png").rename(inner / "IMAGES" / "eye2.notes")
    data = open_dataset(tmp_path)
    assert any(p.path == "a/b" and "Another Messidor-2" in p.message for p in data.problems)


def test_a_data_set_of_another_kind_in_the_same_folder_is_named(
    tmp_path: Path, write_image: Any
) -> None:
    write_image(tmp_path / "a.jpg")
    (tmp_path / "trainLabels.csv").write_text("image,level\na,0\n")
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        (place / "notes.json").write_text(json.dumps(content))
    data = open_dataset(tmp_path)
    assert data.name == "eyepacs"
    assert any("COCO annotations" in p.message and "'coco'" in p.message for p in data.problems)
    assert open_dataset(tmp_path, "coco").problems != data.problems


def test_images_outside_the_data_set_are_named(tmp_path: Path, write_image: Any) -> None:
    write_messidor(tmp_path / "set", write_image, 1)
    write_image(tmp_path / "holiday" / "more" / "a.jpg")
    write_image(tmp_path / "b.jpg")
    data = open_dataset(tmp_path)
    assert data.root == tmp_path / "set"
    assert {p.path for p in data.problems} == {"holiday", tmp_path.name}
    assert all(p.message.startswith("1 image file outside") for p in data.problems)


def test_an_image_of_the_same_stem_is_named(idrid: Path, write_image: Any) -> None:
    folder = idrid / "A. Segmentation" / "A. Segmentation" / IDRID_IMAGES / TRAIN
    write_image(folder / "idrid_01.png")
    problems = [p.message for p in open_dataset(idrid).problems]
    assert ["another image of that name" in message for message in problems].count(True) == 1


def test_a_batch_takes_what_lies_beside_the_parts(idrid: Path, write_image: Any) -> None:
    write_image(idrid / "holiday" / "a.jpg")
    names = [item.path.name for item in find_items([idrid], idrid / "out")]
    assert sorted(names) == ["IDRiD_001.jpg", "IDRiD_01.jpg", "a.jpg"]


def test_annotations_in_a_folder_beside_the_images_find_them(
    tmp_path: Path, write_image: Any
) -> None:
    write_image(tmp_path / "pictures" / "a.jpg")
    (tmp_path / "exported").mkdir()
    images = [{"id": 1, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "MA"}]}
    (tmp_path / "exported" / "notes.json").write_text(json.dumps(content))
    data = open_dataset(tmp_path)
    assert [(s.id, s.annotated) for s in data] == [("pictures/a", {"MA"})]
    assert data.problems == ()


def test_tables_in_folders_of_their_own_find_the_images_beside_them(
    tmp_path: Path, write_image: Any
) -> None:
    for number, name in enumerate(("1_left", "2_left", "3_left")):
        part = "test" if number == 2 else f"train_{number + 1}"
        write_image(tmp_path / f"{part}.zip" / part / f"{name}.jpeg", number)
    tables = {
        "trainLabels.csv": "image,level\n1_left,4\n2_left,0\n",
        "retinopathy_solution.csv": "image,level,Usage\n3_left,3,Private\n",
    }
    for name, content in tables.items():
        (tmp_path / f"{name}.zip").mkdir()
        (tmp_path / f"{name}.zip" / name).write_text(content)
    data = open_dataset(tmp_path)
    assert sorted((s.image_path.stem, s.split, s.grades["dr"]) for s in data) == [
        ("1_left", "train", 4),
        ("2_left", "train", 0),
        ("3_left", "test", 3),
    ]
    assert data.problems == ()
    (tmp_path / "retinopathy_solution.csv.zip" / "retinopathy_solution.csv").unlink()
    assert {s.image_path.stem for s in open_dataset(tmp_path) if s.grades} == {"1_left", "2_left"}


def test_a_table_whose_images_are_nowhere_takes_no_others(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "holiday" / "a.jpeg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "trainLabels.csv").write_text("image,level\n1_left,4\n")
    data = open_dataset(tmp_path)
    assert len(data) == 0
    assert [p.path for p in data.problems] == ["trainLabels.csv", "holiday"]


def test_annotations_in_an_unknown_format_are_named(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text('{"version": "5.0.1", "shapes": [{"label": "MA"}]}')
    (tmp_path / "a.xml").write_text("<annotation><object/></annotation>")
    (tmp_path / "grades.csv").write_text("filename,my grade\na.jpg,3\n")
    (tmp_path / "prices.csv").write_text("what,euro\ncamera,3\n")
    (tmp_path / "ours.json").write_text('{"creator": "napari-fundus 1.0"}')
    data = open_dataset(tmp_path)
    assert data.name == "folder"
    assert sorted(p.path for p in data.problems) == ["a.json", "a.xml", "grades.csv"]


def test_links_lead_to_no_second_reading(tmp_path: Path, write_image: Any) -> None:
    write_messidor(tmp_path / "a", write_image, 1)
    write_messidor(tmp_path / "b", write_image, 2)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "again").symlink_to(tmp_path / "b", target_is_directory=True)
    assert [s.id for s in open_dataset(tmp_path)] == ["a/eye1", "b/eye2"]


def test_a_picture_beside_the_annotations_does_not_hide_the_photographs(
    tmp_path: Path, write_image: Any
) -> None:
    write_image(tmp_path / "pictures" / "a.jpg")
    write_image(tmp_path / "exported" / "screenshot.png", 1)
    images = [{"id": 1, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "MA"}]}
    (tmp_path / "exported" / "notes.json").write_text(json.dumps(content))
    annotated = {s.id: set(s.annotated) for s in open_dataset(tmp_path)}
    assert annotated == {"exported/screenshot": set(), "pictures/a": {"MA"}}
