"""A report in a folder gives its curves again, thresholds included; older ones their points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_fundus.errors import DatasetError
from napari_fundus.evaluation import DatasetCurves, evaluate_dataset, read_curves, write_report


@pytest.fixture(scope="module")
def report(make_folder, make_detectors, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    return evaluate_dataset(make_folder(root), make_detectors(), resamples=10)


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("curves")
    write_report(report, path)
    return path


def test_what_is_read_is_what_was_measured(report, folder) -> None:
    made, read = DatasetCurves.of(report), read_curves(folder)
    assert read.images == made.images == report.images
    assert read.curves.keys() == made.curves.keys() == {"contrast", "bright"}
    for label, curves in made.curves.items():
        assert curves.keys() == read.curves[label].keys()
        for key, curve in curves.items():
            np.testing.assert_array_equal(read.curves[label][key].x, curve.x)
            np.testing.assert_array_equal(read.curves[label][key].thresholds, curve.thresholds)


def test_each_class_has_the_curves_of_those_that_find_it(folder) -> None:
    curves = read_curves(folder / "report.json")
    assert set(curves.of_class("MA")["froc"]) == {"contrast"}
    assert set(curves.of_class("EX")["pr"]) == {"contrast", "bright"}


def test_the_summary_is_that_of_the_report(report, folder) -> None:
    curve = read_curves(folder).curves["contrast"]["froc", "MA"]
    assert curve.summary == pytest.approx(report.metrics("contrast", "froc")["MA"]["CPM"].estimate)
    assert curve.images == report.images


def test_a_report_without_curves_gives_the_points_of_its_table(folder, tmp_path) -> None:
    content = json.loads((folder / "report.json").read_text())
    for trial in content["detectors"]:
        del trial["curves"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    curve = read_curves(tmp_path).curves["contrast"]["froc", "MA"]
    np.testing.assert_allclose(curve.x, [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    assert curve.at(0.5) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "other"}'])
def test_what_is_no_report_is_refused(tmp_path, content) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DatasetError, match="report"):
        read_curves(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", None),
        ("detectors", 3),
        ("detectors", [{}]),
        ("detectors", [{"label": "a", "figures": [], "curves": {}}]),
        ("detectors", [{"label": "a", "figures": {}, "curves": {"froc": {"MA": {"x": 1}}}}]),
        ("warnings", None),
        ("data", {"title": "a", "name": "a", "split": "", "images": 1e999}),
    ],
)
def test_a_damaged_report_is_refused(folder, tmp_path, key: str, value: object) -> None:
    content = json.loads((folder / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(DatasetError, match="damaged report"):
        read_curves(tmp_path)


def test_a_curve_with_points_of_one_axis_missing_is_refused(folder, tmp_path) -> None:
    content = json.loads((folder / "report.json").read_text())
    curves = next(c for trial in content["detectors"] for c in trial["curves"].values() if c)
    next(iter(curves.values()))["x"].pop()
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="differ in number"):
        read_curves(tmp_path)
