"""A result is exported in all formats asked for, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_fundus.errors import OptionsError, OutputExistsError
from napari_fundus.export import FORMATS, PROVENANCE_SUFFIX, export, formats, read_provenance
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


def test_what_a_cut_off_run_left_is_replaced(result: Detections, tmp_path: Path) -> None:
    (tmp_path / ".eye.partial").mkdir()
    (tmp_path / "eye.csv").write_text("renamed before the power cut")
    export(result, tmp_path, formats=("csv",))
    assert names(tmp_path) == {"eye.csv", f"eye{PROVENANCE_SUFFIX}"}
    assert (tmp_path / "eye.csv").read_text().startswith("id,")


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
