"""Events of a training: the window plots them, the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_fundus.training.loop.preflight import Preflight

StopReason = Literal["epochs", "early stopping", "time", "nothing to train"]
"""What ends a run."""


@dataclass(frozen=True)
class Started:
    """Everything is checked; the first step follows.

    Attributes
    ----------
    report
        What will be trained on what, and for how long.
    epoch, step
        Where a resumed run continues; 0 and 0 for a new one.
    """

    report: Preflight
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True, eq=False)
class Patches:
    """What the network will be shown: the first batch, varied at random.

    Attributes
    ----------
    images
        uint8, shape (B, S, S, 3).
    masks
        uint8, shape (B, S, S): 0, or one more than the place in `classes` of the lesion's class;
        None where whole images are distinguished.
    classes
        Codes of the classes.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8] | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """Some steps were made.

    Attributes
    ----------
    epoch, step
        Epoch (from 0), and number of steps made in it.
    loss
        Mean since the last report.
    learning_rate
        Now.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch was validated.

    Attributes
    ----------
    epoch
        From 0.
    metrics
        Name to figure on the validation part; ``train_loss`` is the mean loss in training.
    improved
        Whether this is the best so far.
    metric
        The figure that decides on it.
    """

    epoch: int
    metrics: Mapping[str, float]
    improved: bool
    metric: str = "loss"


@dataclass(frozen=True, eq=False)
class Preview:
    """What the network finds now.

    Attributes
    ----------
    epoch
        From 0.
    images
        Title to image: uint8 (H, W, 3), or float32 (H, W) in [0, 1].
    """

    epoch: int
    images: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class CheckpointSaved:
    """A file was written.

    Attributes
    ----------
    path
        The file.
    kind
        ``"best"``: weights to be used; ``"last"``: the state to go on from.
    """

    path: Path
    kind: Literal["best", "last"]


@dataclass(frozen=True)
class Best:
    """The best epoch.

    Attributes
    ----------
    path
        Its weights.
    epoch
        From 0.
    metrics
        Its figures.
    metric, higher_is_better
        The metric that decides, and in which direction.
    """

    path: Path
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    metric: str = "loss"
    higher_is_better: bool = False


@dataclass(frozen=True)
class Finished:
    """The run is over.

    Attributes
    ----------
    reason
        What ended it.
    best
        The weights to use.
    epochs, steps
        How many were made, in all sessions together.
    seconds
        Time of training and validation, in all sessions together.
    wait_share
        Share (0 to 1) of this session's time in training steps that was spent waiting for batches;
        on a GPU an upper bound, since it works on what is queued meanwhile.
    """

    reason: StopReason
    best: Best
    epochs: int
    steps: int
    seconds: float
    wait_share: float


TrainingEvent = Patches | Started | Step | EpochEnd | Preview | CheckpointSaved | Finished
