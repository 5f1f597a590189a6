"""Detectors in every format through every door, each file read back and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_fundus import api
from napari_fundus.batch.items import find_items
from napari_fundus.batch.process import make_batch_job
from napari_fundus.batch.run import run_batch
from napari_fundus.batch.worker import BatchWorkerPlugin
from napari_fundus.cli.app import app
from napari_fundus.detector import Detector
from napari_fundus.errors import ExportError
from napari_fundus.export import FORMATS, export, load_detections, read_csv, read_labels_tiff
from napari_fundus.export.formats import WRITERS
from napari_fundus.export.single_file import FILE_TYPES, write_file
from napari_fundus.gui import writers
from napari_fundus.gui.layers.build import detection_layers
from napari_fundus.image import read_image
from napari_fundus.plugins import get_detector
from napari_fundus.results.detections import Detections
from napari_fundus.results.live import LiveResult
from napari_fundus.results.quantification import is_lesion_class
from napari_fundus.samples import sample_image_path

DETECTORS = ("tophat", "unet")


@cache
def photograph(folder: Path) -> Path:
    """Write the sample with lesions at an eighth of its size."""
    pixels = read_image(sample_image_path()).rgb8
    small = cv2.resize(pixels, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    path = folder / "eye.png"
    Image.fromarray(small).save(path)
    return path


@cache
def found(name: str, path: Path) -> Detections:
    """Return a real result, made once; low thresholds so that there are lesions to count."""
    result = api.detect(path, name, device="cpu")
    result = result.threshold(
        {c: float(np.quantile(m, 0.999)) for c, m in result.probability.items()}
    )
    assert len(result.instances) > 0
    return result


@pytest.fixture(scope="module")
def eye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(params=DETECTORS)
def result(
    request: pytest.FixtureRequest, eye: Path, monkeypatch: pytest.MonkeyPatch
) -> Detections:
    """Return the result of a detector, which is what the detector finds wherever it is asked."""
    made = found(request.param, eye)
    monkeypatch.setattr(Detector, "detect", lambda *_, **__: made)
    return made


def by_api(result: Detections, eye: Path, output: Path) -> None:
    export(result, output, "eye", formats=FORMATS, image=read_image(eye))


def by_command(result: Detections, eye: Path, output: Path) -> None:
    words = [str(eye), "-d", result.provenance.detector, "-o", str(output), "-f", ",".join(FORMATS)]
    done = CliRunner().invoke(app, ["detect", *words, "--device", "cpu"])
    assert done.exit_code == 0, done.output


def by_batch(result: Detections, eye: Path, output: Path) -> None:
    report = run_batch(
        [eye.parent], output, result.provenance.detector, device="cpu", formats=tuple(FORMATS)
    )
    assert [outcome.message for outcome in report.failed] == []
    lesions = {code: n for code, n in counts(result).items() if is_lesion_class(code)}
    assert {code: n for code, n in report.written[0].counts.items() if n} == lesions


def by_worker(result: Detections, eye: Path, output: Path) -> None:
    name = result.provenance.detector
    job = make_batch_job(output, name, device="cpu", formats=tuple(FORMATS))
    plugin = BatchWorkerPlugin(job, get_detector(name).weights_sha256(job.options))
    plugin.setup(SimpleNamespace(name="worker"))
    done = plugin.process(find_items([eye], output))
    assert [outcome.status for outcome in done.outcomes] == ["written"]
    assert len(done.lesions) == len(result.instances)


DOORS: dict[str, Callable[[Detections, Path, Path], None]] = {
    "api": by_api,
    "command": by_command,
    "batch": by_batch,
    "worker": by_worker,
}


def counts(result: Detections) -> dict[str, int]:
    return {code: int(n) for code, n in result.instances["lesion"].value_counts().items()}


def coco_counts(path: Path) -> dict[str, int]:
    content = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    codes = [names[annotation["category_id"]] for annotation in content["annotations"]]
    return {code: codes.count(code) for code in set(codes)}


def label_counts(labels: dict[str, Any]) -> dict[str, int]:
    numbers = {code: len(np.unique(array)) - 1 for code, array in labels.items()}
    return {code: number for code, number in numbers.items() if number}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
def test_every_format_holds_what_was_found(
    result: Detections, door: Callable[..., None], eye: Path, tmp_path: Path
) -> None:
    door(result, eye, tmp_path)
    files = {name: tmp_path / f"eye{form.suffix}" for name, form in FORMATS.items()}
    assert [name for name, path in files.items() if not path.exists()] == []
    wanted = counts(result)
    table = read_csv(files["csv"])
    assert table["lesion"].value_counts().to_dict() == wanted
    assert sum(coco_counts(files["coco"]).values()) == len(table)
    features = json.loads(files["geojson"].read_text())["features"]
    assert len(features) == len(table)
    labels, provenance = read_labels_tiff(files["labels"])
    assert label_counts(labels) == wanted
    assert provenance.detector == result.provenance.detector
    for name in ("probability", "zarr"):
        again = load_detections(files[name])
        assert counts(again) == wanted
        assert set(again.stages) == set(result.stages)
        for code, values in result.probability.items():
            np.testing.assert_array_equal(again.probability[code], values)
    with Image.open(files["overlay"]) as overlay:
        assert min(overlay.size) >= 64


def test_every_type_of_the_file_dialog_is_written(result: Detections, tmp_path: Path) -> None:
    for kind in FILE_TYPES:
        path = Path(write_file(result, tmp_path / kind.name, kind.name))
        assert path.name == f"{kind.name}{kind.suffix}"
        assert path.stat().st_size > 0
    assert read_csv(tmp_path / "csv.csv")["lesion"].value_counts().to_dict() == counts(result)
    assert label_counts(read_labels_tiff(tmp_path / "labels.tif")[0]) == counts(result)
    assert counts(load_detections(tmp_path / "probability.prob.tif")) == counts(result)


def test_every_writer_of_napari_writes_the_labels_of_a_class(
    result: Detections, tmp_path: Path
) -> None:
    layers = [layer for layer in detection_layers(LiveResult(result)) if layer[2] == "labels"]
    assert layers
    for number, (data, meta, _) in enumerate(layers):
        expected = len(np.unique(data)) - 1
        stem = tmp_path / str(number)
        for write, suffix in (
            (writers.write_csv_layer, ".csv"),
            (writers.write_coco_layer, ".json"),
            (writers.write_geojson_layer, ".geojson"),
            (writers.write_tiff_layer, ".tif"),
        ):
            assert write(f"{stem}{suffix}", data, meta) == [f"{stem}{suffix}"]
        assert len(read_csv(stem.with_suffix(".csv"))) == expected
        assert sum(coco_counts(stem.with_suffix(".json")).values()) == expected
        assert len(json.loads(stem.with_suffix(".geojson").read_text())["features"]) == expected
        assert sum(label_counts(read_labels_tiff(stem.with_suffix(".tif"))[0]).values()) == expected


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), ValueError("not ASCII"), KeyError("tile")]
)
def test_a_failure_inside_a_writer_names_the_file(
    name: str, failure: Exception, eye: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found("tophat", eye)

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setitem(WRITERS, name, fail)
    with pytest.raises(ExportError, match=rf"eye{FORMATS[name].suffix} could not be written"):
        export(made, tmp_path, "eye", formats=[name])
    assert list(tmp_path.glob("*")) == []
    if name in {kind.name for kind in FILE_TYPES}:
        with pytest.raises(ExportError, match="mine.* could not be written"):
            write_file(made, tmp_path / "mine", name)
