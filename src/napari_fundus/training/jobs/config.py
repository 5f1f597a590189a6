"""The job file of a run: what to train, on what and how, to start the training and to repeat it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus.errors import TrainingError
from napari_fundus.runtime.files import atomic_write, read_bytes, write_json
from napari_fundus.training.loop.events import Started, TrainingEvent
from napari_fundus.training.loop.state import check_output

JOB_FILE = "job.json"
"""Name of the job file in the folder of a run."""

_FORMER_JOB_FILE = "order.json"
"""Its name in runs of earlier versions, which can be resumed all the same."""


class TrainingConfig(BaseModel):
    """Content of a job file.

    Attributes
    ----------
    detector
        Name of the detector, built-in or of a plugin.
    data, healthy
        Folders of data sets.
    checkpoint
        Weights to start from, by name or path.
    settings
        Settings that differ from the detector's defaults.
    name
        Name of the new weights; empty for the name of the folder.
    device
        As `choose_device` takes it.
    resume, overwrite
        As in :func:`napari_fundus.training.train`.
    check
        Stop after `Started`, before the first step; nothing is kept then.
    command
        Command line for the model card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    detector: str = Field(min_length=1)
    data: str
    healthy: str | None = None
    checkpoint: str | None = None
    settings: dict[str, Any] = {}
    name: str = ""
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    check: bool = False
    command: str = ""


def read_training_config(path: str | Path) -> TrainingConfig:
    """Return the content of a job file.

    Parameters
    ----------
    path
        The file, or the folder of its run.

    Raises
    ------
    TrainingError
        There is no such file, or it cannot be read.
    """
    path = Path(path)
    files = [path / JOB_FILE, path / _FORMER_JOB_FILE] if path.is_dir() else [path]
    found = next((file for file in files if file.exists()), files[0])
    try:
        return TrainingConfig.model_validate_json(read_bytes(found))
    except FileNotFoundError:
        raise TrainingError(
            f"{path} holds no run that can be opened ({JOB_FILE} is missing). Choose the folder of "
            "a run; one without this file goes on with: napari-fundus train … --resume"
        ) from None
    except (OSError, ValidationError) as error:
        raise TrainingError(f"{found} cannot be read: {' '.join(str(error).split())}") from error


def record_job(
    config: TrainingConfig, folder: str | Path, events: Iterator[TrainingEvent]
) -> Iterator[TrainingEvent]:
    """Write the job file of a run, then yield the events of its training.

    The file of an earlier training in the folder is put back where this one does not start, and
    after a check.

    Parameters
    ----------
    config
        Content of the file.
    folder
        Folder of the run.
    events
        Events of the training, which starts at the first `next`.
    """
    folder = Path(folder)
    path = folder / JOB_FILE
    is_new = not folder.exists()
    # Only a look: the training itself removes what it replaces.
    check_output(folder, resume=config.resume or config.overwrite, overwrite=False)
    former = read_bytes(path) if path.exists() else None
    write_json(path, json.loads(config.model_dump_json()), overwrite=True)
    started = False
    try:
        with closing(_as_generator(events)) as generator:
            for event in generator:
                started = started or (isinstance(event, Started) and not config.check)
                yield event
    finally:
        if not started:
            _restore(path, former)
        if config.check and is_new and not any(folder.iterdir()):
            folder.rmdir()


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_bytes(content)


def _as_generator(events: Iterator[TrainingEvent]) -> Generator[TrainingEvent, None, None]:
    """Yield the events of any iterator; closing this closes that, if it can be closed."""
    yield from events
