"""The files of a report: complete, honest about what is undefined, never overwritten unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_fundus.errors import OutputExistsError
from napari_fundus.evaluation import (
    SCHEMA_VERSION,
    Report,
    ReportSource,
    as_healthy,
    check_report_folder,
    evaluate_dataset,
    to_markdown,
    write_report,
)
from napari_fundus.evaluation.crops import CropCollector


@pytest.fixture(scope="module")
def report(make_folder, make_healthy, make_detectors, tmp_path_factory) -> Report:
    root = tmp_path_factory.mktemp("report")
    source = ReportSource(
        "made", "Made up", "CC0", "made", "all", "all images", "napari-fundus evaluate"
    )
    return evaluate_dataset(
        [*make_folder(root), *map(as_healthy, make_healthy(root))],
        make_detectors(),
        protocols=["aupr", "froc", "overlap", "image"],
        resamples=20,
        source=source,
    )


@pytest.fixture(scope="module")
def written(report, tmp_path_factory) -> Path:
    """The folder of the report."""
    folder = tmp_path_factory.mktemp("written") / "out"
    files = write_report(report, folder)
    assert sorted(files) == sorted(folder.iterdir())
    return folder


def test_all_files_are_written_whole(written) -> None:
    names = {"froc.png", "precision_recall.png", "crops_MA.png", "crops_EX.png"}
    names |= {"images.csv", "report.json", "report.md"}
    assert {path.name for path in written.iterdir()} == names
    for path in written.glob("*.png"):
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 5


def test_json_holds_figures_and_provenance(report, written) -> None:
    content = json.loads((written / "report.json").read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["data"]["images"] == 5
    assert content["data"]["command"] == "napari-fundus evaluate"
    assert content["protocols"]["froc"]["parameters"]["points"][0] == 0.125
    assert [d["label"] for d in content["detectors"]] == ["contrast", "bright"]
    first = content["detectors"][0]
    assert first["options"] == {"threshold": 0.5, "min_area": 1, "size": 6.0}
    area = first["figures"]["aupr"]["MA"]["AUPR, 33 thresholds"]
    assert area["low"] <= area["estimate"] <= area["high"]
    assert area == vars(report.metrics("contrast", "aupr")["MA"]["AUPR, 33 thresholds"])
    assert first["images"][0]["device"] == "cpu"
    assert any(item["measured_on"].startswith("IDRiD") for item in content["published"])


def test_markdown_says_what_was_measured_on_what(report) -> None:
    page = to_markdown(report, pictures=["froc.png"])
    for part in (
        "- Data: Made up (CC0), in `made`.",
        "- Images: 5, 2 of them healthy without masks (all): all images.",
        "bootstrap 95 % interval over images, 20 resamples, seed 0",
        "Command: `napari-fundus evaluate`",
        "| class | detector | images | healthy | with it | lesions | CPM | at 1/8 FPI |",
        "| MA | AUPR, 33 thresholds | .5017 | winners of the IDRiD challenge",
        "![froc](froc.png)",
    ):
        assert part in page
    assert "5 images are few" not in page
    assert "nan" not in page


def test_few_images_are_said_to_be_few(dataset, contrast) -> None:
    page = to_markdown(evaluate_dataset(dataset[:1], [contrast], protocols=["aupr"], resamples=10))
    assert "1 images are few" in page


def test_the_table_has_a_row_for_each_detector_image_and_class(report, written) -> None:
    table = pd.read_csv(written / "images.csv")
    rows = table[table["detector"] == "contrast"].set_index(["image", "class"])
    assert rows.loc[("eye0", "MA"), "lesions"] == 3
    assert rows.loc[("healthy/well0", "MA"), "healthy"] == 1
    assert np.isnan(rows.loc[("healthy/well0", "MA"), "dice"])
    assert ("eye2", "EX") not in rows.index
    total = report.metrics("contrast", "overlap")["MA"]
    found = rows.xs("MA", level="class")
    assert found["lesions"].sum() == total["lesions"]


def test_nothing_is_overwritten_unless_asked(report, tmp_path) -> None:
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_text() == "mine"
    assert check_report_folder(tmp_path, overwrite=True) == tmp_path


def test_an_earlier_report_is_replaced_where_asked(dataset, contrast, tmp_path) -> None:
    report = evaluate_dataset(
        dataset, [contrast], protocols=["overlap"], lesions=["MA"], resamples=10
    )
    report.trials[0].crops = CropCollector()  # pictures take time
    (tmp_path / "report.md").write_text("earlier")
    write_report(report, tmp_path, overwrite=True)
    assert (tmp_path / "report.md").read_text().startswith("# Evaluation")


def test_a_class_without_any_lesion_has_a_report_but_no_figure(dataset, contrast) -> None:
    clean = [replace(s, annotated=frozenset({"MA"}), truths={}) for s in dataset]
    report = evaluate_dataset(
        clean, [contrast], protocols=["aupr", "froc", "overlap"], resamples=10
    )
    metrics = report.to_json()["detectors"][0]["figures"]
    json.dumps(metrics, allow_nan=False)
    assert metrics["aupr"]["MA"]["AUPR, exact"]["estimate"] is None
    assert metrics["froc"]["MA"]["CPM"]["estimate"] is None
    assert "| MA | contrast | 3 | 0 | 0 | 0 | – |" in to_markdown(report)
