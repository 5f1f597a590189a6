"""GeoJSON is what QuPath expects, and holds the exact masks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from napari_fundus.export import to_geojson, write_geojson
from napari_fundus.results.detections import Detections


def fill(geometry: dict, shape: tuple[int, int]) -> np.ndarray:
    parts = geometry["coordinates"]
    polygons = parts if geometry["type"] == "MultiPolygon" else [parts]
    sides = np.zeros((shape[0], shape[1] + 1), np.bool_)
    for ring in itertools.chain.from_iterable(polygons):
        for (x, y), (u, v) in itertools.pairwise(ring):
            if x == u:
                sides[min(y, v) : max(y, v), x] ^= True
    return np.logical_xor.accumulate(sides, axis=1)[:, :-1]


def test_polygons_rasterize_back_to_the_labels(result: Detections, tmp_path: Path) -> None:
    write_geojson(result, tmp_path / "eye.geojson")
    content = json.loads((tmp_path / "eye.geojson").read_text())
    rebuilt = {code: np.zeros(result.shape, np.int32) for code in result.lesions}
    for feature in content["features"]:
        code, number = feature["properties"]["name"].split()
        rebuilt[code][fill(feature["geometry"], result.shape)] = int(number)
    for code, labels in result.labels.items():
        np.testing.assert_array_equal(rebuilt[code], labels)
    kinds = {feature["geometry"]["type"] for feature in content["features"]}
    assert kinds == {"Polygon", "MultiPolygon"}


@pytest.mark.parametrize("object_type", ["annotation", "detection"])
def test_features_are_those_of_qupath(result: Detections, object_type: str) -> None:
    content = to_geojson(result, object_type=object_type)
    assert content["type"] == "FeatureCollection"
    first = content["features"][0]
    assert first["type"] == "Feature"
    assert first["properties"]["objectType"] == object_type
    assert first["properties"]["classification"] == {
        "name": "microaneurysm",
        "color": [0, 229, 255],
    }
    measurements = first["properties"]["measurements"]
    assert measurements["Area px"] == result.instances["area_px"][0]
    assert all(isinstance(value, int | float) for value in measurements.values())
    ids = [feature["id"] for feature in content["features"]]
    assert len(set(ids)) == len(ids) == len(result.instances)


def test_the_same_result_gives_the_same_file(result: Detections) -> None:
    assert to_geojson(result) == to_geojson(result.threshold())


def test_coordinates_are_edges_of_pixels(make) -> None:
    probability = np.zeros((70, 90), np.float32)
    probability[10:12, 30:35] = 1
    (feature,) = to_geojson(make({"HE": probability}))["features"]
    (ring,) = feature["geometry"]["coordinates"]
    assert set(ring) == {(30, 10), (35, 10), (35, 12), (30, 12)}


def test_no_lesion_is_an_empty_collection(make) -> None:
    assert to_geojson(make({"MA": np.zeros((70, 70), np.float32)}))["features"] == []
