"""One bad entry is one row with its reason; all others are done, and what is left out is told."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from napari_fundus.batch import BatchReport, process, run_batch
from napari_fundus.batch.items import find_items
from napari_fundus.batch.iter_items import iter_items
from napari_fundus.batch.listing import HIDDEN, LINKS, list_folder
from napari_fundus.errors import Cancelled
from napari_fundus.export import FORMATS, read_provenance

Draw = Callable[..., Path]
needs_posix = pytest.mark.skipif(os.name == "nt", reason="names of bytes and pipes are POSIX's")


class Unprintable(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def statuses(report: BatchReport) -> dict[str, str]:
    return {os.fsencode(o.path.name).decode("latin-1"): o.status for o in report.outcomes}


@needs_posix
def test_a_name_that_is_not_utf_8_is_done(draw: Draw, tmp_path: Path, detector) -> None:
    folder = draw("A/a.png", "A/other.png", "B/b.png")
    (folder / "A/other.png").rename(os.fsdecode(os.fsencode(folder) + b"/A/\xc4\xe3.png"))
    report = run_batch([folder], tmp_path / "out", detector, formats=list(FORMATS))
    assert statuses(report) == {"a.png": "written", "\xc4\xe3.png": "written", "b.png": "written"}
    table = pd.read_csv(tmp_path / "out/summary.csv")
    assert sorted(Path(path).name for path in table["path"]) == [
        "\\udcc4\\udce3.png",
        "a.png",
        "b.png",
    ]
    for place in table["place"]:
        assert (tmp_path / "out" / f"{place}.csv").exists()
        assert read_provenance(tmp_path / "out" / f"{place}.provenance.json")
    again = run_batch([folder], tmp_path / "out", detector, formats=list(FORMATS))
    assert set(statuses(again).values()) == {"skipped"}


SURPRISES = {
    "exit": SystemExit(3),
    "generator": GeneratorExit("out of place"),
    "base": BaseException("anything"),
    "cancelled": Cancelled("by nobody"),
    "unprintable": Unprintable(),
    "surrogates": RuntimeError("\udcff"),
    "escapes": RuntimeError("\x1b[2J"),
}


@pytest.mark.parametrize("name", SURPRISES)
def test_whatever_a_detector_raises_costs_one_image(
    name: str, draw: Draw, tmp_path: Path, detector
) -> None:
    detector.surprise = {"b": SURPRISES[name]}
    report = run_batch([draw("a.png", "b.png", "c.png")], tmp_path / "out", detector)
    assert statuses(report) == {"a.png": "written", "b.png": "failed", "c.png": "written"}
    assert not report.interrupted
    (failure,) = report.failed
    assert failure.message
    assert "\x1b" not in failure.message
    assert failure.message.isprintable()
    table = pd.read_csv(tmp_path / "out/summary.csv")
    assert list(table["status"]) == ["written", "failed", "written"]


def test_ctrl_c_in_a_detector_still_stops(draw: Draw, tmp_path: Path, detector) -> None:
    detector.surprise = {"b": KeyboardInterrupt()}
    report = run_batch([draw("a.png", "b.png", "c.png")], tmp_path / "out", detector)
    assert report.interrupted
    assert statuses(report) == {"a.png": "written"}


def test_a_reader_that_ends_the_process_costs_one_image(
    draw: Draw, tmp_path: Path, detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = process.read_image

    def exits(path: Path) -> Any:
        if path.stem == "b":
            raise SystemExit(9)
        return read(path)

    monkeypatch.setattr(process, "read_image", exits)
    report = run_batch([draw("a.png", "b.png", "c.png")], tmp_path / "out", detector)
    assert statuses(report) == {"a.png": "written", "b.png": "failed", "c.png": "written"}


def test_a_log_on_a_full_disk_ends_nothing(
    draw: Draw, tmp_path: Path, detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(*_: Any, **__: Any) -> Iterator[Path]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield Path()

    monkeypatch.setattr(process, "atomic_write", full)
    detector.surprise = {"a": ValueError("broken")}
    report = run_batch([draw("a.png", "b.png")], tmp_path / "out", detector)
    assert statuses(report) == {"a.png": "failed", "b.png": "written"}
    assert report.failed[0].message == "ValueError: broken."


Listing = Callable[[Path, Path], dict[str, str]]


def _found(folder: Path, output: Path) -> dict[str, str]:
    return {item.path.name: item.error for item in find_items([folder], output)}


def _walked(folder: Path, output: Path) -> dict[str, str]:
    return {item.path.name: item.error for item in iter_items([folder], output)}


@pytest.mark.parametrize("listed", [_found, _walked])
def test_a_sub_folder_without_rights_is_a_row(
    listed: Listing, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights bind no administrator, as whom tests may run: the refusal is the system call's."""
    folder = draw("a/a.png", "b/b.png", "c/c.png")
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = listed(folder, tmp_path / "out")
    assert found == {"a.png": "", "c.png": "", "b": "It cannot be searched: Permission denied."}


@needs_posix
@pytest.mark.parametrize("listed", [_found, _walked])
def test_entries_that_are_no_files_are_rows(listed: Listing, draw: Draw, tmp_path: Path) -> None:
    folder = draw("eye.png", "in/eye.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nothing.png").symlink_to("missing.png")
    os.mkfifo(folder / "in/pipe.png")
    found = listed(folder, tmp_path / "out")
    assert found.pop("eye.png") == ""
    assert found.pop("loop.png").startswith("It cannot be looked at: Too many levels")
    assert found == {
        "nothing.png": "It is a link to nothing, not a file.",
        "pipe.png": "It is a pipe or device, not a file.",
    }


@needs_posix
def test_a_source_that_is_a_link_to_itself_is_a_row(draw: Draw, tmp_path: Path, detector) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.png")
    sources = [tmp_path / "loop", tmp_path / "pipe.png", tmp_path / "no\0name", draw("a.png")]
    report = run_batch(sources, tmp_path / "out", detector)
    assert [o.status for o in report.outcomes] == ["failed", "failed", "failed", "written"]
    assert "Too many levels" in report.outcomes[0].message
    assert "pipe or device" in report.outcomes[1].message


def test_what_a_folder_holds_beside_photographs_is_told(
    draw: Draw, tmp_path: Path, detector
) -> None:
    folder = draw("a.png", "a_EX.png", "in/b.png", "in/.hidden.png")
    for name in ("notes.txt", "in/more.TXT", "scan.dcm", "README"):
        (folder / name).write_text("x")
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    expected = Counter({".txt": 2, ".dcm": 1, "without suffix": 1, ".png": 1, HIDDEN: 1, LINKS: 1})
    report = run_batch([folder, folder / "in"], tmp_path / "out", detector)
    assert report.passed_over == expected
    walked: Counter[str] = Counter()
    assert len(list(iter_items([folder], tmp_path / "out", walked))) == 2
    assert walked == expected


@pytest.mark.parametrize("place", ["", "out"])
def test_own_results_are_not_told_as_passed_over(
    place: str, draw: Draw, tmp_path: Path, detector
) -> None:
    folder = draw("a.png")
    output = folder / place
    for _ in range(2):
        assert run_batch([folder], output, detector).passed_over == {}
    assert (output / "a.csv").exists()


def test_a_folder_taken_away_meanwhile_is_empty(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "gone").images == ()
