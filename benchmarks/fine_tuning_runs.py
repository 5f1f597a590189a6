"""The runs of the fine-tuning benchmark: each is made once, and its outcome kept as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.fine_tuning_figures import RunResult, TestMetrics, measure
from benchmarks.simulated_camera import OTHER, SAME, simulate_dataset
from napari_fundus.backends.voting.training import train_voting
from napari_fundus.checkpoints import read_card
from napari_fundus.datasets import Dataset, Sample, split_by_group
from napari_fundus.runtime.files import write_json
from napari_fundus.training import Finished, Started
from napari_fundus.training.patches.folds import iterate_folds

__all__ = ["ExperimentPlan", "ExperimentStore", "make_runs"]


class ExperimentPlan(BaseModel):
    """All that decides on the figures.

    Attributes
    ----------
    camera
        What was done to the target images.
    base, target
        Ids of the images that the weights to start from are trained on, and of those to tune to.
    folds, few
        Of the target images: number of folds, and images to fine-tune on in each.
    network, base_settings, fine_settings
        Settings of the trainings.
    stride
        Distance of the votes when testing, px at the working scale.
    """

    model_config = ConfigDict(frozen=True)

    camera: str
    base: tuple[str, ...]
    target: tuple[str, ...]
    folds: int
    few: int
    network: dict[str, Any]
    base_settings: dict[str, Any]
    fine_settings: dict[str, Any]
    stride: int


@dataclass(frozen=True, eq=False)
class ExperimentStore:
    """Where the runs of a plan are made and kept.

    Attributes
    ----------
    plan
        What decides on the figures.
    folder
        Of results, weights and images.
    device
        Where to compute.
    """

    plan: ExperimentPlan
    folder: Path
    device: str

    def claim(self) -> None:
        """Write the plan into the folder, or stop if it holds the runs of another one."""
        path = self.folder / "plan.json"
        if path.exists() and ExperimentPlan.model_validate_json(path.read_bytes()) != self.plan:
            sys.exit(f"{self.folder} holds the runs of another plan: choose another folder.")
        write_json(path, self.plan.model_dump(mode="json"), overwrite=True)

    def base(self, data: Dataset) -> Path:
        """Return the weights to start from, trained on `data` if they are not there."""
        path, done = self.folder / "base" / "best.safetensors", self.folder / "base.json"
        if not done.exists():
            settings = {**self.plan.network, **self.plan.base_settings}
            _, seconds, end = self._train("base", settings, data=data)
            write_json(done, {"seconds": seconds, **end.best.metrics})
            _say(f"base: {seconds:.0f} s, {dict(end.best.metrics)}")
        return path

    def untrained(self, scheme: str, fold: int, weights: Path, test: Sequence[Sample]) -> RunResult:
        """Measure the weights as they are."""

        def make() -> RunResult:
            measured = self._measure(weights, test, fold)
            ids = tuple(s.id for s in test)
            return RunResult(scheme=scheme, fold=fold, seed=0, test=ids, measured=measured)

        return self._kept(scheme, fold, 0, make)

    def tuned(
        self,
        scheme: str,
        fold: int,
        seed: int,
        *,
        weights: Path,
        data: Dataset,
        test: Sequence[Sample],
    ) -> RunResult:
        """Train by a scheme, or from scratch, on the few images of `data`, and measure."""

        def make() -> RunResult:
            settings: dict[str, Any] = {**self.plan.fine_settings, "seed": seed}
            start: Path | None = weights
            if scheme == "scratch":
                settings, start = {**self.plan.network, **settings}, None
            else:
                settings["scheme"] = scheme
            name = f"runs/{scheme}-fold{fold}-seed{seed}"
            share, seconds, end = self._train(name, settings, data=data, checkpoint=start)
            split = read_card(end.best.path).split
            return RunResult(
                scheme=scheme,
                fold=fold,
                seed=seed,
                train=split.train,
                validation=split.validation,
                test=tuple(s.id for s in test),
                share=share,
                seconds=seconds,
                best_epoch=end.best.epoch + 1,
                measured=self._measure(end.best.path, test, fold),
            )

        return self._kept(scheme, fold, seed, make)

    def _train(
        self, name: str, settings: dict[str, Any], **arguments: Any
    ) -> tuple[float, float, Finished]:
        """Train in the folder `name`, going on where it was; return trained share, time and end.

        On a CPU the time is that of the processor, which other programs do not lengthen; it is of
        this call alone.
        """
        share, end, start = 0.0, None, time.process_time()
        for event in train_voting(
            output=self.folder / name,
            settings=settings,
            device=self.device,
            resume=True,
            command="python -m benchmarks.fine_tuning",
            **arguments,
        ):
            if isinstance(event, Started):
                share = event.report.trainable / event.report.parameters
            elif isinstance(event, Finished):
                end = event
        if end is None:
            raise RuntimeError(f"The training {name} did not end.")
        spent = time.process_time() - start
        return share, spent if self.device == "cpu" else end.seconds, end

    def _measure(self, weights: Path, test: Sequence[Sample], fold: int) -> TestMetrics:
        return measure(weights, test, stride=self.plan.stride, device=self.device, fold=fold)

    def _kept(self, scheme: str, fold: int, seed: int, make: Callable[[], RunResult]) -> RunResult:
        """Return a run's outcome, from its file where it was made before."""
        path = self.folder / "results" / f"{scheme}-fold{fold}-seed{seed}.json"
        if path.exists():
            return RunResult.model_validate_json(path.read_bytes())
        found = make()
        write_json(path, found.model_dump(mode="json"), indent=0)
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in found.measured.metrics.items())
        _say(f"{scheme}, fold {fold}, seed {seed}: {metrics}, {found.seconds:.0f} s")
        return found


def make_runs(
    bench: ExperimentStore,
    weights: Path,
    target: Sequence[Sample],
    *,
    schemes: Sequence[str],
    seeds: int,
) -> dict[str, list[RunResult]]:
    """Return the outcomes of each row of the table, those that were missing made.

    Parameters
    ----------
    bench
        Plan and folder.
    weights
        To start from.
    target
        The photographs of the target part, as they are.
    schemes
        Fine-tuning schemes, and ``"scratch"``.
    seeds
        Fine-tunings of each scheme and fold; a seed draws the few images too.
    """
    images = bench.folder / "images"
    unchanged, other = (simulate_dataset(target, camera, images) for camera in (SAME, OTHER))
    same = {s.id: s for s in unchanged}
    rows: dict[str, list[RunResult]] = {name: [] for name in ("unchanged", "none", *schemes)}
    for fold, (rest, test) in enumerate(iterate_folds(list(other), bench.plan.folds), start=1):
        before = [same[s.id] for s in test]
        rows["unchanged"].append(bench.untrained("unchanged", fold, weights, before))
        rows["none"].append(bench.untrained("none", fold, weights, test))
        part = bench.plan.few / len(rest)
        for seed in range(seeds):
            few = split_by_group(rest, (part, 1 - part), seed=seed)[0]
            data = type(other)(other.root, few)
            for scheme in schemes:
                run = bench.tuned(scheme, fold, seed, weights=weights, data=data, test=test)
                rows[scheme].append(run)
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
