"""napari's preferences page and the file that all read say the same, from the first widget on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import napari.settings
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QWidget

from napari_fundus.gui.controls import preferences as page
from napari_fundus.gui.controls.preferences import PLUGIN, SECTIONS, sync_preferences
from napari_fundus.gui.layers.build import label_colormap
from napari_fundus.runtime.preferences import Preferences, preferences, save_preferences
from napari_fundus.samples import normal_image_path

DOORS = {
    command.id.partition(".")[2]: command.python_name
    for command in PluginManifest.from_file(
        Path(__file__).parents[2] / "napari.yaml"
    ).contributions.commands
}
"""All that napari can call of this package, from the manifest."""


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """A page and a file of one's own."""
    monkeypatch.setenv("NAPARI_FUNDUS_PREFERENCES", str(tmp_path / "preferences.json"))
    monkeypatch.setattr(napari.settings, "_PLUGIN_SETTINGS", {})
    monkeypatch.setattr(page, "_synced_settings", [])
    return get_plugin_settings(PLUGIN, path_dir=tmp_path)


def test_the_manifest_names_every_preference_with_its_default():
    told = PluginManager.instance().get_manifest(PLUGIN).contributions.configurations
    assert {name: tuple(section.properties) for name, section in told.items()} == SECTIONS
    names = {
        name: item.default for section in told.values() for name, item in section.properties.items()
    }
    assert names == Preferences().model_dump()


def test_every_choice_of_the_manifest_is_a_preference():
    told = PluginManager.instance().get_manifest(PLUGIN).contributions.configurations
    for name, item in told["computing"].properties.items():
        for value in item.enum or ():
            assert getattr(Preferences(**{name: value}), name) == value


def test_what_is_changed_on_the_page_counts_everywhere_at_once(settings):
    sync_preferences()
    settings.computing.memory_gb = 3.5
    settings.computing.device = "cpu"
    settings.colours.colour_ma = "#ff0000"
    assert preferences() == Preferences(memory_gb=3.5, device="cpu", colour_ma="#ff0000")
    assert label_colormap("MA").colors[1].tolist() == [1, 0, 0, 1]


def test_what_the_page_had_before_the_first_widget_counts(settings):
    settings.computing.precision = "float32"
    save_preferences(device="cpu")
    sync_preferences()
    assert preferences() == Preferences(precision="float32", device="cpu")
    assert settings.computing.device == "cpu"


def test_a_variable_of_the_environment_is_not_written_onto_the_page(settings, monkeypatch):
    monkeypatch.setenv("NAPARI_FUNDUS_DEVICE", "cpu")
    sync_preferences()
    assert settings.computing.device == "auto"


def test_what_does_not_fit_is_told_and_not_kept(settings, monkeypatch):
    told = []
    monkeypatch.setattr(page, "show_warning", told.append)
    sync_preferences()
    settings.colours.colour_he = "pink"
    assert "colour_he" in told[0]
    assert preferences() == Preferences()


def test_changes_are_followed_once_however_many_widgets_there_are(settings, monkeypatch):
    sync_preferences()
    sync_preferences()
    saved = []
    monkeypatch.setattr(page, "save_preferences", lambda **changes: saved.append(changes))
    settings.computing.cache = "/big"
    assert saved == [{"cache": "/big"}]


@pytest.mark.parametrize("door", DOORS)
def test_whichever_door_is_opened_first_changes_count_from_then_on(settings, door, tmp_path, qtbot):
    module, _, name = DOORS[door].partition(":")
    function = getattr(import_module(module), name)
    if isinstance(function, type) and issubclass(function, QWidget):
        qtbot.addWidget(function(ViewerModel()))
    elif door.startswith("write"):
        function(str(tmp_path / "MA.csv"), np.zeros((64, 64), int), {"name": "MA"})
    elif door == "read":
        function(str(normal_image_path()))
    elif door == "refuse_points":
        assert function(str(tmp_path / "MA.csv"), np.zeros((1, 2)), {"name": "MA"}) == []
    else:
        function()
    settings.colours.colour_ma = "#ff0000"
    assert preferences().colour_ma == "#ff0000"
