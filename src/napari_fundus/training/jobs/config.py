"""All that a training was told, kept beside its run: to repeat it, and to go on with it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus.errors import TrainingError
from napari_fundus.runtime.files import write_json
from napari_fundus.runtime.monitor import Monitor
from napari_fundus.training.loop.events import Started, TrainingEvent

__all__ = ["CONFIG_FILE", "TrainingConfig", "read_training_config", "run_training"]

CONFIG_FILE = "order.json"
"""File in the folder of a run."""

TrainFunction = Callable[..., Iterator[TrainingEvent]]
"""`Detector.train`."""


class TrainingConfig(BaseModel):
    """What to train, on what, and how.

    Attributes
    ----------
    detector
        Name of the method.
    data, healthy
        Folders of data sets.
    checkpoint
        Weights to start from, by name or path.
    settings
        Those that differ from the method's defaults.
    name
        Of the new weights; empty for that of the folder.
    device
        As `choose_device` takes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str = Field(min_length=1)
    data: str
    healthy: str | None = None
    checkpoint: str | None = None
    settings: dict[str, Any] = {}
    name: str = ""
    device: str = "auto"

    def words(self, folder: str | Path) -> list[str]:
        """Return the words behind ``napari-fundus`` that train the same into `folder`.

        Examples
        --------
        >>> Order(detector="voting", data="eyes", settings={"seed": 3}).words("run")
        ['train', 'voting', '--data', 'eyes', '-o', 'run', '--set', 'seed=3']
        """
        words = ["train", self.detector, "--data", self.data, "-o", str(folder)]
        for flag, value in (
            ("--healthy", self.healthy),
            ("--checkpoint", self.checkpoint),
            ("--name", self.name),
            ("--device", "" if self.device == "auto" else self.device),
        ):
            if value:
                words += [flag, value]
        for name, value in self.settings.items():
            words += ["--set", f"{name}={_format_setting(value)}"]
        return words


def read_training_config(folder: str | Path) -> TrainingConfig:
    """Return what the run in `folder` was told.

    Raises
    ------
    TrainingError
        The folder holds no run that tells.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        return TrainingConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise TrainingError(
            f"{folder} holds no run that tells how it was started ({CONFIG_FILE} is missing). "
            "Choose the folder of a run; an older one goes on with: napari-fundus train … --resume"
        ) from None
    except (OSError, ValidationError) as error:
        raise TrainingError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def run_training(
    order: TrainingConfig,
    train: TrainFunction,
    folder: str | Path,
    *,
    monitor: Monitor,
    resume: bool = False,
    overwrite: bool = False,
    check: bool = False,
    command: str = "",
) -> Iterator[TrainingEvent]:
    """Train as ordered, in this process; what is wrong is told before the first event.

    Parameters
    ----------
    order
        What to train.
    train
        The method's own `Detector.train`.
    folder
        Of the run.
    monitor, resume, overwrite
        As in :func:`napari_fundus.training.train`.
    check
        Stop after `Started`, before the first step: nothing is kept then.
    command
        For the model card.
    """
    place = Path(folder)
    new = not place.exists()
    # A check must not remove the run that the training will replace.
    aside = tempfile.TemporaryDirectory() if check and overwrite else None
    events = train(
        data=order.data,
        output=place if aside is None else aside.name,
        healthy=order.healthy,
        checkpoint=order.checkpoint,
        settings=order.settings,
        name=order.name,
        device=order.device,
        command=command,
        monitor=monitor,
        resume=resume,
        overwrite=overwrite,
    )
    return _record_events(order, events, place, check=check, new=new, aside=aside)


def _record_events(
    order: TrainingConfig,
    events: Iterator[TrainingEvent],
    folder: Path,
    *,
    check: bool,
    new: bool,
    aside: tempfile.TemporaryDirectory[str] | None,
) -> Iterator[TrainingEvent]:
    with aside or nullcontext(), closing(_as_generator(events)) as told:
        for event in told:
            if isinstance(event, Started) and not check:
                # Not before: what the run was told stays as it was if it cannot go on like this.
                content = json.loads(order.model_dump_json())
                write_json(folder / CONFIG_FILE, content, overwrite=True)
            yield event
            if isinstance(event, Started) and check:
                break
    if check and new and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _as_generator(events: Iterator[TrainingEvent]) -> Generator[TrainingEvent, None, None]:
    """Yield the events of any iterator; closing this closes that, if it can be closed."""
    yield from events


def _format_setting(value: Any) -> str:
    """Return a value as ``--set`` reads it: JSON, but text as it is where JSON is not tried."""
    if isinstance(value, str):
        return json.dumps(value) if value[:1] in ("[", "{", '"') or value == "null" else value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=list)
    return json.dumps(value) if not isinstance(value, float) else repr(value)
