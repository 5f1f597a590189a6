"""EyePACS, APTOS 2019 and Messidor-2: tables of grades and what can be odd in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset, split_by_group


@pytest.fixture
def eyepacs(tmp_path: Path, write_image: Any) -> Path:
    for stem in ("10_left", "10_right", "13_left"):
        write_image(tmp_path / "train" / f"{stem}.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,4\n13_left,2\n")
    return tmp_path


@pytest.fixture
def aptos(tmp_path: Path, write_image: Any) -> Path:
    for stem in ("000c1434d8d7", "001639a390f0"):
        write_image(tmp_path / "train_images" / f"{stem}.png")
    write_image(tmp_path / "test_images" / "0005cfc8afb6.png")
    (tmp_path / "train.csv").write_text("id_code,diagnosis\n000c1434d8d7,2\n001639a390f0,4\n")
    (tmp_path / "test.csv").write_text("id_code\n0005cfc8afb6\n")
    return tmp_path


@pytest.fixture
def messidor(tmp_path: Path, write_image: Any) -> Path:
    tmp_path = tmp_path / "Messidor-2"
    write_image(tmp_path / "IMAGES" / "20051020_43808_0100_PP.png")
    write_image(tmp_path / "IMAGES" / "IM002385.JPG")
    (tmp_path / "messidor_data.csv").write_text(
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        "20051020_43808_0100_PP.png,1.0,0.0,1\nIM002385.jpg,,,0\n"
    )
    return tmp_path


def test_eyepacs_has_grades_and_groups_of_persons(eyepacs: Path) -> None:
    data = open_dataset(eyepacs)

    assert data.name == "eyepacs"
    assert data.problems == ()
    assert {s.id: s.grades["dr"] for s in data} == {"10_left": 0, "10_right": 4, "13_left": 2}
    assert data.splits == {"train": 3}
    for seed in range(10):
        parts = split_by_group(data, [0.5, 0.5], seed=seed)
        assert sorted(sum(s.id.startswith("10_") for s in p) for p in parts) == [0, 2]


def test_aptos_has_grades_and_tells_of_ungraded_images(aptos: Path) -> None:
    data = open_dataset(aptos)

    assert data.name == "aptos2019"
    assert {s.id: s.grades["dr"] for s in data} == {"000c1434d8d7": 2, "001639a390f0": 4}
    assert [(p.path, p.message[:8]) for p in data.problems] == [("test_images", "1 images")]


def test_messidor_has_three_kinds_of_grades_and_blanks_for_the_ungradable(messidor: Path) -> None:
    data = open_dataset(messidor)

    assert data.name == "messidor2"
    assert data.problems == ()
    assert data[0].grades == {"dr": 1, "dme": 0, "gradable": 1}
    assert data[1].grades == {"gradable": 0}


def test_graded_images_are_not_annotated_with_lesions(messidor: Path) -> None:
    assert {s.annotated for s in open_dataset(messidor)} == {frozenset()}


@pytest.mark.parametrize(
    "table",
    [
        "image,level\r\n10_left,0\r\n10_right,4\r\n13_left,2\r\n",
        "\ufeffimage,level\n10_left,0\n10_right,4\n13_left,2\n",
        "image;level;;\n10_left;0;;\n10_right;4;;\n13_left;2;;\n;;;\n",
        " Image , Level ,,\n10_left , 0,,\n10_right,4.0,,\n\n13_left,2,,\n,,,\n",
        '"image","level"\n"10_left.jpeg","0"\n"10_right.jpeg","4"\n"13_left.jpeg","2"',
        "image\tlevel\n10_left\t0\n10_right\t4\n13_left\t2\n",
    ],
    ids=["CRLF", "BOM", "semicolons", "blanks", "quotes", "tabs"],
)
def test_every_dialect_of_a_table_gives_the_same(eyepacs: Path, table: str) -> None:
    (eyepacs / "trainLabels.csv").write_text(table, "utf-8", newline="")

    data = open_dataset(eyepacs)

    assert [s.grades for s in data] == [{"dr": 0}, {"dr": 4}, {"dr": 2}]
    assert data.problems == ()


def test_table_in_utf16_is_read(eyepacs: Path) -> None:
    table = eyepacs / "trainLabels.csv"
    table.write_text(table.read_text(), "utf-16")

    assert [s.grades["dr"] for s in open_dataset(eyepacs)] == [0, 4, 2]


def test_doubled_rows_missing_images_and_bad_grades_are_named(eyepacs: Path) -> None:
    (eyepacs / "trainLabels.csv").write_text(
        "image,level\n10_left,0\n10_left,0\n10_right,4\n10_right,3\n99_left,1\n13_left,7\n"
    )

    data = open_dataset(eyepacs)

    messages = [f"{p.path}: {p.message}" for p in data.problems]
    assert any("10_left stands twice, with the same" in m for m in messages)
    assert any("10_right stands twice, with another" in m for m in messages)
    assert any("99_left: A row without an image" in m for m in messages)
    assert any("13_left" in m and "'7', not 0 to 4" in m for m in messages)
    assert [s.grades for s in data] == [{"dr": 0}, {"dr": 4}, {}]


def test_many_missing_images_are_one_problem_with_the_first_names(eyepacs: Path) -> None:
    rows = "".join(f"{n}_left,0\n" for n in range(100, 400))
    (eyepacs / "trainLabels.csv").write_text("image,level\n10_left,0\n" + rows)

    problem = next(p for p in open_dataset(eyepacs).problems if "row without" in p.message)

    assert problem.path == "300 files"
    assert "100_left" in problem.message


def test_table_without_its_images_is_named(eyepacs: Path) -> None:
    for image in (eyepacs / "train").iterdir():
        image.unlink()

    data = open_dataset(eyepacs)

    assert len(data) == 0
    assert [p.path for p in data.problems] == ["trainLabels.csv"]


@pytest.mark.parametrize("inside", ["IMAGES", ".."])
def test_folder_around_or_inside_is_understood(messidor: Path, inside: str) -> None:
    assert len(open_dataset(messidor / inside, "messidor2")) == 2


def graded(folder: Path) -> dict[str, tuple[int | None, str | None]]:
    """Return the grade and the split of each photograph, by its place."""
    root = folder.resolve()
    return {
        sample.image_path.relative_to(root).as_posix(): (sample.grades.get("dr"), sample.split)
        for sample in open_dataset(folder)
    }


def test_a_solution_holds_the_grades_of_the_testing_part(eyepacs: Path, write_image: Any) -> None:
    write_image(eyepacs / "test" / "2_left.jpeg")
    solution = "image,level,Usage\n2_left,3,Private\n1_left,2,Public\n"
    (eyepacs / "retinopathy_solution.csv").write_text(solution)

    data = open_dataset(eyepacs)

    assert graded(eyepacs)["test/2_left.jpeg"] == (3, "test")
    assert graded(eyepacs)["train/10_left.jpeg"] == (0, "train")
    assert data.splits == {"train": 3, "test": 1}
    assert [(p.path, p.message) for p in data.problems] == [
        ("retinopathy_solution.csv: 1_left", "A row without an image.")
    ]


@pytest.mark.parametrize("name", ["sampleSubmission.csv", "sample_submission.csv"])
def test_the_zeros_of_a_sample_submission_are_no_grades(
    tmp_path: Path, write_image: Any, name: str
) -> None:
    """In a folder with the training, each photograph counts once, with the grade that it has."""
    for stem in ("1_left", "2_left"):
        write_image(tmp_path / f"{stem}.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n1_left,4\n")
    (tmp_path / name).write_text("image,level\n1_left,0\n2_left,0\n")

    assert graded(tmp_path) == {"1_left.jpeg": (4, "train"), "2_left.jpeg": (None, "test")}
    (problem,) = open_dataset(tmp_path).problems
    assert problem.path == name
    assert "grades are left out" in problem.message


def test_a_submission_alone_gives_photographs_without_grades(aptos: Path) -> None:
    (aptos / "sample_submission.csv").write_text("id_code,diagnosis\n0005cfc8afb6,0\n")

    assert graded(aptos)["test_images/0005cfc8afb6.png"] == (None, "test")
    (aptos / "train.csv").unlink()
    assert graded(aptos) == {"test_images/0005cfc8afb6.png": (None, "test")}


def test_a_photograph_in_several_folders_counts_once(eyepacs: Path, write_image: Any) -> None:
    """That of the split's own folder is used; the copies are told."""
    for folder in ("all", "test", "images/resized"):
        write_image(eyepacs / folder / "10_left.jpeg")
    write_image(eyepacs / "test" / "2_left.jpeg")
    solution = "image,level,Usage\n2_left,3,Private\n"
    (eyepacs / "retinopathy_solution.csv").write_text(solution)

    assert [place for place in graded(eyepacs) if "10_left" in place] == ["train/10_left.jpeg"]
    told = {p.path for p in open_dataset(eyepacs).problems if "copies" in p.message}
    assert told == {"all", "images/resized", "test"}


def test_equal_names_in_two_splits_stay_two_photographs(tmp_path: Path, write_image: Any) -> None:
    for split in ("train", "test"):
        write_image(tmp_path / split / "1.jpeg")
    (tmp_path / "train.csv").write_text("image,level\n1,4\n")
    (tmp_path / "test.csv").write_text("image,level\n1,2\n")

    assert graded(tmp_path) == {"train/1.jpeg": (4, "train"), "test/1.jpeg": (2, "test")}


def test_a_second_table_of_the_same_photographs_is_told(eyepacs: Path) -> None:
    (eyepacs / "relabelled.csv").write_text("image,level\n10_left,3\n")

    data = open_dataset(eyepacs)

    assert sum(s.image_path.stem == "10_left" for s in data) == 1
    assert any("another table" in p.message for p in data.problems)
