"""The state of a run on disk: weights, optimizer and counters in one verified safetensors file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fundus.checkpoints import ModelCard, read_checkpoint, save_checkpoint
from napari_fundus.errors import OutputExistsError, TrainingError
from napari_fundus.runtime.files import remove_temporary_files

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
"""File names in the folder of a run."""

_KEY = "training_state"

_CHANGEABLE_SETTINGS = frozenset(
    {"max_epochs", "max_minutes", "report_every", "save_minutes", "preview_every", "dry_steps"}
    | {"show_patches", "data_threads", "early_stopping", "allow_leakage"}
    | {"devices", "accumulate"}  # only their product matters
)
"""Settings that a resumed run may have otherwise than the one that was interrupted."""


def check_output(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of a run, and raise before anything is computed if it cannot be used.

    Raises
    ------
    OutputExistsError
        It holds a run already.
    TrainingError
        It cannot be written to.
    """
    present = [name for name in (BEST_FILE, LAST_FILE) if (folder / name).exists()]
    if present and not resume and not overwrite:
        raise OutputExistsError(
            f"{folder} holds a training already ({', '.join(present)}). Resume it, choose another "
            "folder, or ask for it to be overwritten."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
        # Each as large as the weights: a killed run may have left some.
        remove_temporary_files(folder)
        if overwrite and not resume:
            for name in present:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written to: {error.strerror or error}. Choose another folder."
        ) from error


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise `TrainingError` if there is no room for the files of the run.

    Parameters
    ----------
    folder
        Of the run.
    needed
        Bytes of the state; twice as many are asked for, since a file is written beside the old.
    """
    free = shutil.disk_usage(folder).free
    if free < 2 * needed + (16 << 20):
        raise TrainingError(
            f"{folder} has {free / 2**20:,.0f} MB left, and the training needs about "
            f"{2 * needed / 2**20 + 16:,.0f} MB. Free some, or choose another folder."
        )


def check_unchanged(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `TrainingError` if a run is to go on with other settings or other images.

    Parameters
    ----------
    folder
        Of the run.
    before, now
        ``"settings"`` (name to value), ``"batches_a_step"`` of all devices, ``"train"`` and
        ``"validation"`` (ids of the images), and ``"content"`` (id to hash; runs of earlier
        versions have none), as saved and as they are.
    """
    settings = before["settings"]
    batches = before.get("batches_a_step", settings["devices"])
    changed = [
        f"{name} was {settings.get(name)!r} and is {value!r}"
        for name, value in now["settings"].items()
        if name not in _CHANGEABLE_SETTINGS and settings.get(name) != value
    ]
    if batches != now["batches_a_step"]:
        changed.append(
            f"a step had {batches} batches and has {now['batches_a_step']} (devices × accumulate)"
        )
    changed += [
        f"the images of the {name} part are others"
        for name in ("train", "validation")
        if before[name] != now[name]
    ]
    known = before.get("content", {})
    other = [i for i, digest in now["content"].items() if known.get(i, digest) != digest]
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        changed.append(f"image or annotations of {', '.join(other[:3])}{more} are others")
    if changed:
        raise TrainingError(
            f"{folder} cannot be resumed like this: {'; '.join(changed)}. Use the former ones, or "
            "another folder."
        )


def write_state(
    path: Path, tensors: Mapping[str, Tensor], numbers: dict[str, Any], task: str
) -> None:
    """Replace the saved state; it is whole at every moment, whenever the process is killed.

    Parameters
    ----------
    path
        Where to.
    tensors
        Name to tensor.
    numbers
        Everything else, fit for JSON.
    task
        Name of the detector.
    """
    card = ModelCard(name="last", detector=task, recipe={_KEY: numbers})
    save(path, tensors, card)


def read_state(path: Path, task: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and numbers that :func:`write_state` wrote.

    Raises
    ------
    CheckpointError
        The file is damaged.
    TrainingError
        It is not the state of a training of this task.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.card.detector != task or _KEY not in checkpoint.card.recipe:
        raise TrainingError(f"{path} is not the state of a training of {task!r}.")
    return dict(checkpoint.tensors), checkpoint.card.recipe[_KEY]


def save(path: Path, tensors: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write a checkpoint in place of an older one.

    Raises
    ------
    TrainingError
        The disk is full or gone; the older file is still there.
    """
    try:
        save_checkpoint(path, tensors, card, overwrite=True)
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written: {error.strerror or error}. What was saved before is "
            "still there: make room and resume."
        ) from error


def select_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer, as ``INDEX.NAME`` to tensor."""
    import torch

    return {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state of an optimizer from :func:`optimizer_tensors`."""
    import torch

    current = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape and value.ndim:
            # In the memory order of its weights, as the optimizer itself would have made it: in
            # another order the same sum may be rounded otherwise.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    current["state"] = state
    optimizer.load_state_dict(current)
