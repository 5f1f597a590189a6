"""The detectors of all plugins, built-in ones first: discovery and look-up by name."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any

from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import UnknownDetectorError
from napari_fundus.plugin_hooks import PluginProblem, check_class, collect
from napari_fundus.runtime.text import check_class_codes

__all__ = ["Discovery", "PluginProblem", "discover", "find_detectors", "get_detector"]


@dataclass(frozen=True)
class Discovery:
    """What was found among the installed packages.

    Attributes
    ----------
    detectors
        Name to detector, built-in ones first, then in the order of their distributions.
    sources
        Name of a detector to the distribution that it comes from.
    problems
        Plugins that were left out, with the reason.
    """

    detectors: Mapping[str, Detector]
    sources: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[PluginProblem, ...] = ()


def discover(entry_points: Iterable[metadata.EntryPoint] | None = None) -> Discovery:
    """Load the detectors of every plugin; see `napari_fundus.plugin_hooks.collect`."""
    found = collect("napari_fundus_detectors", _accept, entry_points=entry_points)
    return Discovery(found.items, found.sources, found.problems)


def _accept(candidate: Any) -> Detector:
    """Return an instance of a class that fulfils the contract, or raise TypeError."""
    check_class(
        candidate,
        Detector,
        required=("title", "summary", "lesions"),
        text=("title", "summary", "version", "licence", "reference"),
    )
    for attribute in ("lesions", "devices"):
        value = getattr(candidate, attribute)
        if not (isinstance(value, Collection) and not isinstance(value, str)):
            raise TypeError(f"{candidate.__name__}.{attribute} is not a collection of names.")
    check_class_codes(candidate.lesions)
    if not all(isinstance(device, str) for device in candidate.devices):
        raise TypeError(f"{candidate.__name__}.devices is not a collection of names.")
    options = candidate.Options
    if not (inspect.isclass(options) and issubclass(options, DetectorOptions)):
        raise TypeError(f"{candidate.__name__}.Options is not a subclass of DetectorOptions.")
    options().model_dump(mode="json")  # every field needs a default that JSON can hold,
    options.model_json_schema()  # and a type that a form and a help text can be made of
    detector: Detector = candidate()
    return detector


@lru_cache(maxsize=1)
def find_detectors() -> Discovery:
    """Return all installed detectors; looked for once a process."""
    return discover()


def get_detector(name: str) -> Detector:
    """Return the detector `name`.

    Raises
    ------
    UnknownDetectorError
        There is none; the message lists what there is, and why a plugin of that name is missing.
    """
    found = find_detectors()
    if name in found.detectors:
        return found.detectors[name]
    broken = "".join(
        f" The plugin {p.plugin!r} could not be used: {p.reason}" for p in found.problems
    )
    raise UnknownDetectorError(
        f"No detector is called {name!r}. Installed: {', '.join(found.detectors)}.{broken}"
    )
