"""A worklist: the state of each photograph, reviews, corrections, and going on with a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_fundus.batch import run_batch
from napari_fundus.batch.config import read_batch_config
from napari_fundus.batch.worklist import CORRECTED_FOLDER, Worklist, whole_result_format
from napari_fundus.errors import FundusError
from napari_fundus.export import read_csv
from napari_fundus.results.edits import apply_edited_labels

Draw = Callable[..., Path]
FORMATS = ("csv", "zarr")


def listed(output: Path) -> Worklist:
    """Return the worklist of a folder, as the window takes it up."""
    worklist = Worklist(output)
    worklist.set_sources(worklist.config.sources, worklist.find_entries(worklist.config.sources))
    return worklist


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_batch_of_the_command_line_is_taken_up(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png", "left/c.png")
    (folder / "text.png").write_text("no picture")
    run_batch([folder], out, detector, options={"gain": 2.0}, formats=FORMATS)
    worklist = listed(out)
    states = {entry.path.name: entry.status for entry in worklist.entries}
    assert states == {"a.png": "done", "b.png": "done", "c.png": "done", "text.png": "failed"}
    assert worklist.config.sources == (str(folder),)
    assert (worklist.config.detector, worklist.config.options["gain"]) == ("bright", 2.0)
    assert {entry.counts.get("EX") for entry in worklist.entries if entry.status == "done"} == {1}
    assert "text.png" in next(e.message for e in worklist.entries if e.status == "failed")


def test_warnings_of_a_result_are_listed(tmp_path: Path, out: Path, detector) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (outcome,) = run_batch([tmp_path / "noise.png"], out, detector, formats=FORMATS).outcomes
    assert outcome.warnings
    (entry,) = listed(out).entries
    assert entry.warnings == outcome.warnings


def test_a_later_run_with_other_sources_keeps_the_earlier_ones(
    draw: Draw, out: Path, detector
) -> None:
    folder = draw("one/a.png", "two/b.png")
    run_batch([folder / "one"], out, detector, formats=FORMATS)
    run_batch([folder / "two"], out, detector, formats=FORMATS)
    assert [entry.path.name for entry in listed(out).entries] == ["a.png", "b.png"]


def test_what_lacks_a_format_or_changed_is_to_be_done(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    run_batch([folder], out, detector, formats=FORMATS)
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "a.png")
    worklist = listed(out)
    assert [entry.status for entry in worklist.entries] == ["waiting", "done"]
    worklist.set_job("bright", {}, (*FORMATS, "coco"))
    assert [e.status for e in worklist.find_entries([folder])] == ["waiting", "waiting"]


def test_reviews_are_kept_and_the_next_unreviewed_is_found(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png", "c.png")
    run_batch([folder], out, detector, formats=FORMATS)
    worklist = listed(out)
    worklist.set_reviewed(1, reviewed=True)
    assert [worklist.next_unreviewed(row) for row in (-1, 0, 2)] == [0, 2, 0]
    again = listed(out)
    assert [bool(entry.reviewed) for entry in again.entries] == [False, True, False]
    again.set_reviewed(1, reviewed=False)
    assert not any(entry.reviewed for entry in listed(out).entries)
    for row in range(3):
        again.set_reviewed(row, reviewed=True)
    assert again.next_unreviewed(0) == -1


def test_photographs_are_taken_out_and_added_again(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    run_batch([folder], out, detector, formats=FORMATS)
    worklist = listed(out)
    worklist.remove([folder / "a.png"])
    assert [e.path.name for e in worklist.entries] == ["b.png"]
    assert [e.path.name for e in listed(out).entries] == ["b.png"]
    assert (out / "a.csv").exists()
    worklist.add_again([str(folder)])
    assert [e.path.name for e in listed(out).entries] == ["a.png", "b.png"]


def test_a_correction_is_kept_beside_what_was_found(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    run_batch([folder], out, detector, formats=FORMATS)
    before = (out / "a.csv").read_bytes()
    worklist = listed(out)
    image, found = worklist.load(0)
    assert found is not None
    labels = found.labels["EX"].copy()
    labels[2:8, 2:8] = 77
    worklist.save_correction(0, apply_edited_labels(found, {"EX": labels}), image)
    assert (out / "a.csv").read_bytes() == before
    assert len(read_csv(out / CORRECTED_FOLDER / "a.csv")) == 2
    again = listed(out)
    assert [(e.corrected, dict(e.counts)) for e in again.entries] == [
        (True, {"EX": 2}),
        (False, {"EX": 1}),
    ]
    _, loaded = again.load(0)
    assert loaded is not None
    assert np.array_equal(loaded.labels["EX"] > 0, labels > 0)
    assert run_batch([folder], out, detector, formats=FORMATS).skipped[0].counts == {"EX": 1}


def test_all_results_are_exported_as_corrected_with_a_table(
    draw: Draw, out: Path, tmp_path: Path, detector
) -> None:
    folder = draw("a.png", "b.png")
    (folder / "text.png").write_text("no picture")
    run_batch([folder], out, detector, formats=FORMATS)
    worklist = listed(out)
    image, found = worklist.load(0)
    assert found is not None
    worklist.save_correction(0, found.threshold({"EX": 1.0}), image)
    worklist.set_reviewed(0, reviewed=True)
    outcomes, left = worklist.export_all(tmp_path / "export", ["csv", "overlay"])
    assert (sorted(one.status for one in outcomes), left) == (["written", "written"], ["text.png"])
    table = pd.read_csv(tmp_path / "export" / "summary.csv")
    assert list(table["EX"]) == [0, 1]
    provenance = json.loads((tmp_path / "export" / "a.provenance.json").read_text())
    assert provenance["reviewed"] == worklist.entries[0].reviewed
    again, _ = worklist.export_all(tmp_path / "export", ["csv"])
    assert [one.status for one in again] == ["failed", "failed"], "replaced unasked"


def test_a_result_of_other_pixels_is_refused(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png")
    run_batch([folder], out, detector, formats=FORMATS)
    worklist = listed(out)
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "a.png")
    with pytest.raises(FundusError, match="another image"):
        worklist.load(0)


@pytest.mark.parametrize("name", ["batch.json", "worklist.json"])
def test_files_of_others_are_not_replaced(draw: Draw, out: Path, detector, name: str) -> None:
    out.mkdir()
    (out / name).write_text('{"mine": 1, "reviewed": 3}')
    with pytest.raises(FundusError, match=name):
        Worklist(out)
    assert (out / name).read_text() == '{"mine": 1, "reviewed": 3}'


def test_names_that_are_no_unicode_are_kept(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png")
    odd = folder / "b\udcff.png"
    (folder / "a.png").rename(odd)
    run_batch([odd], out, detector, formats=FORMATS)
    config = read_batch_config(out)
    assert config is not None
    assert config.sources == (str(odd),)
    worklist = listed(out)
    worklist.set_reviewed(0, reviewed=True)
    assert listed(out).entries[0].reviewed


def test_a_whole_result_is_always_written(out: Path) -> None:
    assert whole_result_format() in {"zarr", "probability"}
