"""Keeps napari's preferences page of this plugin and the file of preferences the same."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings
from napari.utils.notifications import show_warning

from napari_fundus.errors import OptionsError
from napari_fundus.runtime.preferences import Preferences, preferences, save_preferences

PLUGIN = "napari-fundus"

SECTIONS: dict[str, tuple[str, ...]] = {
    "computing": ("device", "precision", "memory_gb", "cache"),
    "colours": ("colour_ma", "colour_he", "colour_ex", "colour_se", "colour_od"),
}
"""Pages of the manifest's ``configurations``, and the preferences on each."""

_synced_settings: list[Any] = []


def sync_preferences() -> None:
    """Synchronize napari's page with the file of preferences.

    Every door that the manifest names calls this: widgets, readers, writers and sample data, since
    any of them may be the first. The first call connects. napari saves its page in a file of its
    own that the command line does not read, so changes there are written to our file too. At the
    start, values of the page that are not the default are kept; the others are read from the file.
    """
    settings = get_plugin_settings().get(PLUGIN)
    if settings is None or any(settings is synced for synced in _synced_settings):
        return
    _synced_settings[:] = [settings]
    try:
        _merge_preferences(settings)
    except (OptionsError, OSError) as error:
        show_warning(str(error))
    for section, names in SECTIONS.items():
        page = getattr(settings, section)
        for name in names:
            getattr(page.events, name).connect(
                lambda event, name=name: _save(**{name: event.value})
            )


def _merge_preferences(settings: Any) -> None:
    """Save the page's values that are not the default; set the others from the file."""
    defaults = Preferences()
    changed = {
        name: value
        for section, names in SECTIONS.items()
        for name in names
        if (value := getattr(getattr(settings, section), name)) != getattr(defaults, name)
    }
    saved = save_preferences(**changed) if changed else preferences(environment=False)
    for section, names in SECTIONS.items():
        page = getattr(settings, section)
        for name in names:
            if getattr(page, name) != getattr(saved, name):
                setattr(page, name, getattr(saved, name))


def _save(**changes: Any) -> None:
    try:
        save_preferences(**changes)
    except (OptionsError, OSError) as error:
        show_warning(str(error))
