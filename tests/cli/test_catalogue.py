"""``detectors`` and ``datasets`` tell what there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rich
from rich.console import Console

from napari_fundus.samples import sample_folder


def flat(text: str) -> str:
    return " ".join(text.split())


def test_detectors_are_listed_and_broken_plugins_with_the_reason(run) -> None:
    result = run("detectors")
    assert result.exit_code == 0
    assert "glow" in result.stdout
    assert "'broken' of their-package: ImportError: no module" in flat(result.stdout)


def test_detectors_as_json(run) -> None:
    content = json.loads(run("detectors", "--json").stdout)
    (glow,) = content["detectors"]
    assert (glow["name"], glow["lesions"], glow["source"]) == ("glow", ["EX"], "our-package")
    assert glow["options"]["properties"]["gain"]["maximum"] == 4
    assert content["problems"][0]["plugin"] == "broken"


@pytest.mark.parametrize(
    "text",
    [
        "number from 0 to 1",
        "integer from 1 to 100000 px",
        "number above 0 to 4",
        "red, green",
        '"green"',
        "Brighter or darker.",
        "hard exudate",
        "reference: nobody",
    ],
)
def test_one_detector_is_told_with_all_its_fields(
    run, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert text in flat(run("detectors", "glow").stdout)


def test_tables_are_as_wide_as_the_terminal_is_now(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich, "_console", Console(width=30))
    monkeypatch.setenv("COLUMNS", "200")
    assert "integer from 1 to 100000 px" in flat(run("detectors", "glow").stdout)


def test_one_detector_as_json(run) -> None:
    assert json.loads(run("detectors", "glow", "--json").stdout)["name"] == "glow"


def test_an_unknown_detector_is_a_usage_error(run) -> None:
    result = run("detectors", "nothing")
    assert result.exit_code == 2
    assert "No detector is called 'nothing'" in result.stderr


def test_a_data_set_is_told(run) -> None:
    text = run("datasets", sample_folder()).stdout
    assert "images: 1" in text
    assert "microaneurysm" in text


@pytest.mark.parametrize("count", [True, False])
def test_a_data_set_as_json(run, *, count: bool) -> None:
    words = () if count else ("--no-count",)
    content = json.loads(run("datasets", sample_folder(), "--json", *words).stdout)
    lesions = {entry["code"]: entry["lesions"] for entry in content["classes"]}
    assert (lesions["MA"] is not None) == count


def test_a_folder_without_images_is_told(run, tmp_path: Path) -> None:
    result = run("datasets", tmp_path)
    assert result.exit_code == 2
    assert "holds no image" in result.stderr
