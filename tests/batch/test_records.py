"""What a batch reads of an earlier run is checked; a damaged record counts as none."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.batch.records import ImageOutcome, read_record, write_summary

SOUND: dict[str, Any] = {
    "request": {"detector": "drawn"},
    "source": {"size": 1, "mtime_ns": 2},
    "formats": ["csv"],
    "counts": {"MA": 2},
    "provenance": {"image_sha256": "ab", "checkpoint_sha256": None},
    "extent": {"field_of_view_px": 9, "classes": {"MA": {"area_px": 3}}},
}


def _write(folder: Path, text: str) -> None:
    (folder / "eye.provenance.json").write_text(text)


def test_a_sound_record_is_read_with_the_formats_that_are_there(tmp_path: Path) -> None:
    _write(tmp_path, json.dumps(SOUND))
    (tmp_path / "eye.csv").touch()
    record = read_record(tmp_path, Path("eye"))
    assert record is not None
    assert record.formats == ("csv",)
    assert record.counts == {"MA": 2}
    assert record.extent.model_dump(exclude_unset=True) == SOUND["extent"]
    assert record.image_score == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("formats", [["csv"]]),
        ("formats", 3),
        ("request", []),
        ("counts", {"MA": "many"}),
        ("extent", "large"),
        ("extent", {"classes": {"MA": 3}}),
        ("image_score", {"referable": []}),
        ("provenance", None),
    ],
)
def test_a_damaged_record_is_none(key: str, value: object, tmp_path: Path) -> None:
    _write(tmp_path, json.dumps({**SOUND, key: value}))
    assert read_record(tmp_path, Path("eye")) is None


def test_nesting_without_end_is_none(tmp_path: Path) -> None:
    _write(tmp_path, "[" * 100_000)
    assert read_record(tmp_path, Path("eye")) is None


def test_text_that_is_none_does_not_keep_the_summary_from_being_written(tmp_path: Path) -> None:
    """Names of files, and JSON, can hold what UTF-8 cannot."""
    strange = ImageOutcome(Path("eye \udcff.png"), Path("eye"), "written", {"\ud800": 3, "MA": 1})
    for _ in range(2):
        write_summary(tmp_path / "summary.csv", [strange], ["MA"])
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["MA"], row["\\ud800"]) == ("eye \\udcff.png", "1", "3")


@pytest.mark.parametrize("limit", [1 << 17, 1 << 27])
def test_a_summary_with_an_endless_cell_is_not_ours(tmp_path: Path, limit: int) -> None:
    """Whatever another part of the program lets tables hold: the limit is the process's."""
    before = csv.field_size_limit(limit)
    try:
        _read_over_an_endless_cell(tmp_path)
    finally:
        csv.field_size_limit(before)


def _read_over_an_endless_cell(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text("path,status,place,seconds,message\n" + "x" * 200_000)
    write_summary(path, [ImageOutcome(Path("eye.png"), Path("eye"), "written")], [])
    assert path.read_text().splitlines()[1:] == ["eye.png,written,eye,,0.000,"]
