"""New weights among those found by name: copied into the user's folder, never over others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from napari_fundus.checkpoints.file import read_card
from napari_fundus.checkpoints.zoo import CHECKPOINT_SUFFIX, bundled_folder, models_folder
from napari_fundus.errors import CheckpointError, OutputExistsError
from napari_fundus.runtime.files import atomic_write


def check_checkpoint_name(name: str, *, run: str | Path | None = None) -> None:
    """Raise if weights cannot be installed under `name`.

    Parameters
    ----------
    name
        Letters, digits, ``.``, ``_`` and ``-``.
    run
        Folder of the training whose earlier weights may be replaced.

    Raises
    ------
    CheckpointError
        It is no name for a checkpoint.
    OutputExistsError
        Other weights are called so.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise CheckpointError(f"{name!r} is no name for weights: use letters, digits, . _ -")
    if (bundled_folder() / f"{name}{CHECKPOINT_SUFFIX}").exists():
        raise OutputExistsError(
            f"Weights that ship with napari-fundus are called {name!r}. Choose another name."
        )
    path = models_folder() / f"{name}{CHECKPOINT_SUFFIX}"
    if path.exists() and (run is None or _installing_run(path) != str(Path(run).resolve())):
        raise OutputExistsError(f"Other weights are called {name!r} ({path}). Choose another name.")


def install_checkpoint(path: str | Path, name: str, *, run: str | Path | None = None) -> Path:
    """Copy weights into the user's folder, so that they are listed and found by `name`.

    Parameters
    ----------
    path
        A file of weights.
    name
        What they shall be found by.
    run
        Folder of the training that made them: what the same run has installed before is replaced.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    CheckpointError, OutputExistsError
        As :func:`check_checkpoint_name`; or the file is none of weights.
    """
    check_checkpoint_name(name, run=run)
    read_card(path)
    target = models_folder() / f"{name}{CHECKPOINT_SUFFIX}"
    with atomic_write(target, overwrite=True) as temporary:
        shutil.copyfile(path, temporary)
    note = _run_note_path(target)
    if run is None:
        note.unlink(missing_ok=True)
    else:
        with atomic_write(note, overwrite=True) as temporary:
            temporary.write_text(f"{Path(run).resolve()}\n", encoding="utf-8")
    return target


def _run_note_path(path: Path) -> Path:
    """Return the file beside weights that names the run they are of."""
    return path.with_suffix(".run")


def _installing_run(path: Path) -> str:
    try:
        return _run_note_path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
