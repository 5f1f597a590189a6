"""Training: one loop for all detectors; a task provides data, network, loss and metrics."""

from __future__ import annotations

from napari_fundus.training.loop.events import (
    Best,
    CheckpointSaved,
    EpochEnd,
    Finished,
    Patches,
    Preview,
    Started,
    Step,
    TrainingEvent,
)
from napari_fundus.training.loop.loop import train
from napari_fundus.training.loop.preflight import (
    DataSummary,
    Preflight,
    SampleSummary,
    SplitSummary,
)
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task
from napari_fundus.training.search.cross_validation import (
    CrossValidationFinished,
    FoldStarted,
    cross_validate,
)
from napari_fundus.training.search.fold_summary import CrossValidationSummary

__all__ = [
    "Best",
    "CheckpointSaved",
    "CrossValidationFinished",
    "CrossValidationSummary",
    "DataSummary",
    "EpochEnd",
    "Finished",
    "FoldStarted",
    "Patches",
    "Preflight",
    "Preview",
    "SampleSummary",
    "SplitSummary",
    "Started",
    "Step",
    "Task",
    "TrainingEvent",
    "TrainingSettings",
    "cross_validate",
    "train",
]
