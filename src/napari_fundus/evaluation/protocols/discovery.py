"""The protocols of all plugins, built-in ones first: discovery and look-up by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from typing import Any

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.protocols.aupr import AuprProtocol
from napari_fundus.evaluation.protocols.base import EvaluationProtocol
from napari_fundus.evaluation.protocols.classification import ClassificationProtocol
from napari_fundus.evaluation.protocols.froc import FrocProtocol
from napari_fundus.evaluation.protocols.image import ImageProtocol
from napari_fundus.evaluation.protocols.instances import InstancesProtocol
from napari_fundus.evaluation.protocols.localization import LocalizationProtocol
from napari_fundus.evaluation.protocols.overlap import OverlapProtocol
from napari_fundus.plugin_hooks import (
    OWN_DISTRIBUTION,
    Contributions,
    check_class,
    collect,
    hookimpl,
)

DEFAULT_PROTOCOLS = ("aupr", "froc", "overlap")
"""Names of the protocols of a report for which none is named."""


@hookimpl
def napari_fundus_protocols() -> list[type[EvaluationProtocol]]:
    """Return the protocols of this package."""
    return [
        AuprProtocol,
        FrocProtocol,
        OverlapProtocol,
        InstancesProtocol,
        ImageProtocol,
        ClassificationProtocol,
        LocalizationProtocol,
    ]


def discover_protocols(
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Contributions[type[EvaluationProtocol]]:
    """Load the protocols of every plugin; see `napari_fundus.plugin_hooks.collect`."""
    return collect(
        "napari_fundus_protocols",
        _accept,
        built_in=sys.modules[__name__],
        entry_points=entry_points,
    )


def _accept(candidate: Any) -> type[EvaluationProtocol]:
    """Return a class that fulfils the contract, or raise TypeError."""
    text = ("title", "method")
    check_class(candidate, EvaluationProtocol, required=text, text=text)
    protocol: type[EvaluationProtocol] = candidate
    return protocol


@lru_cache(maxsize=1)
def find_protocols() -> Contributions[type[EvaluationProtocol]]:
    """Return the protocols of all installed plugins, and the problems; cached."""
    return discover_protocols()


def plugin_protocols() -> tuple[str, ...]:
    """Return the names of the protocols that plugins contribute."""
    return tuple(name for name, by in find_protocols().sources.items() if by != OWN_DISTRIBUTION)


def get_protocol(name: str) -> type[EvaluationProtocol]:
    """Return the protocol `name`.

    Raises
    ------
    OptionsError
        There is none; the message lists those that there are, and the plugins left out.
    """
    found = find_protocols()
    if name in found.items:
        return found.items[name]
    problems = "".join(f" {problem}" for problem in found.problems)
    raise OptionsError(
        f"No protocol is called {name!r}; there are {', '.join(found.items)}.{problems}"
    )
