"""Training, the same for every method: data, network, loss and figures come from a task."""

from __future__ import annotations

from napari_fundus.training.cross_validation import CrossValidated, FoldStarted, cross_validate
from napari_fundus.training.events import (
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
from napari_fundus.training.fold_summary import CrossValidation
from napari_fundus.training.loop import train
from napari_fundus.training.preflight import DataFacts, PartFacts, Preflight, SampleFacts
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.task import Task

__all__ = [
    "Best",
    "CheckpointSaved",
    "CrossValidated",
    "CrossValidation",
    "DataFacts",
    "EpochEnd",
    "Finished",
    "FoldStarted",
    "PartFacts",
    "Patches",
    "Preflight",
    "Preview",
    "SampleFacts",
    "Started",
    "Step",
    "Task",
    "TrainingEvent",
    "TrainingSettings",
    "cross_validate",
    "train",
]
