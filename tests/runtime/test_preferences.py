"""Every preference has an effect: wherever nothing else is said, what a person chose counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_fundus.checkpoints.zoo import download_folder
from napari_fundus.errors import DeviceError, OptionsError
from napari_fundus.inference.memory import bytes_per_pixel, fit_tile_size
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.inference.voting import run_voting
from napari_fundus.lesions import _INFO, describe
from napari_fundus.runtime import devices
from napari_fundus.runtime.devices import CPU, Device, choose_device, preferred_precision
from napari_fundus.runtime.preferences import (
    Preferences,
    cache_folder,
    preferences,
    preferences_path,
    save_preferences,
)


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one's own, and no environment."""
    for name in Preferences.model_fields:
        monkeypatch.delenv(f"NAPARI_FUNDUS_{name.upper()}", raising=False)
    file = tmp_path / "preferences.json"
    monkeypatch.setenv("NAPARI_FUNDUS_PREFERENCES", str(file))
    return file


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = devices.DeviceStatus((Device("cuda:0", "Big"), CPU))
    monkeypatch.setattr(devices, "available_devices", lambda: found)


def test_without_a_file_all_is_as_the_defaults_say(path: Path) -> None:
    assert preferences() == Preferences()
    assert preferences_path() == path


def test_what_is_saved_is_preferred_at_once_and_only_changes_are_written(path: Path) -> None:
    save_preferences(device="cpu")
    save_preferences(memory_gb=2)
    assert preferences() == Preferences(device="cpu", memory_gb=2)
    save_preferences(device="auto")
    assert json.loads(path.read_text()) == {"memory_gb": 2}


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save_preferences(device="cpu", precision="float32")
    monkeypatch.setenv("NAPARI_FUNDUS_DEVICE", "cuda:1")
    monkeypatch.setenv("NAPARI_FUNDUS_MEMORY_GB", "1.5")
    assert preferences() == Preferences(device="cuda:1", precision="float32", memory_gb=1.5)


@pytest.mark.parametrize(
    "wrong", [{"device": "toaster"}, {"memory_gb": -1}, {"colour_ma": "red"}, {"sound": "loud"}]
)
def test_what_does_not_fit_is_refused_and_nothing_written(path: Path, wrong: dict) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        save_preferences(**wrong)
    assert not path.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"precision": "half"}'])
def test_a_broken_file_is_named(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(OptionsError, match=path.name):
        preferences()


@pytest.mark.usefixtures("two_devices")
def test_the_preferred_device_stands_for_auto_where_a_detector_can_use_it() -> None:
    both = ("cpu", "cuda")
    assert choose_device("auto", supported=both).name == "cuda:0"
    save_preferences(device="cpu")
    assert choose_device("auto", supported=both) is CPU
    assert choose_device("cuda", supported=both).name == "cuda:0"
    save_preferences(device="cuda")
    assert choose_device("auto", supported=("cpu",)) is CPU
    save_preferences(device="cuda:3")
    with pytest.raises(DeviceError, match="preferred device"):
        choose_device("auto", supported=both)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_preferred_precision_is_taken(precision) -> None:
    save_preferences(precision=precision)
    assert preferred_precision(CPU) == precision
    tiled = run_tiles(
        small_network(), np.zeros((1, 64, 64), np.float32), outputs=1, tile=64, halo=2, multiple=2
    )
    assert tiled.precision == precision


def test_downloads_and_maps_go_to_the_preferred_folder(tmp_path: Path) -> None:
    assert cache_folder("maps", default=False) is None
    save_preferences(cache=str(tmp_path / "big-disk"))
    assert download_folder() == tmp_path / "big-disk" / "models"
    assert cache_folder("maps") == tmp_path / "big-disk" / "maps"


def test_colours_are_those_preferred(path: Path) -> None:
    for code in ("MA", "HE", "EX", "SE", "OD"):
        assert getattr(Preferences(), f"colour_{code.lower()}") == _INFO[code].colour
    save_preferences(colour_he="#123456")
    assert describe("HE").colour == "#123456"
    assert describe("MA") is _INFO["MA"]
    assert describe("XX").colour == "#c0c0c0"


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))


def test_bytes_are_those_of_all_layers_outputs() -> None:
    # float32: the input, 8 planes, 8 planes, 1 plane.
    assert bytes_per_pixel(small_network(), 1, 16) == 4 * (1 + 8 + 8 + 1)


def test_what_is_done_in_place_takes_no_bytes() -> None:
    network = small_network()
    network[1] = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    assert bytes_per_pixel(network, 1, 16) == 4 * (1 + 8 + 1)


def test_a_tile_within_the_limit_is_the_largest() -> None:
    side = fit_tile_size(100 * 72**2, 100, tile=1024, halo=4, multiple=8)
    assert side == 64
    assert fit_tile_size(10**12, 100, tile=1024, halo=4, multiple=8) == 1024
    assert fit_tile_size(1, 100, tile=1024, halo=4, multiple=8) == 8


def test_a_tile_is_not_smaller_than_its_halo_and_no_limit_where_the_picture_fits() -> None:
    given = {"tile": 1024, "halo": 100, "multiple": 32}
    assert fit_tile_size(100 * 300**2, 100, **given) == 128
    assert fit_tile_size(100 * 300**2, 100, **given, shape=(300, 301)) == 128
    assert fit_tile_size(1, 100, **given, shape=(250, 250)) == 1024, "the smallest tile sees it all"
    assert fit_tile_size(100 * 300**2, 100, **given, shape=(300, 300)) == 1024


def test_less_memory_makes_smaller_tiles_of_the_same_maps() -> None:
    picture = np.random.default_rng(0).random((1, 160, 160), np.float32)
    network = small_network()
    wanted = {"outputs": 1, "tile": 160, "halo": 2, "multiple": 2, "precision": "float32"}
    free = run_tiles(network, picture, **wanted)
    save_preferences(memory_gb=72 * 60**2 / 2**30)
    bound = run_tiles(network, picture, **wanted)
    assert (free.tile, bound.tile) == (160, 56)
    assert bound.tiles == 9
    np.testing.assert_allclose(bound.maps, free.maps, atol=1e-6)


def test_less_memory_makes_smaller_batches_of_the_same_votes() -> None:
    picture = np.random.default_rng(0).random((1, 40, 40), np.float32)
    network = nn.Sequential(small_network(), nn.Sigmoid())
    wanted = {"patch": 8, "stride": 4, "precision": "float32"}
    free = run_voting(network, picture, **wanted)
    threads = torch.get_num_threads()
    save_preferences(memory_gb=threads * 5 * 76 * 8**2 / 2**30)
    bound = run_voting(network, picture, **wanted)
    assert bound.batch == 5 < free.batch
    np.testing.assert_allclose(bound.probability, free.probability, atol=1e-6)


def test_a_file_of_nothing_but_nesting_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "preferences.json"
    path.write_text('{"device":' * 50_000)
    monkeypatch.setenv("NAPARI_FUNDUS_PREFERENCES", str(path))
    with pytest.raises(OptionsError, match="nested too deeply"):
        preferences()
