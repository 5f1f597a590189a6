"""Cross-validation: every fold is trained once, kept when interrupted, and summed up rightly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from napari_fundus.errors import Cancelled, OutputExistsError, TrainingError
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import (
    CrossValidationFinished,
    CrossValidationSummary,
    DataSummary,
    EpochEnd,
    Finished,
    FoldStarted,
    SplitSummary,
    cross_validate,
    train,
)
from napari_fundus.training.search.fold_summary import FoldResult


class Folds:
    """Trains the toy, another seed a fold, and remembers which folds it was asked for."""

    def __init__(self, toy: ModuleType, *, heeded: bool = True) -> None:
        self.toy, self.heeded = toy, heeded
        self.begun: list[int] = []

    def __call__(self, fold: int, **arguments: Any) -> Iterator[Any]:
        self.begun.append(fold)
        task = self.toy.ToyTask()
        prepare = task.prepare

        def named(*about: Any) -> DataSummary:
            """Give the image that is held back another name in each fold."""
            facts = prepare(*about)
            (image,) = facts.validation.samples
            return replace(
                facts, validation=SplitSummary([replace(image, id=f"s{9 + fold * self.heeded}")])
            )

        task.prepare = named
        settings = self.toy.SETTINGS.model_copy(update={"seed": fold, "max_epochs": 2})
        return train(task, settings, device="cpu", **arguments)


@pytest.fixture
def folds(toy: ModuleType) -> Folds:
    return Folds(toy)


def test_each_fold_is_trained_once_and_summed_up(folds: Folds, tmp_path: Path) -> None:
    events = list(cross_validate(folds, 3, tmp_path))
    assert folds.begun == [1, 2, 3]
    assert [e.fold for e in events if isinstance(e, FoldStarted)] == [1, 2, 3]
    ends = [e for e in events if isinstance(e, Finished)]
    assert [e.best.path.parent.name for e in ends] == ["fold_1", "fold_2", "fold_3"]
    assert isinstance(events[-1], CrossValidationFinished)
    dice = [e.best.metrics["dice"] for e in ends]
    found = events[-1].summary.metric_statistics()["dice"]
    assert found.mean == pytest.approx(np.mean(dice))
    assert found.deviation == pytest.approx(np.std(dice, ddof=1))
    assert (found.lowest, found.highest, found.count) == (min(dice), max(dice), 3)
    kept = CrossValidationSummary.model_validate_json(
        (tmp_path / "cross-validation.json").read_text()
    )
    assert kept == events[-1].summary
    assert kept.results[0].train == ("s0", "s1", "s2")
    assert [result.test for result in kept.results] == [("s10",), ("s11",), ("s12",)]
    table = (tmp_path / "cross-validation.md").read_text()
    assert f"| dice | {np.mean(dice):.4f} | {np.std(dice, ddof=1):.4f} | {dice[0]:.4f}" in table


def test_progress_grows_over_all_folds(folds: Folds, tmp_path: Path) -> None:
    seen: list[float] = []
    list(cross_validate(folds, 2, tmp_path, monitor=Monitor(lambda p: seen.append(p.fraction))))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert any(0.5 < value < 1 for value in seen)


def test_an_interrupted_one_goes_on_in_its_fold_and_ends_the_same(
    folds: Folds, toy: ModuleType, tmp_path: Path
) -> None:
    monitor = Monitor()
    events = cross_validate(folds, 2, tmp_path / "a", monitor=monitor)
    epochs = 0
    while epochs < 3:
        epochs += isinstance(next(events), EpochEnd)
    monitor.cancel()
    with pytest.raises(Cancelled):
        list(events)
    again = Folds(toy)
    resumed = list(cross_validate(again, 2, tmp_path / "a", resume=True))
    assert again.begun == [2]
    assert sum(isinstance(e, EpochEnd) for e in resumed) == 1
    unbroken = list(cross_validate(Folds(toy), 2, tmp_path / "b"))
    assert resumed[-1].summary.metric_statistics() == unbroken[-1].summary.metric_statistics()


def test_a_finished_one_is_told_again_without_training(
    folds: Folds, toy: ModuleType, tmp_path: Path
) -> None:
    first = list(cross_validate(folds, 2, tmp_path))
    again = Folds(toy)
    assert list(cross_validate(again, 2, tmp_path, resume=True)) == [first[-1]]
    assert again.begun == []


def test_it_is_neither_overwritten_nor_mixed_with_another(folds: Folds, tmp_path: Path) -> None:
    identity = {"settings": {"learning_rate": "0.1"}}
    list(cross_validate(folds, 2, tmp_path, identity=identity))
    with pytest.raises(OutputExistsError, match="holds a cross-validation already"):
        cross_validate(folds, 2, tmp_path, identity=identity)
    with pytest.raises(TrainingError, match="folds was 2 and is 3"):
        cross_validate(folds, 3, tmp_path, identity=identity, resume=True)
    with pytest.raises(TrainingError, match="settings was"):
        cross_validate(folds, 2, tmp_path, identity={"settings": {}}, resume=True)
    folds.begun.clear()
    list(cross_validate(folds, 2, tmp_path, overwrite=True))
    assert folds.begun == [1, 2]


def test_a_training_that_knows_nothing_of_folds_is_found_out_early(
    toy: ModuleType, tmp_path: Path
) -> None:
    events = cross_validate(Folds(toy, heeded=False), 2, tmp_path)
    with pytest.raises(TrainingError, match="Fold 2 holds back s9, as fold 1 did"):
        list(events)
    kept = CrossValidationSummary.model_validate_json(
        (tmp_path / "cross-validation.json").read_text()
    )
    assert [result.fold for result in kept.results] == [1]


def test_one_fold_and_a_foreign_file_are_refused(folds: Folds, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 or more folds"):
        cross_validate(folds, 1, tmp_path)
    (tmp_path / "cross-validation.json").write_text("[]")
    with pytest.raises(TrainingError, match="is no summary"):
        cross_validate(folds, 2, tmp_path, resume=True)


def result(fold: int, **metrics: float | None) -> FoldResult:
    return FoldResult(
        fold=fold, metrics=metrics, epoch=1, reason="epochs", seconds=60, train=("a",), test=("b",)
    )


def test_a_figure_that_a_fold_does_not_have_is_left_out_of_the_mean(tmp_path: Path) -> None:
    summary = CrossValidationSummary(
        folds=3, results=(result(1, recall=None, dice=0.2), result(3, recall=0.5, dice=0.4))
    )
    recall = summary.metric_statistics()["recall"]
    assert (recall.mean, recall.count) == (0.5, 1)
    assert math.isnan(recall.deviation)
    summary.write(tmp_path)
    text = (tmp_path / "cross-validation.md").read_text()
    assert "2 of 3 folds" in text
    assert "| recall | 0.5000 | – | – | 0.5000 |" in text
    kept = json.loads((tmp_path / "cross-validation.json").read_text())
    assert kept["results"][0]["metrics"]["recall"] is None
    assert CrossValidationSummary.model_validate(kept) == summary
