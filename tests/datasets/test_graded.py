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
