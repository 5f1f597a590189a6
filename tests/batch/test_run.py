"""A batch writes all it can, remembers what is done, and stops cleanly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_fundus.batch import BatchReport, run_batch
from napari_fundus.errors import OptionsError, OutputExistsError
from napari_fundus.export import read_csv, read_provenance
from napari_fundus.results.quantification import QUADRANTS
from napari_fundus.runtime.progress import Monitor, Progress

Draw = Callable[..., Path]


def statuses(report: BatchReport) -> dict[str, str]:
    return {outcome.path.name: outcome.status for outcome in report.outcomes}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"summary.csv", "batch.json"}
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_each_image_gets_its_files_and_a_row_in_the_summary(
    draw: Draw, out: Path, detector
) -> None:
    report = run_batch([draw("a.png", "left/a.png")], out, detector, formats=("csv", "labels"))
    assert set(files(out)) == {
        f"{place}{suffix}"
        for place in ("a", "left/a")
        for suffix in (".csv", ".labels.tif", ".provenance.json")
    }
    assert not report.interrupted
    summary = pd.read_csv(out / "summary.csv")
    assert list(summary["status"]) == ["written", "written"]
    assert list(summary["EX"]) == [len(read_csv(out / "a.csv")), len(read_csv(out / "left/a.csv"))]
    assert list(summary["EX"]) == [1, 1]


def test_a_run_on_one_image_keeps_the_rows_of_the_others(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    (folder / "text.png").write_text("no picture")
    run_batch([folder], out, detector, formats=("csv",))
    run_batch([folder / "a.png"], out, detector, formats=("csv",))
    summary = pd.read_csv(out / "summary.csv").set_index("path")["status"]
    assert summary.to_dict() == {
        str(folder / "a.png"): "skipped",
        str(folder / "b.png"): "written",
        str(folder / "text.png"): "failed",
    }


def test_the_numbers_are_those_of_the_detector(draw: Draw, out: Path, detector) -> None:
    from napari_fundus.image import read_image

    folder = draw("a.png")
    run_batch([folder], out, detector, options={"threshold": 0.2}, formats=("csv",))
    direct = detector.detect(read_image(folder / "a.png"), {"threshold": 0.2})
    pd.testing.assert_frame_equal(read_csv(out / "a.csv"), direct.instances)
    written = read_provenance(out / "a.provenance.json")
    volatile = {"seconds", "created", "image_path"}
    assert written.model_dump(exclude=volatile) == direct.provenance.model_dump(exclude=volatile)


def test_what_is_done_is_skipped(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    run_batch([folder], out, detector, formats=("csv",))
    before = files(out)
    detector.calls.clear()
    draw("c.png")
    report = run_batch([folder], out, detector, formats=("csv",))
    assert statuses(report) == {"a.png": "skipped", "b.png": "skipped", "c.png": "written"}
    assert detector.calls == ["c"]
    assert {name: files(out)[name] for name in before} == before
    assert list(pd.read_csv(out / "summary.csv")["EX"]) == [1, 1, 1]


def test_a_copy_of_an_image_with_another_date_is_still_the_same(
    draw: Draw, out: Path, detector
) -> None:
    folder = draw("a.png")
    run_batch([folder], out, detector, formats=("csv",))
    draw("a.png")
    assert statuses(run_batch([folder], out, detector, formats=("csv",))) == {"a.png": "skipped"}
    assert detector.calls == ["a"]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"options": {"gain": 2}}, "options"),
        ({"thresholds": {"EX": 0.9}}, "thresholds"),
    ],
)
def test_results_of_other_options_are_kept_unless_asked(
    draw: Draw, out: Path, detector, changed: dict, word: str
) -> None:
    folder = draw("a.png")
    run_batch([folder], out, detector, formats=("csv",))
    before = files(out)
    (outcome,) = run_batch([folder], out, detector, formats=("csv",), **changed).outcomes
    assert outcome.status == "failed"
    assert f"another {word}" in outcome.message
    assert files(out) == before
    report = run_batch([folder], out, detector, formats=("csv",), overwrite=True, **changed)
    assert statuses(report) == {"a.png": "written"}
    assert files(out) != before


def test_other_weights_are_noticed(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png")
    detector.weights = "old"
    run_batch([folder], out, detector, formats=("csv",))
    assert run_batch([folder], out, detector, formats=("csv",)).skipped
    detector.weights = "new"
    (failed,) = run_batch([folder], out, detector, formats=("csv",)).failed
    assert "another weights" in failed.message


def test_another_image_of_the_same_name_does_not_replace_the_result(
    draw: Draw, out: Path, detector
) -> None:
    draw("1/a.png", "2/a.png")
    folder = draw()
    run_batch([folder / "1"], out, detector, formats=("csv",))
    before = files(out)
    (failed,) = run_batch([folder / "2"], out, detector, formats=("csv",)).failed
    assert "another image" in failed.message
    assert files(out) == before


def test_a_format_asked_for_later_is_added(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png")
    run_batch([folder], out, detector, formats=("csv",))
    assert run_batch([folder], out, detector, formats=("geojson",)).written
    assert run_batch([folder], out, detector, formats=("csv", "geojson")).skipped
    (out / "a.csv").unlink()
    assert run_batch([folder], out, detector, formats=("csv",)).written
    assert {"a.csv", "a.geojson"} <= set(files(out))


def test_fewer_formats_leave_no_maps_of_before(draw: Draw, out: Path, detector) -> None:
    """Maps with other thresholds beside the new provenance would be another result's."""
    folder = draw("a.png")
    (out / "sub").mkdir(parents=True)
    run_batch([folder], out, detector, formats=("csv", "probability", "zarr", "labels"))
    (out / "a.geojson").write_text("of another program")
    again = run_batch(
        [folder], out, detector, formats=("csv",), thresholds={"EX": 0.9}, overwrite=True
    )
    assert [o.status for o in again.outcomes] == ["written"]
    assert {p.name for p in out.iterdir() if p.name.startswith("a.")} == {
        "a.csv",
        "a.geojson",
        "a.provenance.json",
    }


def test_files_of_others_are_not_overwritten(draw: Draw, out: Path, detector) -> None:
    out.mkdir()
    (out / "a.csv").write_text("mine")
    (failed,) = run_batch([draw("a.png")], out, detector, formats=("csv",)).failed
    assert "exists already" in failed.message
    assert files(out) == {"a.csv": b"mine"}


def test_a_summary_of_others_is_not_overwritten(draw: Draw, out: Path, detector) -> None:
    out.mkdir()
    (out / "summary.csv").write_text("my,own,table\n")
    with pytest.raises(OutputExistsError):
        run_batch([draw("a.png")], out, detector)
    assert detector.calls == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("in line 1"), "ZeroDivisionError: in line 1"),
        (MemoryError(), "Out of memory"),
        (OSError("no space left"), "no space left"),
    ],
)
def test_a_detector_that_fails_on_one_image_stops_nothing(
    draw: Draw, out: Path, detector, error: Exception, message: str
) -> None:
    detector.surprise["b"] = error
    report = run_batch([draw("a.png", "b.png", "c.png")], out, detector, formats=("csv",))
    assert statuses(report) == {"a.png": "written", "b.png": "failed", "c.png": "written"}
    assert message in report.failed[0].message
    assert "predict" in report.failed[0].traceback
    assert not list(out.glob(".*"))
    assert not (out / "b.csv").exists()


def test_the_traceback_of_a_surprise_is_logged_until_it_is_mended(
    draw: Draw, out: Path, detector
) -> None:
    folder = draw("a.png")
    detector.surprise["a"] = ZeroDivisionError("in line 1")
    (failed,) = run_batch([folder], out, detector, formats=("csv",)).failed
    log = out / "a.error.log"
    assert str(log) in failed.message
    assert "Traceback" in log.read_text()
    detector.surprise.clear()
    assert run_batch([folder], out, detector, formats=("csv",)).written
    assert not log.exists()


def test_bad_files_are_named_with_the_reason(draw: Draw, out: Path, detector) -> None:
    folder = draw("good.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    report = run_batch([folder, folder / "missing.jpg"], out, detector, formats=("csv",))
    reasons = {outcome.path.name: outcome.message for outcome in report.failed}
    assert set(reasons) == {"empty.jpg", "text.png", "missing.jpg"}
    assert "empty" in reasons["empty.jpg"]
    assert "not an image" in reasons["text.png"]
    assert statuses(report)["good.png"] == "written"
    summary = pd.read_csv(out / "summary.csv").set_index("path")
    assert summary.loc[str(folder / "text.png"), "message"] == reasons["text.png"]


def test_ctrl_c_keeps_what_is_done_and_goes_on_later(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png", "c.png")
    detector.surprise["b"] = KeyboardInterrupt()
    report = run_batch([folder], out, detector, formats=("csv",))
    assert report.interrupted
    assert statuses(report) == {"a.png": "written"}
    assert set(files(out)) == {"a.csv", "a.provenance.json"}
    detector.surprise.clear()
    report = run_batch([folder], out, detector, formats=("csv",))
    assert statuses(report) == {"a.png": "skipped", "b.png": "written", "c.png": "written"}


def test_cancelling_acts_within_an_image(draw: Draw, out: Path, detector) -> None:
    def stop_in_second(progress: Progress) -> None:
        if detector.calls == ["a", "b"]:
            monitor.cancel()

    monitor = Monitor(stop_in_second)
    report = run_batch(
        [draw("a.png", "b.png", "c.png")], out, detector, formats=("csv",), monitor=monitor
    )
    assert report.interrupted
    assert statuses(report) == {"a.png": "written"}


def test_progress_goes_from_0_to_1(draw: Draw, out: Path, detector) -> None:
    seen: list[Progress] = []
    run_batch(
        [draw("a.png", "b.png")], out, detector, formats=("csv",), monitor=Monitor(seen.append)
    )
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


def test_a_folder_that_is_its_own_output_can_be_run_twice(draw: Draw, detector) -> None:
    folder = draw("a.png")
    formats = ("csv", "labels", "overlay", "probability")
    assert run_batch([folder], folder, detector, formats=formats).written
    assert statuses(run_batch([folder], folder, detector, formats=formats)) == {"a.png": "skipped"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"gain": 9}},
        {"options": {"colour": "red"}},
        {"thresholds": {"MA": 0.5}},
        {"thresholds": {"EX": 2}},
        {"formats": ("xls",)},
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_read(
    draw: Draw, out: Path, detector, wrong: dict
) -> None:
    with pytest.raises(OptionsError):
        run_batch([draw("a.png")], out, detector, **wrong)
    assert detector.calls == []
    assert not out.exists()


def test_a_threshold_of_one_class_is_applied_and_told(draw: Draw, out: Path, detector) -> None:
    run_batch([draw("a.png")], out, detector, thresholds={"EX": 0.01}, formats=("csv",))
    assert read_csv(out / "a.csv")["area_px"].max() == 80 * 100
    assert json.loads((out / "a.provenance.json").read_text())["thresholds"] == {"EX": 0.01}


def test_the_summary_tells_areas_landmarks_and_the_field_of_view(
    draw: Draw, out: Path, detector
) -> None:
    folder = draw("eye.png")
    disc = np.zeros((80, 100), np.uint8)
    disc[10:20, 70:80] = 255
    Image.fromarray(disc).save(folder / "eye_OD.png")
    detector.field = np.ones((80, 100), np.bool_)
    run_batch([folder], out, detector, formats=("csv",))
    (row,) = pd.read_csv(out / "summary.csv").to_dict("records")
    table = pd.read_csv(out / "eye.csv")
    assert row["EX_area_px"] == table["area_px"].sum() == 81
    assert row["EX_area_percent"] == pytest.approx(100 * 81 / 8000)
    assert row["field_of_view_px"] == 8000
    assert (row["disc_row"], row["disc_col"]) == (14.5, 74.5)
    assert row["disc_source"] == "annotated"
    assert row["disc_diameter"] == pytest.approx(11.3)
    assert table["distance_to_disc_px"].notna().all()
    assert row["EX"] == sum(row[f"EX_{name}"] for name in QUADRANTS)
    (again,) = pd.read_csv(
        run_batch([folder], out, detector, formats=("csv",)).output / "summary.csv"
    ).to_dict("records")
    timeless = {"status", "seconds"}
    assert {k: v for k, v in again.items() if k not in timeless} == pytest.approx(
        {k: v for k, v in row.items() if k not in timeless}, nan_ok=True
    )


def test_a_broken_mask_of_the_disc_stops_no_detection(draw: Draw, out: Path, detector) -> None:
    folder = draw("eye.png")
    (folder / "eye_OD.png").write_text("no picture")
    report = run_batch([folder], out, detector, formats=("csv",))
    assert statuses(report) == {"eye.png": "written"}
    assert report.written[0].extent["landmarks"] == {}


def test_the_optic_disc_is_not_counted_among_the_lesions(draw: Draw, out: Path, detector) -> None:
    detector.disc = True
    report = run_batch([draw("eye.png")], out, detector, formats=("csv",))
    assert report.written[0].counts == {"EX": 1}
    assert "OD" not in pd.read_csv(out / "summary.csv").columns
    assert set(pd.read_csv(out / "eye.csv")["lesion"]) == {"EX", "OD"}


def test_columns_stand_in_order_whatever_the_runs(draw: Draw, out: Path, detector) -> None:
    folder = draw("a.png", "b.png")
    run_batch([folder / "a.png"], out, detector, formats=("csv",))
    detector.field = np.ones((80, 100), np.bool_)
    run_batch([folder / "b.png"], out, detector, formats=("csv",))
    columns = list(pd.read_csv(out / "summary.csv").columns)
    assert columns == [
        *("path", "status", "place", "EX", "EX_area_px"),
        *("EX_area_percent", "field_of_view_px", "warnings", "seconds", "message"),
    ]


def test_parts_of_a_batch_share_the_work_and_the_whole_is_summed_up(
    draw: Draw, out: Path, detector
) -> None:
    folder = draw("a.png", "b.png", "c.png", "d.png", "e.png")
    done = [run_batch([folder], out, detector, formats=("csv",), shard=(i, 3)) for i in (1, 2, 3)]
    assert [sorted(statuses(report)) for report in done] == [
        ["a.png", "d.png"],
        ["b.png", "e.png"],
        ["c.png"],
    ]
    assert len(pd.read_csv(out / "summary-2-of-3.csv")) == 2
    assert not (out / "summary.csv").exists()
    whole = run_batch([folder], out, detector, formats=("csv",))
    assert set(statuses(whole).values()) == {"skipped"}
    assert list(pd.read_csv(out / "summary.csv")["EX"]) == [1] * 5
    more = run_batch([folder], out, detector, formats=("csv",), shard=(7, 9))
    assert more.outcomes == ()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_parts_that_do_not_exist_are_refused(draw: Draw, out: Path, detector, shard) -> None:
    with pytest.raises(OptionsError, match="counted from 1"):
        run_batch([draw("a.png")], out, detector, shard=shard)
    assert not out.exists()


def test_scores_of_the_image_stand_in_the_summary(draw: Draw, out: Path, detector) -> None:
    detector.score = {"referable": 0.25}
    for status in ("written", "skipped"):
        (outcome,) = run_batch([draw("a.png")], out, detector, formats=("csv",)).outcomes
        assert (outcome.status, outcome.scores) == (status, {"referable": 0.25})
        table = pd.read_csv(out / "summary.csv")
        assert table["score_referable"].item() == 0.25
        assert list(table.columns)[3:5] == ["EX", "score_referable"]
