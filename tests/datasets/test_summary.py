"""The report on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from napari_fundus.datasets import DatasetSummary, open_dataset, summarize
from napari_fundus.errors import Cancelled
from napari_fundus.runtime.progress import Monitor, Progress


@pytest.fixture
def folder(tmp_path: Path, write_image: Any, write_mask: Any) -> Path:
    for stem in "abc":
        write_image(tmp_path / f"{stem}.jpg")
        write_mask(tmp_path / f"{stem}_EX.png")
    write_mask(tmp_path / "a_MA.png", (5, 5), (20, 20))
    write_mask(tmp_path / "b_MA.png", (5, 5))
    return tmp_path


def test_images_and_lesions_are_counted_by_class(folder: Path) -> None:
    report = summarize(open_dataset(folder))

    counts = {c.code: (c.annotated, c.drawn, c.with_lesions, c.lesions) for c in report.classes}
    assert counts == {"MA": (2, 2, 2, 3), "EX": (3, 3, 0, 0)}
    assert report.images == 3
    assert report.splits == {"all": 3}


def test_without_counting_no_mask_is_read(folder: Path) -> None:
    for mask in folder.glob("*_*.png"):
        mask.write_bytes(b"broken")

    report = summarize(open_dataset(folder), count_lesions=False)

    assert [(c.drawn, c.with_lesions, c.lesions) for c in report.classes] == [
        (2, None, None),
        (3, None, None),
    ]


def test_bad_masks_and_images_are_problems_and_the_rest_is_counted(folder: Path) -> None:
    Image.new("L", (30, 20), 255).save(folder / "a_MA.png")
    (folder / "c.jpg").write_bytes(b"broken")

    report = summarize(open_dataset(folder))

    messages = {p.path: p.message for p in report.problems if p.path in "abc"}
    assert "30x20 px, its image 96x64" in messages["a"]
    assert "cannot be read" in messages["c"]
    assert {c.code: c.lesions for c in report.classes} == {"MA": 1, "EX": 0}


def test_text_names_what_matters(folder: Path) -> None:
    text = summarize(open_dataset(folder)).to_text()

    assert "Folder of images [folder]" in text
    assert "images: 3 (all 3)" in text
    row = next(line for line in text.splitlines() if line.startswith("MA"))
    assert row.split() == ["MA", "microaneurysm", "2", "2", "2", "3"]
    assert "c.jpg: No MA mask" in text


def test_json_comes_back_the_same(folder: Path) -> None:
    report = summarize(open_dataset(folder))

    assert DatasetSummary.model_validate_json(report.model_dump_json()) == report


def test_progress_is_told_and_cancelling_stops(folder: Path) -> None:
    seen: list[Progress] = []
    summarize(open_dataset(folder), Monitor(seen.append))
    assert seen[-1].fraction == 1

    monitor = Monitor()
    monitor.cancel()
    with pytest.raises(Cancelled):
        summarize(open_dataset(folder), monitor)


def test_data_set_without_annotation_has_a_report(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "a.jpg")

    report = summarize(open_dataset(tmp_path))

    assert report.classes == []
    assert "problems: none" in report.to_text()
