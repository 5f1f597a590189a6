"""A Zarr store gives back the very result, is read by others, and claims nothing that it is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_fundus.batch import run_batch
from napari_fundus.errors import FundusError, OptionsError, OutputExistsError
from napari_fundus.export import export, is_zarr_result, load_detections, read_zarr, write_zarr
from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import LesionObject

Change = Callable[[dict[str, Any]], object]


def assert_same(first: Detections, second: Detections) -> None:
    for field in ("provenance", "min_area", "has_boxes", "lesions", "given_landmarks"):
        assert getattr(first, field) == getattr(second, field)
    assert dict(first.thresholds) == dict(second.thresholds)
    assert dict(first.image_score) == dict(second.image_score)
    for field in ("probability", "heatmap", "stages", "labels"):
        maps, others = getattr(first, field), getattr(second, field)
        assert list(maps) == list(others)
        for code in maps:
            assert maps[code].dtype == others[code].dtype
            np.testing.assert_array_equal(maps[code], others[code])
    np.testing.assert_array_equal(first.field_of_view, second.field_of_view)


@pytest.fixture
def store(result: Detections, tmp_path: Path) -> Path:
    write_zarr(result, tmp_path / "eye.zarr")
    return tmp_path / "eye.zarr"


@pytest.mark.parametrize("name", ["eye", "eye.zarr"])
def test_a_result_comes_back_equal(result: Detections, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    stages = {"MA 1×": rng.random((120, 160), np.float32)}
    changed = replace(result.threshold({"MA": 0.123456789012345}, min_area=3), stages=stages)
    write_zarr(changed, tmp_path / "eye.zarr")
    assert_same(load_detections(tmp_path / name), changed)


def test_sides_beyond_a_chunk_and_objects_come_back(make, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    score = rng.random((515, 1030), np.float32)
    found = LesionObject("MA", 0.75, 3, 4, np.ones((2, 3), np.bool_))
    result = make({"MA": score}, objects=(found,))
    write_zarr(result, tmp_path / "eye.zarr")
    again = read_zarr(tmp_path / "eye.zarr")
    np.testing.assert_array_equal(again.probability["MA"], score)
    assert again.field_of_view is None
    (one,) = again.objects
    assert (one.lesion, one.score, one.row, one.col) == ("MA", 0.75, 3, 4)
    np.testing.assert_array_equal(one.mask, found.mask)


def test_others_see_named_channels_in_one_file_each(store: Path, result: Detections) -> None:
    root = zarr.open_group(store, mode="r")
    ome = root.attrs["ome"]
    assert ome["version"] == "0.5"
    assert [c["label"] for c in ome["omero"]["channels"]] == [
        "microaneurysm probability",
        "hard exudate probability",
        "drusen probability",
        "microaneurysm heatmap",
    ]
    (level,) = ome["multiscales"][0]["datasets"]
    assert level["coordinateTransformations"] == [{"type": "scale", "scale": [1.0] * 3}]
    maps = root[level["path"]]
    assert maps.shape == (4, 120, 160)
    np.testing.assert_array_equal(maps[1], result.probability["EX"])
    field = root["labels/field_of_view/0"]
    np.testing.assert_array_equal(np.asarray(field[:]) > 0, result.field_of_view)
    # A map that is 0 everywhere takes no file at all.
    assert len([path for path in (store / "0" / "c").rglob("*") if path.is_file()]) == 3


def test_a_result_without_maps_comes_back(make, tmp_path: Path) -> None:
    write_zarr(make({}, shape=(9, 12)), tmp_path / "eye.zarr")
    again = read_zarr(tmp_path / "eye.zarr")
    assert (dict(again.probability), again.shape) == ({}, (9, 12))


def test_nothing_is_overwritten_unless_asked(store: Path, result: Detections) -> None:
    with pytest.raises(OutputExistsError):
        write_zarr(result, store)
    write_zarr(result.threshold({"MA": 0.9}), store, overwrite=True)
    assert read_zarr(store).thresholds["MA"] == 0.9
    assert [path.name for path in store.parent.iterdir()] == ["eye.zarr"]


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_no_half_store(
    result: Detections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, existing: bool
) -> None:
    path = tmp_path / "eye.zarr"
    if existing:
        write_zarr(result, path)

    def fails(*_: object, **__: object) -> None:
        assert any(tmp_path.glob(".napari-fundus-*/zarr.json")), "half of it is written"
        raise OSError("disk full")

    monkeypatch.setattr(zarr.Array, "__setitem__", fails)
    with pytest.raises(OSError, match="disk full"):
        write_zarr(result.threshold({"MA": 0.9}), path, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["eye.zarr"] * existing
    if existing:
        assert_same(read_zarr(path), result)


def test_a_process_that_dies_leaves_nothing_under_the_final_name(
    result: Detections, tmp_path: Path
) -> None:
    code = (
        "import os, sys, numpy as np, zarr\n"
        "from napari_fundus.results.detections import Detections, Provenance\n"
        "from napari_fundus.export import export\n"
        "told = Provenance.model_validate_json(sys.argv[1])\n"
        "map = np.ones(told.image_shape, np.float32)\n"
        "result = Detections(provenance=told, probability={'MA': map}, thresholds={'MA': 0.5})\n"
        "zarr.Array.__setitem__ = lambda *_: os._exit(9)\n"
        "export(result, sys.argv[2], formats=['csv', 'zarr'])\n"
    )
    words = [result.provenance.model_dump_json(), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *words], check=False)
    assert done.returncode == 9
    assert [path.name for path in tmp_path.iterdir()] == [".eye.partial"]
    files = export(result, tmp_path, formats=["csv", "zarr"])
    assert_same(read_zarr(files["zarr"]), result)
    assert not list(tmp_path.glob(".*"))


def test_an_export_replaces_an_older_store(result: Detections, tmp_path: Path) -> None:
    for threshold in (0.5, 0.9):
        files = export(
            result.threshold({"MA": threshold}), tmp_path, formats=["csv", "zarr"], overwrite=True
        )
    assert read_zarr(files["zarr"]).thresholds["MA"] == 0.9
    assert not list(tmp_path.glob(".*"))


def test_a_run_knows_its_stores_again(tmp_path: Path, draw) -> None:
    from PIL import Image

    Image.fromarray(draw().pixels).save(tmp_path / "eye.png")
    first, again = (
        run_batch([tmp_path / "eye.png"], tmp_path / "out", "tophat", formats=["zarr"])
        for _ in range(2)
    )
    assert (len(first.written), len(again.skipped)) == (1, 1)
    assert set(load_detections(tmp_path / "out" / "eye").probability) == {"MA", "HE", "EX"}
    shutil.rmtree(tmp_path / "out" / "eye.zarr")
    third = run_batch([tmp_path / "eye.png"], tmp_path / "out", "tophat", formats=["zarr"])
    assert len(third.written) == 1


def test_without_the_library_the_way_out_is_told_before_anything_is_done(
    result: Detections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionsError, match=r'pip install "napari-fundus\[scale\]"'):
        export(result, tmp_path, formats=["csv", "zarr"])
    assert not list(tmp_path.iterdir())


def test_stores_of_others_and_missing_ones_are_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "other.zarr", attributes={"ome": {}})
    assert not is_zarr_result(tmp_path / "other.zarr")
    assert not is_zarr_result(tmp_path)
    with pytest.raises(FundusError, match="not a Zarr store written by napari-fundus"):
        read_zarr(tmp_path / "other.zarr")
    with pytest.raises(FileNotFoundError):
        read_zarr(tmp_path / "none.zarr")


def _codec(told: dict[str, Any], name: str) -> None:
    told["codecs"][0]["configuration"]["codecs"][1] = {"name": name, "configuration": {}}


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(shape=[4, 1 << 20, 1 << 20]),
        lambda told: told.update(data_type="float64"),
        lambda told: told["chunk_grid"]["configuration"].update(chunk_shape=[4, 1 << 16, 1 << 16]),
        lambda told: told["codecs"][0]["configuration"].update(chunk_shape=[1, 4, 4]),
        lambda told: _codec(told, "numcodecs.pickle"),
        lambda told: told.pop("codecs"),
    ],
    ids=["shape", "type", "shards", "chunks", "pickle", "none"],
)
def test_an_array_that_is_not_as_written_is_refused_unread(
    store: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store / "0" / "zarr.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda *_: pytest.fail("it was read"))
    with pytest.raises(FundusError, match=r"eye\.zarr"):
        read_zarr(store)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (4, 1 << 31),
        (4, 0),
        (12, 1 << 31),
        (12, 0),
        (12, 17),
        (8, 0),
        (8, 1 << 31),
        (8, 1),
        (3, 255),
    ],
)
def test_a_header_of_blosc_that_lies_is_refused_unread(
    store: Path, place: int, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes unpacked and packed, of blocks and of elements: blosc believes them all."""
    path = next(path for path in (store / "0" / "c").rglob("*") if path.is_file())
    whole = bytearray(path.read_bytes())
    width = 1 if place == 3 else 4
    whole[place : place + width] = value.to_bytes(width, "little")
    path.write_bytes(whole)
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda *_: pytest.fail("it was read"))
    with pytest.raises(FundusError, match=r"eye\.zarr.*a chunk"):
        read_zarr(store)


@pytest.mark.parametrize("damage", ["size", "short", "empty"])
def test_a_piece_that_claims_more_than_it_has_is_refused_unread(
    store: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(path for path in (store / "0" / "c").rglob("*") if path.is_file())
    whole = bytearray(path.read_bytes())
    if damage == "size":
        whole[4:8] = (1 << 31).to_bytes(4, "little")
    path.write_bytes({"size": whole, "short": whole[len(whole) // 2 :], "empty": b""}[damage])
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda *_: pytest.fail("it was read"))
    with pytest.raises(FundusError, match=r"eye\.zarr"):
        read_zarr(store)


def test_napari_gets_the_layers_of_the_result(store: Path, result: Detections) -> None:
    pytest.importorskip("napari")
    from napari_fundus.gui.layers.build import detection_layers
    from napari_fundus.gui.readers import get_reader

    read = get_reader(str(store))
    assert read is not None
    names = [told[1]["name"] for told in read(str(store))]
    assert len(names) > len(result.probability)
    assert names == [told[1]["name"] for told in detection_layers(result)]
