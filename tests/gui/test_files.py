"""Readers, writers and samples as napari calls them, and the manifest that announces them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from napari.components import ViewerModel
from napari.layers import Labels, Points, Shapes
from npe2 import DynamicPlugin, PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

import napari_fundus
import napari_fundus as nf
from napari_fundus.errors import FundusError, ImageBrokenError
from napari_fundus.export import (
    read_csv,
    read_provenance,
    write_labels_tiff,
    write_probability_tiff,
)
from napari_fundus.export.single_file import write_file
from napari_fundus.gui import add_detections, writers
from napari_fundus.gui.readers import get_reader, open_folder
from napari_fundus.gui.sample_data import idrid, normal
from napari_fundus.results.detections import Provenance
from napari_fundus.results.edits import apply_edited_labels, same_components
from napari_fundus.results.layer_metadata import METADATA_KEY, detections_from_layer

MANIFEST = Path(napari_fundus.__file__).parent / "napari.yaml"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


@pytest.fixture(scope="module")
def found():
    """A result of the real detector on a small picture."""
    image = nf.read_image(nf.sample_image_path())
    small = nf.FundusImage.from_array(image.pixels[::4, ::4], name="small")
    return nf.detect(small, "tophat", working_diameter=500, device="cpu")


@pytest.fixture
def layers(found):
    return add_detections(ViewerModel(), found)


def labels_of(layers) -> Labels:
    return next(x for x in layers if isinstance(x, Labels) and len(x.features) > 3)


def test_npe2_finds_the_manifest_valid_and_can_import_all():
    command = [sys.executable, "-m", "npe2", "validate", "napari-fundus", "--imports"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_resolves_to_something_callable(manifest):
    for command in manifest.contributions.commands:
        assert callable(import_python_name(command.python_name))


def test_what_is_contributed_names_commands_that_exist(manifest):
    raw = yaml.safe_load(MANIFEST.read_text())["contributions"]
    known = {command["id"] for command in raw["commands"]}
    used = {
        item["command"]
        for kind in ("readers", "writers", "sample_data", "widgets")
        for item in raw[kind]
    }
    used |= {item["command"] for items in raw["menus"].values() for item in items}
    assert used == known


def test_menus_are_those_that_napari_takes(manifest):
    from napari._app_model.constants import MenuId

    assert set(manifest.contributions.menus) <= {menu.value for menu in MenuId}


def test_the_link_at_the_top_is_the_manifest_itself():
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.resolve() == MANIFEST.resolve()


def test_the_manifest_s_modules_do_not_import_torch():
    code = (
        "import sys, importlib\n"
        "for name in ('detect', 'preprocess', 'browser', 'readers', 'writers', 'sample_data',"
        "'evaluate', 'compare'):\n"
        "    importlib.import_module('napari_fundus.gui.' + name)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_photograph_is_read_as_rgb_with_its_path():
    path = str(nf.sample_image_path())
    ((data, meta, kind),) = get_reader(path)(path)
    assert (kind, meta["rgb"]) == ("image", True)
    np.testing.assert_array_equal(data, nf.read_image(path).pixels)
    assert meta["metadata"][METADATA_KEY].path == path


def test_several_files_give_several_layers():
    paths = [str(nf.sample_image_path())] * 2
    assert len(get_reader(paths)(paths)) == 2


def test_a_broken_file_says_what_is_wrong(tmp_path):
    broken = tmp_path / "cut.jpg"
    broken.write_bytes(nf.sample_image_path().read_bytes()[:9000])
    with pytest.raises(ImageBrokenError, match="truncated"):
        get_reader(str(broken))(str(broken))


@pytest.mark.parametrize("name", ["notes.txt", "cells.nd2", "volume.tif"])
def test_what_is_no_photograph_is_left_to_others(tmp_path, name):
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, np.zeros((5, 70, 70), np.uint8))
    else:
        path.write_text("hello")
    assert get_reader(str(path)) is None


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.int16, np.int8])
def test_labels_that_napari_saved_are_left_to_napari(tmp_path, kind):
    drawn = np.zeros((70, 80), kind)
    drawn[4:9, 5:9] = 3
    path = tmp_path / "MA.tif"
    Labels(drawn).save(str(path))
    assert path.is_file()
    assert get_reader(str(path)) is None


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_photograph_as_tiff_is_read(tmp_path, kind):
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, np.full((70, 80), 90, kind))
    assert get_reader(str(path)) is not None


def test_a_folder_without_images_is_left_to_others(tmp_path):
    assert get_reader(str(tmp_path)) is None


def test_a_folder_without_a_window_says_what_to_use_instead(monkeypatch):
    folder = str(nf.samples.sample_folder())
    assert get_reader(folder) is open_folder
    monkeypatch.setattr("napari.current_viewer", lambda: None)
    with pytest.raises(FundusError, match="open_dataset"):
        open_folder(folder)


def test_saved_maps_come_back_as_the_layers_they_were(tmp_path, found):
    path = str(tmp_path / "result.tif")
    write_probability_tiff(found, path)
    tuples = get_reader(path)(path)
    assert [kind for _, _, kind in tuples] == ["image"] * 3 + ["labels"] * 3
    for data, meta, _ in tuples[3:]:
        np.testing.assert_array_equal(data, found.labels[meta["metadata"][METADATA_KEY].lesion])


def test_saved_labels_come_back_with_their_provenance(tmp_path, found):
    path = str(tmp_path / "labels.tif")
    write_labels_tiff(found, path)
    tuples = get_reader(path)(path)
    assert [kind for _, _, kind in tuples] == ["labels"] * 3
    known = tuples[0][1]["metadata"][METADATA_KEY]
    assert known.provenance == found.provenance.model_dump(mode="json")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".geojson", ".tif"])
def test_what_is_saved_opens_again_with_as_many_lesions(layers, tmp_path, save_layer, suffix):
    layer = labels_of(layers)
    path = tmp_path / f"lesions{suffix}"
    save_layer(layer, path)
    ((data, meta, kind),) = get_reader(str(path))(str(path))
    if kind == "labels":
        assert same_components(data, layer.data)
        assert len(np.unique(data)) - 1 == len(layer.features)
    else:
        assert kind == "shapes"
        assert len(data) == len(layer.features)
    if suffix != ".tif":
        assert sorted(meta["features"]["score"]) == sorted(layer.features["score"])


def test_a_table_of_very_many_lesions_opens_as_their_centres(tmp_path):
    drawn = np.zeros((100, 100), bool)
    drawn[::4, ::4] = True
    path = write_file(nf.Detections(*by_hand(drawn)), tmp_path / "many", "csv")
    ((data, _, kind),) = get_reader(path)(path)
    assert (kind, len(data)) == ("points", 625)


def by_hand(drawn):
    ran = Provenance(
        detector="d", detector_version="1", package_version="0", image_shape=drawn.shape
    )
    return ran, {"MA": drawn.astype(np.float32)}, {"MA": 0.5}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("points.csv", "index,axis-0,axis-1\n0,1.0,2.0\n"),
        ("data.json", '{"images": [], "annotations": []}'),
        ("places.geojson", '{"type": "FeatureCollection", "features": []}'),
    ],
)
def test_tables_and_json_of_others_are_left_to_others(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert get_reader(str(path)) is None


def test_the_sample_comes_with_the_masks_of_the_experts_and_its_credit():
    tuples = idrid()
    assert [kind for _, _, kind in tuples] == ["image"] + ["labels"] * 5
    assert all("CC-BY 4.0" in meta["metadata"]["credit"] for _, meta, _ in tuples)


def test_the_normal_sample_is_a_picture_alone():
    ((data, meta, _),) = normal()
    assert data.shape == (1411, 1411, 3)
    assert "CC0" in meta["metadata"]["credit"]


@pytest.mark.parametrize(
    ("writer", "suffix"),
    [
        ("write_csv_layer", ".csv"),
        ("write_coco_layer", ".json"),
        ("write_geojson_layer", ".geojson"),
        ("write_tiff_layer", ".tif"),
    ],
)
def test_napari_s_save_writes_the_layer_s_class(layers, found, tmp_path, writer, suffix):
    layer = labels_of(layers)
    data, meta, _ = layer.as_layer_data_tuple()
    path = tmp_path / f"lesions{suffix}"
    assert getattr(writers, writer)(str(path), data, meta) == [str(path)]
    count = len(layer.features)
    if suffix == ".csv":
        assert len(read_csv(path)) == count
    elif suffix == ".tif":
        assert tifffile.imread(path).max() == count
    else:
        content = json.loads(path.read_text())
        assert len(content["annotations" if suffix == ".json" else "features"]) == count


def test_a_table_has_its_provenance_beside_it(found, tmp_path):
    path = write_file(found, tmp_path / "lesions", "csv")
    assert path.endswith("lesions.csv")
    assert read_provenance(tmp_path / "lesions.provenance.json") == found.provenance


def test_what_is_written_is_what_the_layer_shows_edits_included(layers):
    layer = labels_of(layers)
    layer.data_setitem((np.array([1, 2]), np.array([1, 1])), 60_000)
    now = detections_from_layer(*layer.as_layer_data_tuple()[:2])
    (code,) = now.lesions
    np.testing.assert_array_equal(now.labels[code] > 0, layer.data > 0)
    assert now.provenance.edited == (code,)


def test_an_untouched_layer_is_not_called_edited(layers):
    assert (
        detections_from_layer(*labels_of(layers).as_layer_data_tuple()[:2]).provenance.edited == ()
    )


def test_labels_of_the_user_s_own_are_written_as_drawn_by_hand(tmp_path):
    drawn = np.zeros((70, 80), np.int32)
    drawn[4:9, 5:9] = 3
    data, meta, _ = Labels(drawn, name="my lesions").as_layer_data_tuple()
    writers.write_csv_layer(str(tmp_path / "a.csv"), data, meta)
    table = read_csv(tmp_path / "a.csv")
    assert list(table["area_px"]) == [20]
    assert list(table["lesion"]) == ["my lesions"]


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("suffix", [".csv", ".json", ".geojson"])
def test_points_are_refused_with_the_reason_whatever_numbers_they_have(
    tmp_path, monkeypatch, save_layer, kind, suffix
):
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", told.append)
    points = Points(np.array([[20, 40], [50, 70]], kind), name="MA")
    assert not save_layer(points, tmp_path / f"a{suffix}")
    assert "is a points layer" in told[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".json", ".geojson", ".tif"])
def test_shapes_of_the_user_s_own_are_refused_with_the_reason(
    tmp_path, monkeypatch, save_layer, suffix
):
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", told.append)
    square = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    shapes = Shapes([square], shape_type="rectangle", name="MA")
    assert not save_layer(shapes, tmp_path / f"a{suffix}")
    assert "carries no result" in told[0]
    assert not list(tmp_path.iterdir())


def test_labels_that_touch_are_as_many_lesions_in_every_file(tmp_path, save_layer):
    drawn = np.zeros((70, 80), np.int32)
    drawn[20:30, 40:50], drawn[20:30, 50:60], drawn[50:60, 40:50] = 1, 2, 2
    layer = Labels(drawn, name="MA")
    for suffix in (".csv", ".json", ".geojson", ".tif"):
        save_layer(layer, tmp_path / f"a{suffix}")
    assert read_csv(tmp_path / "a.csv")["area_px"].tolist() == [100, 100, 100]
    areas = [x["area"] for x in json.loads((tmp_path / "a.json").read_text())["annotations"]]
    assert areas == [100, 100, 100]
    assert len(json.loads((tmp_path / "a.geojson").read_text())["features"]) == 3
    assert np.bincount(tifffile.imread(tmp_path / "a.tif").ravel())[1:].tolist() == [100] * 3


def test_with_labels_keeps_the_other_classes_as_they_are(found):
    drawn = np.zeros(found.shape, np.uint16)
    drawn[50:60, 50:60] = 1
    now = apply_edited_labels(found.threshold(min_area=20), {"MA": drawn})
    np.testing.assert_array_equal(now.labels["MA"] > 0, drawn > 0)
    for code in ("HE", "EX"):
        expected = found.threshold(min_area=20).instances
        mine = now.instances[now.instances.lesion == code].reset_index(drop=True)
        expected = expected[expected.lesion == code].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine.drop(columns="id"), expected.drop(columns="id"))


def test_labels_of_another_size_are_refused(found):
    with pytest.raises(FundusError, match="shape"):
        apply_edited_labels(found, {"MA": np.zeros((3, 3), np.uint8)})


def test_a_stranger_s_manifest_lives_beside_ours(manifest):
    manager = PluginManager()
    manager.register(manifest)
    with DynamicPlugin("other", plugin_manager=manager):
        assert {"napari-fundus", "other"} <= {m.name for m in manager.iter_manifests()}
