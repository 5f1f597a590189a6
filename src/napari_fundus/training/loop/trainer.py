"""Starts the training of any method: checks settings, opens weights and data, runs the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from napari_fundus.checkpoints import Checkpoint, load_checkpoint
from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.errors import OptionsError
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import TrainingEvent
from napari_fundus.training.loop.loop import train
from napari_fundus.training.loop.settings import TrainingSettings, split_settings
from napari_fundus.training.loop.task import Task

OptionsT = TypeVar("OptionsT", bound=BaseModel)

_HELP = """Train {what}; wrong arguments raise before the first event.

Parameters
----------
data
    A data set, or its folder, with {data}.
    Its testing part is not touched.
output
    Folder of the run; ``best.safetensors`` in it is what the detector uses.
healthy
    Further images without any sign of disease.
checkpoint
    {checkpoint}
settings
    Fields of `TrainingSettings` and `{options}` that differ from their defaults.
name
    Of the new weights; the name of the folder if left out.
command
    For the model card.
device, monitor, resume, overwrite
    As in :func:`napari_fundus.training.train`.

Returns
-------
iterator of TrainingEvent
    Events of the training, which runs as they are consumed.

Raises
------
OptionsError
    A setting is unknown or out of bounds, or does not go with `checkpoint`.
DatasetError, CheckpointError, TrainingError, DeviceError
    Data, weights, folder or device cannot be used.
"""

_FROM_WEIGHTS = """Weights to start from, by name or path; network, classes and preprocessing are
    then theirs."""


class Trainer(Generic[OptionsT]):
    """The training of one method: called with data, it yields events.

    Parameters
    ----------
    task
        Class of the task, or what makes one of the same arguments.
    options
        Model of the method's own options.
    detector
        Name of the method; weights to start from must be of it.
    what
        What is trained, for `help`, such as ``"a U-Net"``.
    data
        What a data set must have, for `help`.
    checkpoint
        What weights to start from decide, for `help`.
    defaults
        Settings that suit the method better than the loop's own defaults.
    """

    def __init__(
        self,
        task: Callable[..., Task],
        options: type[OptionsT],
        *,
        detector: str,
        what: str,
        data: str = "lesions drawn",
        checkpoint: str = _FROM_WEIGHTS,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.options, self.detector = task, options, detector
        self.defaults = defaults or {}
        self.__doc__ = _HELP.format(
            what=what, data=data, checkpoint=checkpoint, options=options.__name__
        )

    def __repr__(self) -> str:
        return f"<training of {self.detector}: call it with data and output>"

    def __call__(
        self,
        *,
        data: str | Path | Dataset,
        output: str | Path,
        healthy: str | Path | Dataset | None = None,
        checkpoint: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        name: str = "",
        command: str = "",
        device: str = "auto",
        monitor: Monitor | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Iterator[TrainingEvent]:
        """Train; `help` of the instance describes the arguments."""
        changed = settings or {}
        shared, options = split_settings({**self.defaults_for(changed), **changed}, self.options)
        weights = load_checkpoint(checkpoint, detector=self.detector) if checkpoint else None
        initial = self.initial_checkpoint(weights, shared, options)
        task = self.task(
            _as_dataset(data),
            None if healthy is None else _as_dataset(healthy),
            options=options,
            initial=weights,
            name=name or Path(output).resolve().name,
            command=command,
        )
        return train(
            task,
            shared,
            output,
            device=device,
            monitor=monitor,
            resume=resume,
            overwrite=overwrite,
            initial=initial,
        )

    def defaults_for(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the loop's defaults, which may depend on what is set."""
        del settings
        return self.defaults

    def initial_checkpoint(
        self, checkpoint: Checkpoint | None, settings: TrainingSettings, options: OptionsT
    ) -> Checkpoint | None:
        """Return the weights that the loop starts from; None for new ones.

        Raises
        ------
        OptionsError
            A fine-tuning scheme has nothing to start from.
        """
        del options
        if checkpoint is None and settings.scheme != "full":
            raise OptionsError(
                f"The scheme {settings.scheme!r} keeps weights as they are: name those to start "
                "from as the checkpoint."
            )
        return checkpoint


def reject_set_options(
    options: BaseModel, fields: frozenset[str], *, of: Checkpoint | str, what: str = "they"
) -> None:
    """Raise for options that were set though something else decides them.

    Parameters
    ----------
    options
        As set.
    fields
        Names of the options that are decided.
    of
        What decides them: weights to start from, or in words, such as ``"the U-Net"``.
    what
        What they are together, such as ``"network and scale"``.

    Raises
    ------
    OptionsError
        Some were set.
    """
    if changed := sorted(fields & options.model_fields_set):
        source = of if isinstance(of, str) else f"the weights {of.card.name!r} to start from"
        raise OptionsError(f"{', '.join(changed)} cannot be set: {what} are those of {source}.")


def _as_dataset(data: str | Path | Dataset) -> Dataset:
    return data if isinstance(data, Dataset) else open_dataset(data)
