"""Training of the multi-scale detector: one stage at a time, each file holding those before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_fundus.backends.multiscale.hypothesis_task import HypothesisTask
from napari_fundus.backends.multiscale.parts import HYPOTHESES, alone, stages_of
from napari_fundus.backends.multiscale.refiner_task import RefinerTask
from napari_fundus.backends.multiscale.training_options import (
    LOOP_DEFAULTS,
    MultiscaleTrainingOptions,
)
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError
from napari_fundus.monitor import Monitor
from napari_fundus.training.events import TrainingEvent
from napari_fundus.training.loop import train
from napari_fundus.training.start import begin, opened, title_of

__all__ = ["train_multiscale"]


def train_multiscale(
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
    """Train one stage; what is wrong with the arguments is told before the first event.

    Parameters
    ----------
    data
        A data set, or its folder, with microaneurysms drawn. Its testing part is not touched.
    output
        Folder of the run; ``best.safetensors`` in it holds the stage, and those of `checkpoint`.
    healthy
        Images without any sign of disease.
    checkpoint
        File of the stages trained before, by name or path. Where it has the stage that is trained
        now, its weights are the start.
    settings
        Fields of `TrainingSettings` and `MultiscaleTrainingOptions` that differ from the defaults,
        which depend on the ``stage``.
    name
        Of the new weights; the name of the folder if left out.
    command
        For the model card.
    device, monitor, resume, overwrite
        As in :func:`napari_fundus.training.train`.

    Raises
    ------
    OptionsError
        A setting is unknown or out of bounds.
    DatasetError, CheckpointError, TrainingError, DeviceError
        Data, weights, folder or device cannot be used.
    """
    stage = (settings or {}).get("stage", "fine")
    if stage not in LOOP_DEFAULTS:
        raise OptionsError(f"There is no stage {stage!r}; there are {', '.join(LOOP_DEFAULTS)}.")
    shared, options, known = begin(
        settings,
        MultiscaleTrainingOptions,
        detector=HypothesisTask.name,
        checkpoint=checkpoint,
        defaults=LOOP_DEFAULTS[stage],
    )
    initial = None
    if known is not None and stage in stages_of(known):
        initial = alone(known, options.stage)
    elif shared.scheme != "full":
        raise OptionsError(
            f"The scheme {shared.scheme!r} keeps weights as they are, but the checkpoint has none "
            f"of the stage {stage!r}."
        )
    kind = HypothesisTask if stage in HYPOTHESES else RefinerTask
    task = kind(
        opened(data),
        None if healthy is None else opened(healthy),
        options=options,
        known=known,
        name=title_of(name, output),
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
