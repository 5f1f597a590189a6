"""The figures of a cross-validation: of each fold, their mean and spread, as a table and a file."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_fundus.checkpoints import read_card
from napari_fundus.errors import TrainingError
from napari_fundus.runtime.files import atomic_write, read_bytes
from napari_fundus.training.loop.events import Finished

SUMMARY_STEM = "cross-validation"
"""Name of the summary's files, ``.json`` and ``.md``, in the folder of the run."""


class FoldResult(BaseModel):
    """Result of the training of one fold.

    Attributes
    ----------
    fold
        From 1.
    metrics
        Of its best epoch, on the images held back; None where a figure is not defined.
    epoch, reason, seconds
        The best epoch (from 1), what ended the training, and how long it took.
    train, test
        Ids of the images trained on, and of those held back.
    """

    model_config = ConfigDict(frozen=True)

    fold: int
    metrics: dict[str, float | None]
    epoch: int
    reason: str
    seconds: float
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class MetricStatistics:
    """A metric over folds.

    Attributes
    ----------
    mean, deviation
        Mean, and standard deviation (n − 1 in the denominator; NaN for a single fold).
    lowest, highest
        Of the folds.
    count
        Folds in which the metric is defined.
    """

    mean: float
    deviation: float
    lowest: float
    highest: float
    count: int


class CrossValidationSummary(BaseModel):
    """All folds that are done; written after each.

    Attributes
    ----------
    folds
        How many there are to be.
    identity
        What was trained on what: folds of another one are not mixed in.
    results
        One a fold, in order.
    """

    model_config = ConfigDict(frozen=True)

    folds: int
    identity: dict[str, Any] = {}
    results: tuple[FoldResult, ...] = ()

    def metric_statistics(self) -> dict[str, MetricStatistics]:
        """Return each metric over the folds in which it is defined.

        Examples
        --------
        >>> ends = {"reason": "epochs", "seconds": 1, "epoch": 1, "train": (), "test": ()}
        >>> results = [FoldResult(fold=n, metrics={"dice": n / 10}, **ends) for n in (1, 3)]
        >>> found = CrossValidationSummary(folds=2, results=results).metric_statistics()["dice"]
        >>> round(found.mean, 3), round(found.deviation, 3)
        (0.2, 0.141)
        """
        names = dict.fromkeys(name for result in self.results for name in result.metrics)
        found = {}
        for name in names:
            values = [v for r in self.results if (v := r.metrics.get(name)) is not None]
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else math.nan
                mean = statistics.fmean(values)
                found[name] = MetricStatistics(
                    mean, deviation, min(values), max(values), len(values)
                )
        return found

    def markdown(self) -> str:
        """Return the summary for people."""
        spread = self.metric_statistics()
        numbers = [result.fold for result in self.results]
        lines = [
            f"# Cross-validation, {len(self.results)} of {self.folds} folds",
            "",
            "Figures of each fold's best epoch on the images held back in it, eyes kept together. "
            "The epoch was chosen on these same images, so they are a little too good.",
            "",
            f"| metric | mean | deviation | {' | '.join(f'fold {n}' for n in numbers)} |",
            f"|{'---|' * (3 + len(numbers))}",
        ]
        for name, values in spread.items():
            cells = " | ".join(_number(result.metrics.get(name)) for result in self.results)
            mean, deviation = _number(values.mean), _number(values.deviation)
            lines.append(f"| {name} | {mean} | {deviation} | {cells} |")
        for title, row in (
            ("images trained on", [len(r.train) for r in self.results]),
            ("images held back", [len(r.test) for r in self.results]),
            ("best epoch", [r.epoch for r in self.results]),
            ("minutes", [round(r.seconds / 60, 1) for r in self.results]),
        ):
            lines.append(f"| {title} |  |  | {' | '.join(map(str, row))} |")
        return "\n".join(lines)

    def load_saved(self, path: Path) -> CrossValidationSummary:
        """Return what `path` holds of this cross-validation.

        Raises
        ------
        TrainingError
            It is of another one, or none at all.
        """
        try:
            found = CrossValidationSummary.model_validate_json(read_bytes(path))
        except ValidationError as error:
            raise TrainingError(
                f"{path} is no summary of a cross-validation; choose another folder."
            ) from error
        before = {"folds": found.folds, **found.identity}
        now = {"folds": self.folds, **self.identity}
        if changed := [
            f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
            for name in dict.fromkeys([*before, *now])
            if before.get(name) != now.get(name)
        ]:
            raise TrainingError(
                f"{path.parent} cannot be resumed like this: {'; '.join(changed)}. Use the former "
                "ones, or another folder."
            )
        return found

    def write(self, folder: Path) -> None:
        """Write the summary as JSON and as Markdown, replacing an older one."""
        for suffix, text in ((".md", self.markdown()), (".json", self.model_dump_json(indent=2))):
            with atomic_write(folder / f"{SUMMARY_STEM}{suffix}", overwrite=True) as path:
                path.write_text(text + "\n", encoding="utf-8")


def fold_result(fold: int, event: Finished) -> FoldResult:
    """Return the result of the training that ended with `event`."""
    split = read_card(event.best.path).split
    return FoldResult(
        fold=fold,
        metrics={n: v if math.isfinite(v) else None for n, v in event.best.metrics.items()},
        epoch=event.best.epoch + 1,
        reason=event.reason,
        seconds=event.seconds,
        train=split.train,
        test=split.validation,
    )


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"
