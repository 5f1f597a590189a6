"""What is written is read again as the same lesions, and other files are told of."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_fundus as nf
from napari_fundus.errors import FundusError
from napari_fundus.export import export, write_coco
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.edits import same_components


def result(seed: int = 0) -> Detections:
    """Return blobs with holes and with parts that meet at a corner."""
    rng = np.random.default_rng(seed)
    maps = {}
    for code in ("MA", "soft drusen 2"):
        noise = rng.random((40, 60), np.float32)
        maps[code] = np.where(noise > 0.6, noise, np.float32(0))
    ran = Provenance(detector="d", detector_version="1", package_version="0", image_shape=(40, 60))
    return Detections(ran, maps, dict.fromkeys(maps, 0.7), min_area=3)


@pytest.mark.parametrize("form", ["coco", "geojson", "labels", "probability", "zarr"])
def test_each_file_gives_the_same_lesions(tmp_path, form) -> None:
    found = result()
    again = nf.read_results(export(found, tmp_path, "eye", formats=[form])[form])
    assert again.provenance == found.provenance
    assert set(again.lesions) == set(found.lesions)
    for code in found.lesions:
        assert same_components(again.labels[code], found.labels[code])
    if form != "labels":
        assert sorted(again.instances["score"]) == sorted(found.instances["score"])


@pytest.mark.parametrize("form", ["coco", "geojson", "labels"])
def test_a_result_without_lesions_is_one(tmp_path, form) -> None:
    found = result().threshold({"MA": 1.0, "soft drusen 2": 1.0})
    again = nf.read_results(export(found, tmp_path, "eye", formats=[form])[form])
    assert len(again.instances) == 0
    assert set(again.lesions) == set(found.lesions)


def test_what_is_no_result_is_told_of(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        nf.read_results(tmp_path / "a.json")
    for name, text in {
        "a.json": "[1, 2]",
        "b.json": "{}",
        "a.geojson": '{"type": "FeatureCollection", "features": []}',
        "a.txt": "hello",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(FundusError, match=name):
            nf.read_results(tmp_path / name)
    (tmp_path / "a.csv").write_text("id\n")
    with pytest.raises(FundusError, match="read_csv"):
        nf.read_results(tmp_path / "a.csv")


def test_several_images_are_a_data_set(tmp_path) -> None:
    write_coco([result(0), result(1)], tmp_path / "two.json")
    with pytest.raises(FundusError, match="holds 2 images"):
        nf.read_results(tmp_path / "two.json")


@pytest.mark.parametrize("form", ["coco", "geojson"])
def test_sizes_and_lesions_beyond_the_image_are_refused(tmp_path, form) -> None:
    path = export(result(), tmp_path, "eye", formats=[form])[form]
    content = json.loads(path.read_text())
    record = content["napari_fundus"] if form == "geojson" else content["info"]
    ran = record["provenance"] if form == "geojson" else record["provenance"][0]
    for shape in ([20, 30], [10**6, 10**6], [0, 0]):
        ran["image_shape"] = shape
        path.write_text(json.dumps(content))
        with pytest.raises(FundusError, match="eye"):
            nf.read_results(path)
