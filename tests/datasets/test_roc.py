"""ROC in its original layout, and its traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset, summarize
from napari_fundus.datasets.annotations import Point, PointsTruth

SHAPE = (64, 96)
XML = """<?xml version="1.0" encoding="utf-8"?>
<set>
  <!-- annotations-consensus-ma-only.xml: the 50 images are from patients with diabetes -->
  <annotations-per-image imagename="image0_training.jpg">
    <annotation>
      <mark x="20" y="30"><radius>4</radius></mark>
      <lesion>microaneurysm</lesion>
      <probability>1.0</probability>
    </annotation>
    <annotation>
      <mark x="70.5" y="40.25"><radius> 3 </radius></mark>
      <lesion>microaneurysm</lesion>
      <probability>0.6</probability>
    </annotation>
  </annotations-per-image>
  <annotations-per-image imagename="image1_training.jpg">
  </annotations-per-image>
  <annotations-per-image imagename="image10_training.jpg"/>
</set>
"""


@pytest.fixture
def roc(tmp_path: Path, write_image: Any) -> Path:
    root = tmp_path / "webeye"
    for number in (0, 1, 10):
        write_image(root / "ROCtraining" / f"image{number}_training.jpg")
        write_image(root / "ROCtesting" / f"image{number}_test.jpg")
    (root / "ROCtraining" / "annotations-consensus-ma-only.xml").write_text(XML)
    return root


def test_training_images_have_points_with_radii(roc: Path) -> None:
    data = open_dataset(roc)
    first = next(s for s in data if s.id == "image0_training")

    assert data.name == "roc"
    assert data.problems == ()
    assert data.splits == {"test": 3, "train": 3}
    assert first.truths["MA"] == PointsTruth((Point(30, 20, 4, 1.0), Point(40.25, 70.5, 3, 0.6)))
    assert first.truths["MA"].mask(SHAPE).sum() == 49 + first.truths["MA"].mask(SHAPE)[:, 50:].sum()


def test_samples_come_in_the_order_of_their_numbers(roc: Path) -> None:
    ids = [s.id for s in open_dataset(roc) if s.split == "train"]

    assert ids == ["image0_training", "image1_training", "image10_training"]


def test_listed_image_without_a_mark_is_annotated(roc: Path) -> None:
    sample = next(s for s in open_dataset(roc) if s.id == "image1_training")

    assert sample.annotated == {"MA"}
    assert not sample.mask("MA", SHAPE).any()


def test_testing_images_are_not_annotated(roc: Path) -> None:
    assert {s.annotated for s in open_dataset(roc) if s.split == "test"} == {frozenset()}


def test_other_name_of_the_testing_folder_is_known(roc: Path) -> None:
    (roc / "ROCtesting").rename(roc / "ROCtestImages")

    assert open_dataset(roc).splits == {"test": 3, "train": 3}


@pytest.mark.parametrize("inside", [".", "..", "ROCtraining", "ROCtesting"])
def test_folder_around_or_inside_is_understood(roc: Path, inside: str) -> None:
    assert open_dataset(roc / inside).name == "roc"


def test_training_folder_alone_tells_what_is_missing(roc: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    (roc / "ROCtraining").rename(alone)

    data = open_dataset(alone)

    assert data.splits == {"train": 3}
    assert [p.path for p in data.problems] == ["ROCtesting"]


def test_names_match_whatever_case_and_suffix(roc: Path) -> None:
    folder = roc / "ROCtraining"
    (folder / "image0_training.jpg").rename(folder / "Image0_Training.JPG")

    data = open_dataset(roc)

    assert data.problems == ()
    assert next(s for s in data if s.id == "Image0_Training").truths["MA"].count(SHAPE) == 2


def test_longer_file_adds_haemorrhages_and_leaves_the_rest_out(roc: Path) -> None:
    xml = XML.replace("<lesion>microaneurysm", "<lesion>hemorrhage", 1).replace(
        "</set>",
        '<annotations-per-image imagename="image1_training.jpg"/></set>',
    )
    xml = xml.replace("<lesion>microaneurysm", "<lesion>irrelevant lesion")
    (roc / "ROCtraining" / "annotations-consensus.xml").write_text(xml)

    sample = next(s for s in open_dataset(roc) if s.id == "image0_training")

    assert sample.annotated == {"MA", "HE"}
    assert (sample.truths["MA"].count(SHAPE), sample.truths["HE"].count(SHAPE)) == (2, 1)


def test_radius_behind_an_empty_element_and_none_at_all(roc: Path) -> None:
    xml = XML.replace("<radius>4</radius>", "<radius/>4").replace("<radius> 3 </radius>", "")
    (roc / "ROCtraining" / "annotations-consensus-ma-only.xml").write_text(xml)

    truth = next(s for s in open_dataset(roc) if s.id == "image0_training").truths["MA"]

    assert isinstance(truth, PointsTruth)
    assert [p.radius for p in truth.points] == [4, 0]
    assert truth.mask(SHAPE)[40, 71]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (XML[:400], "not well-formed"),
        (XML.replace("<set>", '<!DOCTYPE set [<!ENTITY a "b">]><set>'), "declares entities"),
        ("", "not well-formed"),
    ],
)
def test_broken_or_hostile_xml_is_a_problem(roc: Path, xml: str, message: str) -> None:
    (roc / "ROCtraining" / "annotations-consensus-ma-only.xml").write_text(xml)

    data = open_dataset(roc)

    assert len(data) == 6
    assert any(message in p.message and p.path.endswith(".xml") for p in data.problems)


def test_missing_image_unlisted_image_and_bad_mark_are_named(roc: Path, write_image: Any) -> None:
    folder = roc / "ROCtraining"
    (folder / "image10_training.jpg").unlink()
    write_image(folder / "image7_training.jpg")
    xml = XML.replace('x="20" y="30"', 'x="twenty" y="30"')
    (folder / "annotations-consensus-ma-only.xml").write_text(xml)

    problems = {p.path: p.message for p in open_dataset(roc).problems}

    assert "without an image" in problems["image10_training"]
    assert "Not listed" in problems["ROCtraining/image7_training.jpg"]
    assert "coordinates" in problems["ROCtraining/annotations-consensus-ma-only.xml"]


def test_mark_outside_the_image_is_reported_and_left_out(roc: Path) -> None:
    xml = XML.replace('x="20"', 'x="2000"')
    (roc / "ROCtraining" / "annotations-consensus-ma-only.xml").write_text(xml)

    report = summarize(open_dataset(roc))

    assert report.classes[0].lesions == 1
    assert [p.path for p in report.problems] == ["image0_training"]
