"""Damaged files give a result or a typed error, and the harness sees what it is there to see."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of memory are POSIX's")

from benchmarks import fuzz
from benchmarks.fuzzing.runner import BAD, run
from benchmarks.fuzzing.targets import FUZZ_TARGETS, find_target, make_input


def test_a_few_hundred_damaged_files_of_every_kind_do_no_harm(tmp_path: Path) -> None:
    tallies = run(
        list(FUZZ_TARGETS), inputs=15 * len(FUZZ_TARGETS), seed=1, limit=20, corpus=tmp_path
    )
    assert [finding for tally in tallies.values() for finding in tally.findings] == []
    assert {name: sum(tally.counts.values()) for name, tally in tallies.items()} == dict.fromkeys(
        FUZZ_TARGETS, 15
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("toy", "outcome"),
    [
        ("toy-raises", "crashed"),
        ("toy-dies", "crashed"),
        ("toy-hangs", "hung"),
        ("toy-swells", "over memory"),
        ("toy-swells-quietly", "over memory"),
        ("toy-strays", "strayed"),
        ("toy-phones", "strayed"),
    ],
)
def test_each_kind_of_harm_is_seen_kept_and_survived(
    toy: str, outcome: str, tmp_path: Path
) -> None:
    tallies = run(
        [toy, "toy-sound"],
        inputs=4,
        limit=0.5 if outcome == "hung" else 30,
        memory=256 << 20,
        corpus=tmp_path / "corpus",
    )
    assert tallies[toy].counts == {outcome: 2}
    assert sum(tallies["toy-sound"].counts.values()) == 2
    assert tallies["toy-sound"].findings == []
    kept = sorted((tmp_path / "corpus" / toy).iterdir())
    assert [place.name for place in kept] == [f"{n}-{outcome.replace(' ', '-')}" for n in (0, 1)]
    again = make_input(find_target(toy), seed=0, number=1)
    assert (kept[1] / "input" / "file").read_bytes() == again["file"]


def test_a_refusal_is_told_from_a_result() -> None:
    counts = run(["toy-sound"], inputs=30)["toy-sound"].counts
    assert counts["valid"] >= 1  # input 0 is sound
    assert counts["refused"] >= 10
    assert counts["valid"] + counts["refused"] == 30


def test_inputs_are_the_same_whenever_the_numbers_are() -> None:
    subject = FUZZ_TARGETS["report"]
    first = [make_input(subject, seed=3, number=n) for n in range(20)]
    assert first == [make_input(subject, seed=3, number=n) for n in range(20)]
    assert first != [make_input(subject, seed=4, number=n) for n in range(20)]
    assert json.loads(first[0]["report.json"])["schema"] == "napari-fundus evaluation"


@pytest.mark.parametrize("name", FUZZ_TARGETS)
def test_the_input_that_damage_starts_from_is_sound(name: str, tmp_path: Path) -> None:
    subject = FUZZ_TARGETS[name]
    for number, case in enumerate(subject.cases()):
        place = tmp_path / str(number)
        for file, content in case.files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(content)
        before = os.environ.get("NAPARI_FUNDUS_PREFERENCES")
        try:
            subject.read(place)
        finally:
            if before is not None:
                os.environ["NAPARI_FUNDUS_PREFERENCES"] = before


def test_the_table_has_a_row_for_each_reader_and_their_sum() -> None:
    tallies = run(["toy-sound", "toy-raises"], inputs=6)
    lines = fuzz.table(tallies.values()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][:8] == ["reader", "inputs", "valid", "refused", *BAD]
    assert [row[0] for row in cells[2:]] == ["toy-sound", "toy-raises", "all"]
    assert cells[3][1:5] == ["3", "0", "0", "3"]
    assert cells[4][1] == "6"


def test_the_command_says_by_its_status_whether_all_is_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fuzz.main(["--inputs", "3", "--reader", "toy-sound"]) == 0
    assert fuzz.main(["--inputs", "2", "--reader", "toy-raises"]) == 1
    assert "| toy-raises | 2 | 0 | 0 | 2 |" in capsys.readouterr().out
