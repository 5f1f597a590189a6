"""A result is exported in all formats asked for, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_fundus.errors import OptionsError, OutputExistsError
from napari_fundus.export import (
    FORMATS,
    PROVENANCE_SUFFIX,
    export,
    formats,
    read_csv,
    read_provenance,
)
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_every_format_is_written_under_its_name(
    result: Detections, photograph: FundusImage, tmp_path: Path
) -> None:
    files = export(result, tmp_path / "out", formats=FORMATS, image=photograph)
    expected = {f"eye{form.suffix}" for form in FORMATS.values()} | {f"eye{PROVENANCE_SUFFIX}"}
    assert names(tmp_path / "out") == expected == {path.name for path in files.values()}
    assert read_provenance(files["provenance"]) == result.provenance


def test_one_failure_leaves_nothing(
    result: Detections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setitem(formats.WRITERS, "labels", fails)
    with pytest.raises(OSError, match="disk full"):
        export(result, tmp_path, formats=("csv", "labels"))
    assert names(tmp_path) == set()


def test_one_existing_file_keeps_all_others_from_being_written(
    result: Detections, tmp_path: Path
) -> None:
    (tmp_path / "eye.geojson").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"eye\.geojson"):
        export(result, tmp_path, formats=("csv", "geojson"))
    assert names(tmp_path) == {"eye.geojson"}
    export(result, tmp_path, formats=("csv", "geojson"), overwrite=True)
    assert names(tmp_path) == {"eye.csv", "eye.geojson", f"eye{PROVENANCE_SUFFIX}"}
    assert (tmp_path / "eye.geojson").read_text() != "mine"


@pytest.fixture
def cut_off(result: Detections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a run ended after it had renamed the first of its files."""
    replace_path = Path.replace

    def full(self: Path, target: Path) -> Path:
        if self.suffix == ".geojson" and Path(target).parent == tmp_path:
            raise OSError("the disk went away")
        return replace_path(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="went away"):
        export(result, tmp_path, formats=("csv", "geojson"))
    monkeypatch.undo()
    assert names(tmp_path) == {"eye.csv", ".eye.partial"}
    return tmp_path


def test_what_a_cut_off_run_left_is_replaced(result: Detections, cut_off: Path) -> None:
    export(result, cut_off, formats=("csv", "geojson"))
    assert names(cut_off) == {"eye.csv", "eye.geojson", f"eye{PROVENANCE_SUFFIX}"}


def test_what_a_person_put_there_is_never_taken_for_a_cut_off_run(
    result: Detections, cut_off: Path
) -> None:
    (cut_off / "eye.csv").write_text("mine, of another day")
    with pytest.raises(OutputExistsError, match=r"eye\.csv"):
        export(result, cut_off, formats=("csv", "geojson"))
    (cut_off / "eye.csv").unlink()
    (cut_off / "eye.geojson").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"eye\.geojson"):
        export(result, cut_off, formats=("csv", "geojson"))
    assert (cut_off / "eye.geojson").read_text() == "mine"


def test_an_empty_partial_of_an_earlier_version_lets_nothing_be_replaced(
    result: Detections, tmp_path: Path
) -> None:
    (tmp_path / ".eye.partial").mkdir()
    (tmp_path / ".eye.partial" / "eye.csv").write_text("half")
    (tmp_path / "eye.csv").write_text("mine")
    with pytest.raises(OutputExistsError):
        export(result, tmp_path, formats=("csv",))
    (tmp_path / "eye.csv").unlink()
    export(result, tmp_path, formats=("csv",))
    assert names(tmp_path) == {"eye.csv", f"eye{PROVENANCE_SUFFIX}"}


def test_of_two_runs_at_once_one_is_written_whole_and_the_other_refused(
    result: Detections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run begins while the first one writes, and is done before it."""
    write = formats.WRITERS["csv"]
    runs: list[str] = []

    def slow(detections: Detections, path: Path, *, overwrite: bool) -> None:
        if not runs:
            runs.append("second")
            other = replace(detections, thresholds=dict.fromkeys(detections.thresholds, 1.0))
            export(other, tmp_path, "eye", formats=("csv", "geojson"))
        write(detections, path, overwrite=overwrite)

    monkeypatch.setitem(formats.WRITERS, "csv", slow)
    with pytest.raises(OutputExistsError):
        export(result, tmp_path, "eye", formats=("csv", "geojson"))
    assert names(tmp_path) == {"eye.csv", "eye.geojson", f"eye{PROVENANCE_SUFFIX}"}
    assert len(read_csv(tmp_path / "eye.csv")) == 0


def test_a_name_that_is_no_file_name_is_made_one(make, tmp_path: Path) -> None:
    found = make({"MA": np.zeros((70, 70), np.float32)})
    origin = found.provenance.model_copy(update={"image_name": "../left: eye"})
    files = export(replace(found, provenance=origin), tmp_path / "out", formats=("csv",))
    assert {path.parent for path in files.values()} == {tmp_path / "out"}


@pytest.mark.parametrize(
    ("asked", "message"), [(("xls",), "Unknown format xls"), ((), "No format")]
)
def test_an_unknown_format_is_told(
    result: Detections, tmp_path: Path, asked: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OptionsError, match=message):
        export(result, tmp_path, formats=asked)


def test_an_overlay_needs_the_image(result: Detections, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="needs the image"):
        export(result, tmp_path, formats=("overlay",))
    assert names(tmp_path) == set()
