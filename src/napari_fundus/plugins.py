"""The pluggy hook, the discovery of detectors, and the isolation of broken plugins."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any

import pluggy

from napari_fundus.detector import ENTRY_POINT_GROUP, Detector, DetectorOptions
from napari_fundus.errors import UnknownDetectorError

__all__ = ["Discovery", "PluginProblem", "discover", "find_detectors", "get_detector"]

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)


class DetectorHooks:
    """What a plugin may implement."""

    @hookspec
    def napari_fundus_detectors(self) -> list[type[Detector]]:  # type: ignore[empty-body]
        """Return the detector classes of this plugin."""


@dataclass(frozen=True)
class PluginProblem:
    """A plugin, or one detector of it, that cannot be used.

    Attributes
    ----------
    plugin
        Name of the entry point.
    distribution
        The installed package it comes from.
    reason
        What went wrong, in one line.
    """

    plugin: str
    distribution: str
    reason: str


@dataclass(frozen=True)
class Discovery:
    """What was found among the installed packages.

    Attributes
    ----------
    detectors
        Name to detector, built-in ones first, then in alphabetical order.
    sources
        Name of a detector to the distribution that it comes from.
    problems
        Plugins that were left out, with the reason.
    """

    detectors: Mapping[str, Detector]
    sources: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[PluginProblem, ...] = ()


def discover(entry_points: Iterable[metadata.EntryPoint] | None = None) -> Discovery:
    """Load every plugin of the group `napari_fundus`, each on its own.

    Pluggy's own loader stops at the first plugin that fails; here a broken plugin is listed with
    its reason and hides none of the others.

    Parameters
    ----------
    entry_points
        What to load; None for all installed ones.
    """
    if entry_points is None:
        entry_points = metadata.entry_points(group=ENTRY_POINT_GROUP)
    detectors: dict[str, Detector] = {}
    sources: dict[str, str] = {}
    problems: list[PluginProblem] = []
    for entry in sorted(set(entry_points), key=_built_in_first):
        distribution = entry.dist.name if entry.dist else "unknown"

        def report(reason: str, plugin: str = entry.name, source: str = distribution) -> None:
            problems.append(PluginProblem(plugin, source, " ".join(reason.split())))

        # The boundary to code of strangers, where anything may be raised, SystemExit included.
        try:
            offered = _call_hook(entry)
        except (Exception, SystemExit) as error:
            report(f"{type(error).__name__}: {error}")
            continue
        if not isinstance(offered, list | tuple):
            report(
                f"napari_fundus_detectors returned {type(offered).__name__}, not a list of "
                "detector classes."
            )
            continue
        for candidate in offered:
            try:
                detector = _accept(candidate)
            except (Exception, SystemExit) as error:
                report(f"{type(error).__name__}: {error}")
                continue
            if detector.name in detectors:
                report(
                    f"The name {detector.name!r} is taken by {sources[detector.name]}; that one "
                    "is kept."
                )
                continue
            detectors[detector.name] = detector
            sources[detector.name] = distribution
    return Discovery(detectors, sources, tuple(problems))


def _built_in_first(entry: metadata.EntryPoint) -> tuple[bool, str, str]:
    distribution = entry.dist.name if entry.dist else ""
    return distribution != "napari-fundus", distribution, entry.name


def _call_hook(entry: metadata.EntryPoint) -> Any:
    """Import one plugin and return what its hook gives."""
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(DetectorHooks)
    manager.register(entry.load(), name=entry.name)
    manager.check_pending()
    results = manager.hook.napari_fundus_detectors()
    if not results:
        raise TypeError(
            f"{entry.value} has no function napari_fundus_detectors marked with "
            "@napari_fundus.detector.hookimpl."
        )
    return results[0]


def _accept(candidate: Any) -> Detector:
    """Return an instance of a class that fulfils the contract, or raise TypeError."""
    if not (inspect.isclass(candidate) and issubclass(candidate, Detector)):
        raise TypeError(f"{candidate!r} is not a subclass of napari_fundus.detector.Detector.")
    for attribute in ("name", "title", "summary", "lesions"):
        if not getattr(candidate, attribute, None):
            raise TypeError(f"{candidate.__name__} states no {attribute}.")
    for attribute in ("name", "title", "summary", "version", "licence", "reference"):
        if not isinstance(getattr(candidate, attribute), str):
            raise TypeError(f"{candidate.__name__}.{attribute} is not text.")
    for attribute in ("lesions", "devices"):
        value = getattr(candidate, attribute)
        if not (isinstance(value, Collection) and not isinstance(value, str)):
            raise TypeError(f"{candidate.__name__}.{attribute} is not a collection of names.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", candidate.name):
        raise TypeError(
            f"{candidate.__name__}.name = {candidate.name!r}: use lower-case letters, digits and "
            "underscores."
        )
    options = candidate.Options
    if not (inspect.isclass(options) and issubclass(options, DetectorOptions)):
        raise TypeError(f"{candidate.__name__}.Options is not a subclass of DetectorOptions.")
    options().model_dump(mode="json")  # every field needs a default that JSON can hold,
    options.model_json_schema()  # and a type that a form and a help text can be made of
    return candidate()


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
