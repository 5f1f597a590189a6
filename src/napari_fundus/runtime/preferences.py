"""What a person prefers wherever nothing else is said: device, precision, folders, colours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus.errors import OptionsError, explain_validation
from napari_fundus.runtime.files import read_json, write_json

ENV_PREFIX = "NAPARI_FUNDUS_"
"""What the environment variables begin with: ``NAPARI_FUNDUS_DEVICE`` and so on."""


class Preferences(BaseModel):
    """The choices of one person on one machine; each has an effect wherever nothing else is said.

    The manifest of the napari plugin has the same names, defaults and bounds; a test says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Where ``"auto"`` computes: ``"auto"`` (the fastest), ``"cpu"``, ``"cuda"``, ``"cuda:N"``,
    ``"mps"``. A detector that cannot use it runs on what it can."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of networks, in detection and training; ``"auto"`` is float32 on every CPU."""
    cache: str = ""
    """Folder of downloads and kept maps; empty for the system's own place."""
    memory_gb: float = Field(0.0, ge=0, le=10_000)
    """Most memory in GiB that a network takes for one batch or tile; 0 sets no limit."""
    colour_ma: str = Field("#00e5ff", pattern=r"^#[0-9a-fA-F]{6}$")
    colour_he: str = Field("#ff4fd8", pattern=r"^#[0-9a-fA-F]{6}$")
    colour_ex: str = Field("#ffe119", pattern=r"^#[0-9a-fA-F]{6}$")
    colour_se: str = Field("#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    colour_od: str = Field("#4caf50", pattern=r"^#[0-9a-fA-F]{6}$")


_NAMES = tuple(Preferences.model_fields)


def preferences_path() -> Path:
    """Return the file of preferences, which need not exist.

    The environment variable ``NAPARI_FUNDUS_PREFERENCES`` names another one.
    """
    if chosen := os.environ.get(f"{ENV_PREFIX}PREFERENCES"):
        return Path(chosen)
    return _default_path()


@lru_cache
def _default_path() -> Path:
    from platformdirs import user_config_path

    return user_config_path("napari-fundus", appauthor=False) / "preferences.json"


def preferences(*, environment: bool = True) -> Preferences:
    """Return what is preferred now: environment variables, then the file, then the defaults.

    Quick enough to be asked each time: the file is read again only when it has changed.

    Parameters
    ----------
    environment
        Whether variables such as ``NAPARI_FUNDUS_DEVICE`` count; else the file alone does.

    Raises
    ------
    OptionsError
        A value does not fit; the message names where it stands and what is allowed.
    """
    path = preferences_path()
    try:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
    except OSError:
        stamp = None
    given = ((name, os.environ.get(f"{ENV_PREFIX}{name.upper()}")) for name in _NAMES)
    named = tuple((name, value) for name, value in given if value and environment)
    return _read(path, stamp, named)


@lru_cache(maxsize=4)
def _read(
    path: Path, stamp: tuple[int, int] | None, environment: tuple[tuple[str, str], ...]
) -> Preferences:
    stored = _stored(path) if stamp is not None else {}
    chosen = _checked(stored, str(path))
    if not environment:
        return chosen
    return _checked({**chosen.model_dump(), **dict(environment)}, "The environment")


def _stored(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise OptionsError(f"{path} cannot be read: {error}. Mend it, or delete it.") from error
    if not isinstance(content, dict):
        raise OptionsError(f"{path} holds no preferences. Mend it, or delete it.")
    return content


def _checked(values: Mapping[str, Any], where: str) -> Preferences:
    try:
        return Preferences.model_validate(values)
    except ValidationError as error:
        raise OptionsError(
            f"{where}: {explain_validation(error)} Preferences are {', '.join(_NAMES)}."
        ) from None


def save_preferences(**changes: Any) -> Preferences:
    """Change some preferences in the file, and leave the others as they are.

    Only what differs from the defaults is written.

    Raises
    ------
    OptionsError
        A name is unknown or a value does not fit; nothing was written.

    Examples
    --------
    ``save_preferences(device="cpu", colour_ma="#ff0000")``
    """
    path = preferences_path()
    stored = _stored(path) if path.exists() else {}
    chosen = _checked({**stored, **changes}, "Preferences")
    wanted = chosen.model_dump(exclude_defaults=True)
    if wanted != stored:
        write_json(path, wanted, overwrite=True)
    return chosen


def cache_folder(name: Literal["models", "maps"], *, default: bool = True) -> Path | None:
    """Return the folder in which downloads (``"models"``) or maps are kept.

    Parameters
    ----------
    name
        Which.
    default
        Whether the system's own place is returned where none is preferred; else None is.
    """
    chosen = preferences().cache
    if chosen:
        return Path(chosen).expanduser() / name
    if not default:
        return None
    from platformdirs import user_cache_path

    return user_cache_path("napari-fundus", appauthor=False) / name


def preferred_colour(code: str) -> str | None:
    """Return the hex colour that a person chose for a class; None where it is the usual one."""
    name = f"colour_{code.lower()}"
    field = Preferences.model_fields.get(name)
    if field is None:
        return None
    chosen: str = getattr(preferences(), name)
    return None if chosen == field.default else chosen
