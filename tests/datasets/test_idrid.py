"""IDRiD in its original layout, and its traps."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_fundus.datasets import open_dataset, split_by_group, summarize
from napari_fundus.datasets.idrid import Idrid
from napari_fundus.errors import DatasetError

A, B, C = "A. Segmentation", "B. Disease Grading", "C. Localization"
IMAGES, TRAIN, TEST = "1. Original Images", "a. Training Set", "b. Testing Set"
MASKS = "2. All Segmentation Groundtruths"
FOLDERS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}
SHAPE = (64, 96)


@pytest.fixture
def idrid(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    """Two training and one testing image of A, three of B, and C's tables."""
    root = tmp_path / "Porwal 2018"
    for folder, stem in ((TRAIN, "IDRiD_01"), (TRAIN, "IDRiD_02"), (TEST, "IDRiD_81")):
        write_image(root / A / IMAGES / folder / f"{stem}.jpg")
        for code, name in FOLDERS.items():
            if (stem, code) not in {("IDRiD_01", "SE"), ("IDRiD_02", "HE")}:
                mask = root / A / MASKS / folder / name / f"{stem}_{code}.tif"
                write_mask(mask, (10, 10), (30, 40))
    rgba = np.zeros((*SHAPE, 4), np.uint8)
    rgba[10:12, 10:13, 0] = 255
    rgba[..., 3] = 255
    exudates = root / A / MASKS / TEST / FOLDERS["EX"] / "IDRiD_81_EX.tif"
    tifffile.imwrite(exudates, rgba, photometric="rgb", extrasamples=["unassalpha"])
    for folder, stem in ((TRAIN, "IDRiD_001"), (TRAIN, "IDRiD_002"), (TEST, "IDRiD_001")):
        write_image(root / B / IMAGES / folder / f"{stem}.jpg")
        write_image(root / C / IMAGES / folder / f"{stem}.jpg")
    tables = root / B / "2. Groundtruths"
    tables.mkdir()
    header = "Image name,Retinopathy grade,Risk of macular edema ,,,\r\n"
    (tables / "a. IDRiD_Disease Grading_Training Labels.csv").write_text(
        header + "IDRiD_001,3,2,,,\r\nIDRiD_002,0,0,,,\r\n,,,,,\r\n", newline=""
    )
    (tables / "b. IDRiD_Disease Grading_Testing Labels.csv").write_text(
        header + "IDRiD_001,4,1,,,\r\n", newline=""
    )
    disc = root / C / "2. Groundtruths" / "1. Optic Disc Center Location"
    fovea = root / C / "2. Groundtruths" / "2. Fovea Center Location"
    disc.mkdir(parents=True)
    fovea.mkdir()
    (disc / "a. IDRiD_OD_Center_Training Set_Markups.csv").write_text(
        "Image No,X- Coordinate,Y - Coordinate,,\n"
        "IDRiD_001,70,30,,\nIDRiD_002,20,31,,\n,,,,\n,,,,\n"
    )
    (disc / "b. IDRiD_OD_Center_Testing Set_Markups.csv").write_text(
        "Image No,X- Coordinate,Y - Coordinate\nIDRiD_001,11,12\n"
    )
    (fovea / "IDRiD_Fovea_Center_Training Set_Markups.csv").write_text(
        "Image No,X- Coordinate,Y - Coordinate\nIDRiD_001,40.5,33.25\nIDRiD_002,50,34\n"
    )
    (fovea / "IDRiD_Fovea_Center_Testing Set_Markups.csv").write_text(
        "Image No,X- Coordinate,Y - Coordinate\nIDRiD_001,13,14\n"
    )
    return root


def by_id(folder: Path) -> dict[str, Any]:
    return {sample.id: sample for sample in open_dataset(folder)}


def test_all_parts_are_one_data_set_without_problems(idrid: Path) -> None:
    data = open_dataset(idrid)

    assert isinstance(data, Idrid)
    assert data.problems == ()
    assert [sample.id for sample in data] == [
        "grading/IDRiD_001",
        "grading/IDRiD_002",
        "grading/testing/IDRiD_001",
        "segmentation/IDRiD_01",
        "segmentation/IDRiD_02",
        "segmentation/IDRiD_81",
    ]
    assert data.splits == {"train": 4, "test": 2}


def test_missing_mask_file_means_looked_for_and_not_found(idrid: Path) -> None:
    sample = by_id(idrid)["segmentation/IDRiD_01"]

    assert sample.annotated == {"MA", "HE", "EX", "SE", "OD"}
    assert "SE" not in sample.truths
    assert not sample.mask("SE", SHAPE).any()


def test_palette_masks_hold_what_was_drawn(idrid: Path) -> None:
    sample = by_id(idrid)["segmentation/IDRiD_01"]

    assert sample.mask("MA", SHAPE).sum() == 12
    assert sample.truths["MA"].count(SHAPE) == 2


def test_rgba_mask_of_image_81_ignores_alpha(idrid: Path) -> None:
    sample = by_id(idrid)["segmentation/IDRiD_81"]

    assert sample.split == "test"
    assert sample.mask("EX", SHAPE).sum() == 6


def test_grading_says_nothing_of_lesions(idrid: Path) -> None:
    sample = by_id(idrid)["grading/IDRiD_001"]

    assert sample.annotated == frozenset()
    with pytest.raises(DatasetError, match="MA is not annotated"):
        sample.mask("MA", SHAPE)


def test_numbers_that_start_again_in_the_testing_set_are_kept_apart(idrid: Path) -> None:
    samples = by_id(idrid)

    assert samples["grading/IDRiD_001"].grades == {"dr": 3, "dme": 2}
    assert samples["grading/testing/IDRiD_001"].grades == {"dr": 4, "dme": 1}


def test_centres_are_row_and_column_and_belong_to_the_graded_images(idrid: Path) -> None:
    samples = by_id(idrid)

    assert samples["grading/IDRiD_001"].centres == {"OD": (30, 70), "FOVEA": (33.25, 40.5)}
    assert samples["grading/testing/IDRiD_001"].centres == {"OD": (12, 11), "FOVEA": (14, 13)}


def test_centres_of_reduced_images_are_scaled_and_told(idrid: Path, write_image: Any) -> None:
    """Images reduced to a quarter keep the tables of the full 4288x2848 px."""
    for stem in ("IDRiD_001", "IDRiD_002"):
        path = idrid / B / IMAGES / TRAIN / f"{stem}.jpg"
        Image.new("RGB", (1072, 712)).save(path)
    table = next((idrid / C).rglob("a. IDRiD_OD*.csv"))
    table.write_text("Image No,X,Y\nIDRiD_001,2800,1400\nIDRiD_002,1000,1500\n")

    data = open_dataset(idrid)

    row, col = next(s for s in data if s.id == "grading/IDRiD_001").centres["OD"]
    assert (row, col) == pytest.approx((1400.5 / 4 - 0.5, 2800.5 / 4 - 0.5))
    assert any("multiplied by 0.25" in problem.message for problem in data.problems)


def test_localization_alone_has_samples_of_its_own(idrid: Path) -> None:
    data = open_dataset(idrid / C)

    assert [s.id for s in data][:2] == ["localization/IDRiD_001", "localization/IDRiD_002"]
    assert data[0].centres == {"OD": (30, 70), "FOVEA": (33.25, 40.5)}


@pytest.mark.parametrize(
    ("inside", "count"),
    [
        (A, 3),
        (f"{A}/{IMAGES}", 3),
        (f"{A}/{MASKS}/{TRAIN}/1. Microaneurysms", 3),
        (B, 3),
        (f"{B}/2. Groundtruths", 3),
        ("..", 6),
    ],
)
def test_folder_around_or_inside_is_understood(idrid: Path, inside: str, count: int) -> None:
    assert len(open_dataset(idrid / inside)) == count


def test_folders_of_parts_may_have_other_names(idrid: Path) -> None:
    (idrid / A).rename(idrid / "lesions")
    (idrid / "lesions" / IMAGES).rename(idrid / "lesions" / "1. ORIGINAL IMAGES")

    data = open_dataset(idrid)

    assert sum(s.id.startswith("segmentation/") for s in data) == 3


def test_parts_unpacked_into_folders_of_their_own_are_found(idrid: Path) -> None:
    (idrid / "A").mkdir()
    (idrid / A).rename(idrid / "A" / A)

    assert len(open_dataset(idrid)) == 6


def test_same_eyes_share_a_group_and_are_never_separated(idrid: Path) -> None:
    (idrid / "same_eye_groups.txt").write_text(
        "grading/IDRiD_001;segmentation/IDRiD_01\nsegmentation/IDRiD_01;grading/IDRiD_002\n"
    )
    samples = by_id(idrid)

    groups = {samples[i].group for i in ("grading/IDRiD_001", "grading/IDRiD_002")}
    assert groups == {samples["segmentation/IDRiD_01"].group}
    assert samples["grading/testing/IDRiD_001"].group is None
    for seed in range(20):
        for part in split_by_group(list(samples.values()), 2, seed=seed):
            assert sum(sample.group is not None for sample in part) in (0, 3)


def test_groups_beside_a_part_are_read_too(idrid: Path) -> None:
    (idrid / "same_eye_groups.txt").write_text("grading/IDRiD_001;segmentation/IDRiD_01\n")

    assert by_id(idrid / A)["segmentation/IDRiD_01"].group is not None


@pytest.mark.parametrize(
    ("gone", "named", "message"),
    [
        (f"{A}/{IMAGES}/{TEST}", f"{A}/{IMAGES}/{TEST}", "folder is missing"),
        (f"{A}/{MASKS}/{TEST}", f"{A}/{MASKS}/{TEST}", "nothing counts as annotated"),
        (f"{A}/{MASKS}/{TRAIN}/4. Soft Exudates", f"{A}/{MASKS}/{TRAIN}", "SE is not annotated"),
        (f"{A}/{MASKS}", A, "nothing counts as annotated"),
        (f"{A}/{IMAGES}", f"{A}/{IMAGES}", "folder is missing"),
        (f"{A}/{IMAGES}/{TRAIN}/IDRiD_02.jpg", "IDRiD_02_MA.tif", "image of this mask is missing"),
        (f"{A}/{MASKS}/{TRAIN}/5. Optic Disc/IDRiD_02_OD.tif", "IDRiD_02", "No optic disc mask"),
        (f"{B}/{IMAGES}/{TRAIN}/IDRiD_002.jpg", "IDRiD_002", "row without an image"),
        (f"{B}/2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv", B, "test grades"),
        (f"{C}/2. Groundtruths/2. Fovea Center Location", C, "fovea centres is missing"),
    ],
)
def test_what_is_missing_is_named(idrid: Path, gone: str, named: str, message: str) -> None:
    path = idrid / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

    problems = open_dataset(idrid).problems

    assert any(named in p.path and message in p.message for p in problems), problems


def test_class_without_a_folder_is_not_annotated(idrid: Path) -> None:
    shutil.rmtree(idrid / A / MASKS / TRAIN / "4. Soft Exudates")

    assert "SE" not in by_id(idrid)["segmentation/IDRiD_01"].annotated


def test_image_without_a_row_has_no_grade_and_is_named(idrid: Path, write_image: Any) -> None:
    write_image(idrid / B / IMAGES / TRAIN / "IDRiD_003.jpg")

    data = open_dataset(idrid)

    assert next(s for s in data if s.id == "grading/IDRiD_003").grades == {}
    assert [p for p in data.problems if "IDRiD_003" in p.path and "without a row" in p.message]


def test_no_segmented_picture_or_mask_is_opened_before_it_is_asked_for(idrid: Path) -> None:
    """The data set opens at once, however many pictures it has."""
    pictures = [p for p in (idrid / A).rglob("*") if p.suffix in {".jpg", ".tif"}]
    assert len(pictures) > 10
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and listening:
            opened.append(str(arguments[0]))

    listening = True
    sys.addaudithook(note)
    try:
        data = open_dataset(idrid)
    finally:
        listening = False
    assert len(data) == 6
    assert opened
    assert not {str(p) for p in pictures} & set(opened)


def test_stray_files_are_ignored(idrid: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", "._IDRiD_01.jpg", "desktop.ini"):
        (idrid / A / IMAGES / TRAIN / name).write_bytes(b"junk")
        (idrid / A / MASKS / TRAIN / FOLDERS["MA"] / name).write_bytes(b"junk")

    data = open_dataset(idrid)

    assert len(data) == 6
    assert data.problems == ()


@pytest.mark.shared_data
def test_real_idrid_is_reported_in_full(shared_data: Path) -> None:
    data = open_dataset(shared_data / "idrid")
    report = summarize(data, count_lesions=False)

    assert {c.code: c.drawn for c in report.classes} == {
        "MA": 54, "HE": 53, "EX": 54, "SE": 26, "OD": 54,
    }  # fmt: skip
    assert {c.annotated for c in report.classes} == {54}
    assert report.parts == {"segmentation": 54, "grading": 384}
    assert report.graded == 384
    assert report.splits == {"train": 438}
    assert report.groups == 53
    assert [p.path for p in report.problems] == [
        f"{A}/{IMAGES}/{TEST}",
        f"{B}/{IMAGES}/{TEST}",
    ]


@pytest.mark.shared_data
def test_real_masks_have_lesions(shared_data: Path) -> None:
    sample = next(s for s in open_dataset(shared_data / "idrid") if s.id == "segmentation/IDRiD_13")

    assert sample.mask("MA", (2848, 4288)).sum() > 100
    assert sample.truths["OD"].count((2848, 4288)) == 1
