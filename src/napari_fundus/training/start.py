"""What every method's training begins with: settings checked, weights to start from loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from napari_fundus.checkpoints import Checkpoint, load_checkpoint
from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.errors import OptionsError
from napari_fundus.training.settings import TrainingSettings, split_settings

__all__ = ["begin", "opened", "title_of"]

Own = TypeVar("Own", bound=BaseModel)


def begin(
    settings: Mapping[str, Any] | None,
    model: type[Own],
    *,
    detector: str,
    checkpoint: str | Path | None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[TrainingSettings, Own, Checkpoint | None]:
    """Return the loop's settings, the method's options, and the weights to start from.

    Parameters
    ----------
    settings
        Fields of `TrainingSettings` and of `model` that differ from their defaults.
    model
        The method's own options.
    detector
        Name of the method, which the weights must be of.
    checkpoint
        Weights to start from, by name or path.
    defaults
        Settings that serve the method better than the loop's own defaults.

    Raises
    ------
    OptionsError
        A setting is unknown or out of bounds, or a fine-tuning scheme has nothing to start from.
    CheckpointError
        The weights cannot be used.
    """
    shared, options = split_settings({**(defaults or {}), **(settings or {})}, model)
    initial = load_checkpoint(checkpoint, detector=detector) if checkpoint else None
    if initial is None and shared.scheme != "full":
        raise OptionsError(
            f"The scheme {shared.scheme!r} keeps weights as they are: name those to start from "
            "as the checkpoint."
        )
    return shared, options, initial


def opened(data: str | Path | Dataset) -> Dataset:
    """Return a data set, opened if only its folder is given."""
    return data if isinstance(data, Dataset) else open_dataset(data)


def title_of(name: str, output: str | Path) -> str:
    """Return the name of the new weights: the one given, else that of the folder."""
    return name or Path(output).resolve().name
