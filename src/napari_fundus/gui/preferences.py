"""napari's preferences page of this plugin, and the file that everything else reads."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings

from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.thread_job import show_error
from napari_fundus.runtime.preferences import Preferences, preferences, save_preferences

__all__ = ["PLUGIN", "SECTIONS", "sync_preferences"]

PLUGIN = "napari-fundus"

SECTIONS: dict[str, tuple[str, ...]] = {
    "computing": ("device", "precision", "memory_gb", "cache"),
    "colours": ("colour_ma", "colour_he", "colour_ex", "colour_se", "colour_od"),
}
"""Pages of the manifest's ``configurations``, and the preferences that stand on each."""

_synced_settings: list[Any] = []


def sync_preferences() -> None:
    """Keep napari's page and the file of preferences the same from now on.

    Every widget calls it; the first call connects. napari keeps its page in a file of its own,
    which no command line could find: what is changed there goes into the file that all read. At
    the start, what the page has other than by default counts; the rest is as the file says.
    """
    settings = get_plugin_settings().get(PLUGIN)
    if settings is None or any(settings is known for known in _synced_settings):
        return
    _synced_settings[:] = [settings]
    try:
        _merge_preferences(settings)
    except OptionsError as error:
        show_error(error)
    for section, names in SECTIONS.items():
        page = getattr(settings, section)
        for name in names:
            getattr(page.events, name).connect(
                lambda event, name=name: _save(**{name: event.value})
            )


def _merge_preferences(settings: Any) -> None:
    """Write into the file what the page has, and onto the page what only the file has."""
    usual = Preferences()
    changed = {
        name: value
        for section, names in SECTIONS.items()
        for name in names
        if (value := getattr(getattr(settings, section), name)) != getattr(usual, name)
    }
    now = save_preferences(**changed) if changed else preferences(environment=False)
    for section, names in SECTIONS.items():
        page = getattr(settings, section)
        for name in names:
            if getattr(page, name) != getattr(now, name):
                setattr(page, name, getattr(now, name))


def _save(**changes: Any) -> None:
    try:
        save_preferences(**changes)
    except (OptionsError, OSError) as error:
        show_error(error)
