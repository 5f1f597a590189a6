"""The demo does the whole main job on the real photograph, quickly, and tells what it found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_fundus import demo
from napari_fundus.cli import app
from napari_fundus.errors import OutputExistsError
from napari_fundus.export import read_csv


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoResult:
    """Run the demo once for all tests."""
    return demo.make_demo(tmp_path_factory.mktemp("demo"))


def test_every_class_of_the_detector_is_compared_with_the_experts(made: demo.DemoResult) -> None:
    # The optic disc is found as well, but the sample brings no mask of it.
    assert list(made.comparison["lesion"]) == [c for c in made.detections.lesions if c != "OD"]
    assert set(made.masks) == {"MA", "HE", "EX", "SE"}
    assert all(mask.any() for mask in made.masks.values())
    assert made.comparison["found"].sum() > 20


def test_all_files_are_there_and_agree(made: demo.DemoResult) -> None:
    assert {"preprocessed", "csv", "coco", "geojson", "overlay", "provenance"} <= set(made.files)
    lesions = len(made.detections.instances)
    assert len(read_csv(made.files["csv"])) == lesions
    assert len(json.loads(made.files["geojson"].read_text())["features"]) == lesions
    assert len(json.loads(made.files["coco"].read_text())["annotations"]) == lesions
    with Image.open(made.files["overlay"]) as picture:
        assert 1000 < picture.width <= 2000
    with Image.open(made.files["preprocessed"]) as picture:
        assert np.asarray(picture).std() > 5


def test_a_second_demo_replaces_the_first_only_if_asked(made: demo.DemoResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.files.values()}
    with pytest.raises(OutputExistsError):
        demo.make_demo(made.files["csv"].parent)
    assert {path: path.stat().st_mtime_ns for path in made.files.values()} == before


def test_the_table_names_classes_and_files(
    made: demo.DemoResult, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {**made.masks, "NV": next(iter(made.masks.values()))}
    demo.show_demo(replace(made, masks=more), show=False)
    printed = capsys.readouterr().out
    for text in ("microaneurysms", "haemorrhages", "hard exudates", "CC-BY 4.0"):
        assert text in printed
    assert "not looked for: neovascularisations" in printed
    assert all(str(path) in printed for path in made.files.values())


def test_without_a_display_the_demo_says_so_and_ends(
    made: demo.DemoResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    demo.show_demo(made)
    assert "napari was not opened: there is no display." in capsys.readouterr().out


def test_with_a_display_napari_is_opened_with_the_result(
    made: demo.DemoResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(demo, "display_unavailable_reason", lambda: "")
    monkeypatch.setattr("napari_fundus.gui.open_demo", lambda *given: opened.append(given))
    demo.show_demo(made)
    assert opened == [(made.image, made.detections, made.masks)]


def test_asking_for_napari_where_it_cannot_open_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "display_unavailable_reason", lambda: "there is no display.")
    result = CliRunner().invoke(app, ["demo", "--show", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "there is no display" in result.stderr
    assert not (tmp_path / "out").exists()


def test_napari_that_is_not_installed_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'napari-fundus[all]'" in demo.display_unavailable_reason()


@pytest.mark.parametrize(("platform", "obstacle"), [("offscreen", ""), ("no_such", "no_such")])
def test_whether_qt_can_open_a_window_is_tried_beforehand(
    monkeypatch: pytest.MonkeyPatch, platform: str, obstacle: str
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
    reason = demo.display_unavailable_reason()
    assert bool(reason) == bool(obstacle)
    assert obstacle in reason


@pytest.mark.slow
def test_the_command_runs_the_demo(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--no-show", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "hard exudates" in result.stdout
    assert (tmp_path / "out" / "IDRiD_13.overlay.jpg").exists()
