"""Cross-validation: as many trainings as folds, each tested on the images of its fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from napari_fundus.checkpoints import read_card
from napari_fundus.errors import OutputExistsError, TrainingError
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import CheckpointSaved, Finished, TrainingEvent
from napari_fundus.training.search.fold_summary import (
    SUMMARY_STEM,
    CrossValidationSummary,
    FoldResult,
    fold_result,
)


class TrainFold(Protocol):
    """Begins the training of one fold; all arguments but the first are those of ``train``."""

    def __call__(
        self, fold: int, *, output: Path, monitor: Monitor, resume: bool, overwrite: bool
    ) -> Iterator[TrainingEvent]:
        """Yield its events; `fold` counts from 1, and is the part that is held back."""


@dataclass(frozen=True)
class FoldStarted:
    """The training of a fold starts; its events follow.

    Attributes
    ----------
    fold, folds
        Which (from 1) of how many.
    """

    fold: int
    folds: int


@dataclass(frozen=True)
class CrossValidationFinished:
    """All folds are done.

    Attributes
    ----------
    summary
        Their figures.
    """

    summary: CrossValidationSummary


def cross_validate(
    train_fold: TrainFold,
    folds: int,
    output: str | Path,
    *,
    identity: Mapping[str, Any] | None = None,
    monitor: Monitor | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[TrainingEvent | FoldStarted | CrossValidationFinished]:
    """Train once for each fold, and sum up how the trainings do on the images held back.

    Parameters
    ----------
    train_fold
        Begins the training of a fold; ``settings`` with ``folds`` and ``fold`` make one of any
        method's training.
    folds
        How many; 2 or more.
    output
        Folder for the runs ``fold_1``, ``fold_2``, … and the summary, which is written after each.
    identity
        What is trained on what, fit for JSON, such as detector, data and settings.
    monitor
        Takes progress; a cancelled run can be resumed.
    resume
        Keep the folds that are done, and go on with the one that was interrupted.
    overwrite
        Replace the runs that are in `output`.

    Yields
    ------
    TrainingEvent or FoldStarted or CrossValidationFinished
        For each fold that is not done yet `FoldStarted` and the events of its training; last
        `CrossValidationFinished`.

    Raises
    ------
    OutputExistsError
        The folder holds a cross-validation, and is neither to be resumed nor replaced.
    TrainingError
        It holds one with another `identity`; a training failed, or holds back the same images in
        two folds.
    Cancelled
        The run was cancelled.
    """
    folder = Path(output)
    if folds < 2:
        raise TrainingError(f"A cross-validation has 2 or more folds, not {folds}.")
    summary = CrossValidationSummary(folds=folds, identity=dict(identity or {}))
    path = folder / f"{SUMMARY_STEM}.json"
    if path.exists() and not overwrite:
        if not resume:
            raise OutputExistsError(
                f"{folder} holds a cross-validation already. Resume it, choose another folder, or "
                "ask for it to be overwritten."
            )
        summary = summary.load_saved(path)
    return _events(train_fold, summary, folder, monitor or Monitor(), resume, overwrite)


def _events(
    train_fold: TrainFold,
    summary: CrossValidationSummary,
    folder: Path,
    monitor: Monitor,
    resume: bool,  # noqa: FBT001 - passed on
    overwrite: bool,  # noqa: FBT001
) -> Iterator[TrainingEvent | FoldStarted | CrossValidationFinished]:
    done = {result.fold: result for result in summary.results}
    for fold in range(1, summary.folds + 1):
        if fold in done:
            continue
        yield FoldStarted(fold, summary.folds)
        part = monitor.part((fold - 1) / summary.folds, fold / summary.folds)
        for event in train_fold(
            fold, output=folder / f"fold_{fold}", monitor=part, resume=resume, overwrite=overwrite
        ):
            if isinstance(event, CheckpointSaved) and event.kind == "best":
                _check_held_back(event.path, fold, done.values())
            yield event
            if isinstance(event, Finished):
                done[fold] = fold_result(fold, event)
        if fold not in done:
            # Of several processes only the first receives events; it alone writes the summary.
            continue
        results = tuple(done[number] for number in sorted(done))
        summary = summary.model_copy(update={"results": results})
        summary.write(folder)
    if len(done) == summary.folds:
        yield CrossValidationFinished(summary)


def _check_held_back(weights: Path, fold: int, done: Iterable[FoldResult]) -> None:
    """Raise if a fold is tested on images of an earlier one: its training ignores the folds.

    The card of its first weights shows it, long before the end.
    """
    held_back = set(read_card(weights).split.validation)
    for earlier in done:
        if twice := sorted(held_back & set(earlier.test)):
            raise TrainingError(
                f"Fold {fold} holds back {', '.join(twice[:3])}, as fold {earlier.fold} did: this "
                "training does not divide its images by the settings 'folds' and 'fold'."
            )
