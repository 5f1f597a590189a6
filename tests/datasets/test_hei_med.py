"""HEI-MED in its layout: maps of numbered blobs, lists of their names, notes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fundus.datasets import open_dataset
from napari_fundus.errors import DatasetError

SHAPE = (64, 96)


def write_map(path: Path, blobs: np.ndarray) -> None:
    head = np.array([1, blobs.shape[1], blobs.shape[0]], "<i4")
    path.write_bytes(gzip.compress(head.tobytes() + blobs.astype("<i4").tobytes()))


@pytest.fixture
def hei_med(tmp_path: Path, write_image: Any) -> Path:
    folder = tmp_path / "HEI-MED" / "DMED"
    for stem in ("(00000003)", "(00000052)"):
        write_image(folder / f"{stem}.jpg")
        write_image(folder / f"{stem}_vess.png")
    blobs = np.zeros(SHAPE)
    blobs[10:12, 10:13], blobs[20:22, 10:13], blobs[40:45, 10:20] = 1, 3, 2
    write_map(folder / "(00000003).map.gz", blobs)
    (folder / "(00000003).GND").write_text("3\nExudate 1\nMicroAneurysm 0\nExudate 1\n0\n0\nNA\n")
    (folder / "(00000003).meta").write_text("~ImageName:~(00000003).jpg\n~ONrow~21\n~ONcol~61\n")
    return folder


def test_exudates_and_the_disc_are_read(hei_med: Path) -> None:
    data = open_dataset(hei_med.parent)

    assert data.name == "hei_med"
    assert [s.id for s in data] == ["(00000003)", "(00000052)"]
    assert {s.annotated for s in data} == {frozenset({"EX"})}
    drawn = data[0].mask("EX", SHAPE)
    assert drawn.sum() == 12
    assert drawn[10:12, 10:13].all(), "rows run along the width"
    assert data[0].truths["EX"].count(SHAPE) == 2
    assert not data[1].mask("EX", SHAPE).any()
    assert data[0].centres == {"OD": (20, 60)}
    (problem,) = data.problems
    assert problem.path == "(00000003).jpg: MicroAneurysm 0"


def test_a_list_of_the_second_version_is_read(hei_med: Path) -> None:
    gnd = hei_med / "(00000003).GND"
    first = "GNDVERSION2.0 (INCLUDES NOTES AT THE END OF THE FILE)\n"
    gnd.write_text(first + gnd.read_text())

    assert open_dataset(hei_med)[0].mask("EX", SHAPE).sum() == 12


@pytest.mark.parametrize(
    ("lost", "reason"), [(".GND", "list of drawings"), (".map.gz", "map of the drawings")]
)
def test_half_a_drawing_is_no_absence(hei_med: Path, lost: str, reason: str) -> None:
    (hei_med / f"(00000003){lost}").unlink()
    (hei_med / "(00000052).GND").write_text("0\n")

    data = open_dataset(hei_med)

    assert data[0].annotated == frozenset()
    assert any(reason in p.message for p in data.problems)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "damaged"),
        (lambda path: path.write_bytes(gzip.compress(b"\0" * 8)), "px"),
        (lambda path: write_map(path, np.zeros((96, 64))), "64 x 96 px"),
        (
            lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:99])),
            "truncated",
        ),
        (lambda path: path.write_bytes(b"no gzip"), "damaged"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_a_damaged_map_is_a_typed_error(hei_med: Path, damage: Any, reason: str) -> None:
    sample = open_dataset(hei_med)[0]
    damage(hei_med / "(00000003).map.gz")

    with pytest.raises(DatasetError, match=reason):
        sample.mask("EX", SHAPE)


def test_a_photograph_that_the_authors_leave_out_is_told(hei_med: Path) -> None:
    (hei_med / "(00000052).jpg.bad").write_text("")

    data = open_dataset(hei_med)

    assert [s.id for s in data] == ["(00000003)"]
    assert "(00000052).jpg" in {p.path for p in data.problems}
