"""The events of a training as lines of JSON, so that it can run in a process of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from napari_fundus import errors
from napari_fundus.errors import FundusError, TrainingError
from napari_fundus.runtime.files import atomic_write, check_is_file
from napari_fundus.runtime.progress import Progress
from napari_fundus.training.loop.events import (
    CheckpointSaved,
    EpochEnd,
    Finished,
    Patches,
    Preview,
    Started,
    Step,
    TrainingEvent,
)

PATCHES_FILE = "patches.npz"
"""Where the patches lie, in the folder of the run."""


@dataclass(frozen=True)
class Failure:
    """The training ended with an error.

    Attributes
    ----------
    kind
        Name of its class.
    message
        What it says.
    """

    kind: str
    message: str

    @classmethod
    def from_exception(cls, error: Exception) -> Failure:
        """Return the failure of `error`; the message names the class of one that is not ours."""
        if isinstance(error, FundusError):
            return cls(type(error).__name__, str(error))
        return cls(TrainingError.__name__, f"{type(error).__name__}: {error}")

    def to_exception(self) -> FundusError:
        """Return the exception; one of an unknown class becomes a `TrainingError`."""
        found = getattr(errors, self.kind, None) if self.kind in errors.__all__ else None
        kind = cast("type[FundusError]", found or TrainingError)
        return kind(self.message)


Message = TrainingEvent | Progress | Failure
"""A message from the process of a training."""

_DATACLASS_MESSAGES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Started, Step, EpochEnd, CheckpointSaved, Finished, Progress, Failure)
}


def encode_message(message: Message, folder: Path) -> str:
    """Return one line of JSON, without its end.

    Parameters
    ----------
    message
        An event, or how far the training is, or why it ended.
    folder
        Of the run: pictures are written beside it as ``preview-0001.npz`` and ``patches.npz``. Of
        the previews the last two are kept.
    """
    name = type(message).__name__
    if isinstance(message, Preview):
        file = f"preview-{message.epoch + 1:04}.npz"
        titles = np.array(list(message.images), dtype=np.str_)
        arrays = {f"image_{n}": image for n, image in enumerate(message.images.values())}
        _write_arrays(folder / file, {"titles": titles, **arrays})
        for older in sorted(folder.glob("preview-*.npz"))[:-2]:
            older.unlink(missing_ok=True)
        content: dict[str, Any] = {"epoch": message.epoch, "file": file}
    elif isinstance(message, Patches):
        masks = {} if message.masks is None else {"masks": message.masks}
        _write_arrays(folder / PATCHES_FILE, {"images": message.images, **masks})
        content = {"classes": list(message.classes), "file": PATCHES_FILE}
    else:
        content = _adapter(name).dump_python(message, mode="json")
    line = {"type": name, **_json_safe(content)}
    return json.dumps(line, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def decode_message(line: str, folder: Path) -> Message | None:
    """Return what :func:`encode_message` was given.

    Parameters
    ----------
    line
        One line of JSON.
    folder
        Of the run, where the pictures lie.

    Returns
    -------
    message
        None for pictures that have been removed since: newer ones are on their way.

    Raises
    ------
    TrainingError
        The line is not one of ours.
    """
    try:
        content = json.loads(line)
        name = content.pop("type")
        if name in _DATACLASS_MESSAGES:
            return cast("Message", _adapter(name).validate_python(content))
        if name in (Preview.__name__, Patches.__name__):
            # A name alone: a line must not lead out of the folder.
            arrays = _read_arrays(folder / Path(content["file"]).name)
            if arrays is None:
                return None
            if name == Patches.__name__:
                classes = tuple(map(str, content["classes"]))
                return Patches(arrays["images"], arrays.get("masks"), classes)
            titles = arrays["titles"].tolist()
            images = {title: arrays[f"image_{n}"] for n, title in enumerate(titles)}
            return Preview(int(content["epoch"]), images)
    except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
        raise TrainingError(f"{line[:200]!r} is no message of a training: {error}.") from error
    raise TrainingError(f"{line[:200]!r} is no message of a training.")


@lru_cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_DATACLASS_MESSAGES[name])


def _json_safe(value: Any) -> Any:
    """Return `value` with what JSON has no word for as text, which pydantic reads as a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_safe(item) for item in value]
    return value


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with atomic_write(path, overwrite=True) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    try:
        check_is_file(path)
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except FileNotFoundError:
        return None
    except (OSError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
