"""The performance report measures every stage against its peers, and tells what it measured."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks.peers import TimedRun, time_interleaved
from benchmarks.performance import __main__ as command
from benchmarks.performance.machine_limits import LeastWork, MachineLimits, measure_machine
from benchmarks.performance.scaling import slope
from benchmarks.performance.stage import (
    BenchmarkStage,
    Peer,
    count_different_pixels,
    largest_difference,
    time_stage,
)
from benchmarks.performance.tables import count_relabelled_pixels
from benchmarks.waiting import Wait, render_table
from napari_fundus.runtime.devices import CPU

MACHINE = MachineLimits(arithmetic=100.0, memory=10.0, files=1.0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "performance.md"
    command.main(["--quick", "-o", str(path)])
    return path


def rows(page: str, heading: str) -> list[list[str]]:
    part = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_stage_stands_beside_a_peer(told: Path) -> None:
    table = rows(told.read_text(encoding="utf-8"), "Stages")
    stages = [row[0] for row in table if row[0]]
    assert len(stages) == 13
    peers = " ".join(row[3] for row in table)
    for name in ("OpenCV", "scikit-image", "MONAI", "PyTorch", "torchcam", "scipy", "pycocotools"):
        assert name in peers
    assert all(float(row[5].strip("*")) > 0 and float(row[6]) > 0 for row in table)


def test_outputs_of_ours_and_peers_agree_where_they_must(told: Path) -> None:
    table = rows(told.read_text(encoding="utf-8"), "Stages")
    off = {(row[3]): row[7] for row in table}
    assert off["OpenCV `imread`, to RGB"] == "0"
    assert float(off["OpenCV `GaussianBlur`"]) <= 1
    assert off["scipy `ndimage.label`"] == off["tifffile `imwrite`, zlib"] == "0 px"
    assert off["pycocotools `encode`, whole masks"] == "0 masks"
    assert off["loop over 31 thresholds, OpenCV"] == "0"
    for name in ("scikit-image `regionprops_table`", "torchcam `CAM`"):
        assert float(off[name]) < 1e-4
    assert float(off["PyTorch loop, batches of 128"]) < 1e-3


def test_what_was_made_faster_gives_what_it_gave(told: Path) -> None:
    table = rows(told.read_text(encoding="utf-8"), "What was made faster")
    off = {row[0].partition(" ")[0]: row[5] for row in table}
    assert len(table) == 6
    assert off["Reading"] == off["FROC"] == off["Table"] == "0"
    assert off["Thresholding"] == off["Export:"] == "0 px"


def test_growth_is_told_and_drawn(told: Path) -> None:
    page = told.read_text(encoding="utf-8")
    assert [row[0] for row in rows(page, "Growth with the size of an image")] == [
        "reading",
        "field of view",
        "enhancement",
        "labels and table",
        "export",
        "tophat, whole",
    ]
    assert [row[0] for row in rows(page, "Growth with the number of images")] == ["1", "2"]
    (address,) = re.findall(r"!\[.*\]\((.*)\)", page)
    assert ET.parse(told.parent / address).getroot().tag.endswith("svg")


def test_the_scarcest_resource_sets_the_limit() -> None:
    assert LeastWork(operations=200).min_seconds(MACHINE) == 2
    assert LeastWork(operations=200, moved=50, stored=3).min_seconds(MACHINE) == 5


def test_the_higher_limits_count() -> None:
    best = MACHINE.elementwise_max(MachineLimits(arithmetic=1.0, memory=20.0, files=0.5))
    assert best == MachineLimits(arithmetic=100.0, memory=20.0, files=1.0)
    found = measure_machine(megabytes=1)
    assert min(found.arithmetic, found.memory, found.files) > 1e6


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_slope_is_the_exponent_of_growth(power: int) -> None:
    sizes = [1, 3, 12, 50]
    assert slope(sizes, [0.2 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_the_impatient_measure_slow_ones_once() -> None:
    slow, quick = TimedRun("slow", lambda: 1), TimedRun("quick", lambda: 2)
    slow.seconds.append(9.0)
    time_interleaved([slow, quick], CPU, 3, patience=5)
    assert (len(slow.seconds), len(quick.seconds)) == (1, 3)


def test_results_are_compared_and_let_go() -> None:
    array = np.arange(6.0)
    stage = BenchmarkStage(
        "title",
        "on",
        lambda: array,
        (Peer("same", array.copy), Peer("other", lambda: np.array([0.0, 1, 4, 3, 4, 5]))),
        largest_difference,
        LeastWork(moved=48),
        before=lambda: array - 1,
    )
    outcome = time_stage(stage, 2)
    assert outcome.differences == ("0", "2")
    assert outcome.changed == "1"
    assert outcome.ours.result is None
    assert len(outcome.ours.seconds) == len(outcome.peers[0].seconds) == 2


def test_labels_are_compared_whatever_their_numbers() -> None:
    ours = np.array([[1, 1, 0, 2], [0, 0, 0, 2]], np.int32)
    renamed = np.array([[7, 7, 0, 4], [0, 0, 0, 4]], np.int32)
    joined = np.array([[1, 1, 0, 1], [0, 0, 0, 1]], np.int32)
    assert count_relabelled_pixels([ours], [renamed]) == "0 px"
    assert (
        count_relabelled_pixels([ours], [joined])
        == count_relabelled_pixels([joined], [ours])
        == "4 px"
    )
    assert count_relabelled_pixels([ours], [np.where(ours == 2, 0, ours)]) == "2 px"
    assert count_different_pixels(ours, renamed) == "4 px"


def test_what_takes_too_long_is_marked_as_such() -> None:
    waits = [Wait("quick", 0.2, 0.3), Wait("slow", 0.5, 1 / 3, "× a plain run")]
    lines = render_table(waits).splitlines()
    assert lines[2] == "| quick | 0.2 s | 0.3 s |  |"
    assert "too long" in lines[3]
    assert [wait.is_met for wait in waits] == [True, False]
