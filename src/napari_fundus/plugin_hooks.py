"""The hooks that a plugin may implement, and the loading of plugins, each one isolated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Generic, TypeVar

import pluggy

from napari_fundus.runtime.text import describe_error

ENTRY_POINT_GROUP = "napari_fundus"
"""Entry-point group, and pluggy project name, under which plugins are found."""

hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)
"""Mark the functions of `PluginHooks` that a plugin implements with this."""

_hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
OWN_DISTRIBUTION = "napari-fundus"
"""The distribution of the built-in contributions."""

T = TypeVar("T")


class PluginHooks:
    """The functions that the module of an entry point may implement: one of them at least."""

    @_hookspec
    def napari_fundus_detectors(self) -> list[type[Any]]:  # type: ignore[empty-body]
        """Return the detectors of this plugin: subclasses of `napari_fundus.detector.Detector`."""

    @_hookspec
    def napari_fundus_datasets(self) -> list[type[Any]]:  # type: ignore[empty-body]
        """Return the readers of data sets: subclasses of `napari_fundus.datasets.Dataset`."""

    @_hookspec
    def napari_fundus_protocols(self) -> list[type[Any]]:  # type: ignore[empty-body]
        """Return protocols: subclasses of `napari_fundus.evaluation.EvaluationProtocol`."""


@dataclass(frozen=True)
class PluginProblem:
    """A plugin, or one class of it, that cannot be used.

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

    def __str__(self) -> str:
        return f"Left out: plugin {self.plugin!r} of {self.distribution}: {self.reason}"


@dataclass(frozen=True)
class Contributions(Generic[T]):
    """What all plugins together contribute to one hook.

    Attributes
    ----------
    items
        Name to contribution, built-in ones first, then in the order of their distributions.
    sources
        Name of a contribution to the distribution that it comes from.
    problems
        What was left out, with the reason.
    """

    items: Mapping[str, T]
    sources: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[PluginProblem, ...] = ()


def collect(
    hook: str,
    accept: Callable[[Any], T],
    *,
    built_in: Any = None,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Contributions[T]:
    """Call one hook of every installed plugin, each on its own.

    Pluggy's own loader stops at the first plugin that fails; here a broken plugin is listed with
    its reason and hides none of the others. The first of two contributions with one name is kept.

    Parameters
    ----------
    hook
        Name of a function of `PluginHooks`.
    accept
        Is called with each object that a plugin returns; returns the contribution, which has a
        `name`, or raises where the object does not fulfil the contract.
    built_in
        Module or object with the package's own implementation, where no entry point names it.
    entry_points
        What to load; None for all installed ones.
    """
    problems: list[PluginProblem] = []
    if entry_points is None:
        entry_points, problems = _installed_entry_points()
    plugins = [
        (entry.dist.name if entry.dist else "unknown", entry.name, entry.load)
        for entry in sorted(set(entry_points), key=_built_in_first)
    ]
    if built_in is not None:
        others = [plugin for plugin in plugins if plugin[0] != OWN_DISTRIBUTION]
        plugins = [(OWN_DISTRIBUTION, hook, lambda: built_in), *others]
    items: dict[str, T] = {}
    sources: dict[str, str] = {}
    for distribution, plugin, load in plugins:

        def report(reason: str, plugin: str = plugin, distribution: str = distribution) -> None:
            problems.append(PluginProblem(plugin, distribution, " ".join(reason.split())))

        # The boundary to code of strangers, where anything may be raised, SystemExit included.
        try:
            offered = _call_hook(hook, load(), plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            report(_describe(error))
            continue
        for candidate in offered:
            try:
                item: Any = accept(candidate)
                name = str(item.name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                report(_describe(error))
                continue
            if name in items:
                report(f"The name {name!r} is taken by {sources[name]}; that one is kept.")
                continue
            items[name], sources[name] = item, distribution
    return Contributions(items, sources, tuple(problems))


def _installed_entry_points() -> tuple[list[metadata.EntryPoint], list[PluginProblem]]:
    """Return the entry points of all distributions, and those whose list of them can't be read."""
    # One list that is not UTF-8, or none at all, would hide those of all others.
    with suppress(Exception):
        return list(metadata.entry_points(group=ENTRY_POINT_GROUP)), []
    found: dict[str, list[metadata.EntryPoint]] = {}
    problems: list[PluginProblem] = []
    for distribution in metadata.distributions():
        name = "unknown"
        try:
            name = str(distribution.metadata["Name"])
            own = [e for e in distribution.entry_points if e.group == ENTRY_POINT_GROUP]
        except Exception as error:
            problems.append(PluginProblem("entry_points.txt", name, _describe(error)))
        else:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), own)
    return [entry for own in found.values() for entry in own], problems


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {describe_error(error)}"


def check_class(
    candidate: Any,
    base: type,
    *,
    required: Iterable[str] = (),
    text: Iterable[str] = (),
    signs: str = "_",
) -> None:
    """Check what a plugin returned against the contract that all its kinds of class share.

    Parameters
    ----------
    candidate
        The object.
    base
        The class that it must be a subclass of.
    required
        Attributes that must not be empty, beside `name`.
    text
        Attributes that must be strings, beside `name`.
    signs
        What a name may hold beside lower-case letters and digits.

    Raises
    ------
    TypeError
        It is no such class, or one of its attributes is not as it must be.
    """
    if not (inspect.isclass(candidate) and issubclass(candidate, base)):
        raise TypeError(f"{candidate!r} is not a subclass of {base.__module__}.{base.__name__}.")
    for attribute in ("name", *required):
        if not getattr(candidate, attribute, None):
            raise TypeError(f"{candidate.__name__} states no {attribute}.")
    for attribute in ("name", *text):
        if not isinstance(getattr(candidate, attribute), str):
            raise TypeError(f"{candidate.__name__}.{attribute} is not text.")
    name: str = candidate.name  # type: ignore[attr-defined]
    if not re.fullmatch(f"[a-z][a-z0-9{re.escape(signs)}]*", name):
        raise TypeError(
            f"{candidate.__name__}.name = {name!r}: use lower-case letters, digits and {signs}, "
            "a letter first."
        )
    if missing := ", ".join(sorted(getattr(candidate, "__abstractmethods__", ()))):
        raise TypeError(f"{candidate.__name__} is abstract: it does not define {missing}.")


def _built_in_first(entry: metadata.EntryPoint) -> tuple[bool, str, str]:
    distribution = entry.dist.name if entry.dist else ""
    return distribution != OWN_DISTRIBUTION, distribution, entry.name


def _call_hook(hook: str, module: Any, name: str) -> list[Any] | tuple[Any, ...]:
    """Return what one plugin's implementation of `hook` returns; nothing where it has another."""
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(PluginHooks)
    manager.register(module, name=name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        known = ", ".join(key for key in vars(PluginHooks) if key.startswith("napari_fundus_"))
        raise TypeError(
            f"{getattr(module, '__name__', name)} has no function {hook} marked with "
            f"@napari_fundus.plugin_hooks.hookimpl, nor any other of {known}."
        )
    results = getattr(manager.hook, hook)()
    if not results:
        return []
    if not isinstance(results[0], list | tuple):
        raise TypeError(f"{hook} returned {type(results[0]).__name__}, not a list of classes.")
    return results[0]
