"""Trains the toy task in ways that tests compare; started by torchrun, or called in a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import distributed, nn
from toy_task import SETTINGS, Network, ToyTask

from napari_fundus.errors import Cancelled, DivergedError
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import EpochEnd, Step, train

CHANGES = {
    "whole": {},
    "plain": {"optimizer": "sgd", "learning_rate": 0.05, "report_every": 2, "seed": 3},
    "stopped": {"seed": 5, "save_minutes": 60},
    "diverging": {"seed": 7},
}


def task_of(kind: str) -> ToyTask:
    """Return the toy, for "plain" with norms that gather nothing from batch to batch."""
    task = ToyTask()
    if kind == "plain":

        def build() -> nn.Module:
            network = Network()
            network.norms = nn.ModuleList([nn.GroupNorm(2, 8) for _ in range(4)])
            return network

        task.build = build
    return task


def follow(kind: str, folder: Path, *, accumulate: int, rank: int = 0, resume: bool = False):
    """Return losses and metrics of a run, and how it ended."""
    settings = SETTINGS.model_copy(update={**CHANGES[kind], "accumulate": accumulate})
    monitor, losses, metrics = Monitor(), [], []
    task = task_of(kind)
    loss = task.loss
    if rank == 1 and kind == "diverging":
        task.loss = lambda network, batch: loss(network, batch) * float("nan")
    if rank == 1 and kind == "stopped":
        # Only the second process is asked to stop, after seven of its steps.
        made = []

        def counted(network, batch):
            made.append(1)
            if len(made) == 7:
                monitor.cancel()
            return loss(network, batch)

        task.loss = counted
    end = "finished"
    try:
        for event in train(task, settings, folder, device="cpu", monitor=monitor, resume=resume):
            if isinstance(event, Step):
                losses.append(event.loss)
            elif isinstance(event, EpochEnd):
                metrics.append(dict(event.metrics))
    except (Cancelled, DivergedError) as error:
        end = type(error).__name__
    return {"losses": losses, "metrics": metrics, "end": end}


def main(folder: str) -> None:
    """Make every run, and write what became of it in each process."""
    import os

    rank = int(os.environ["RANK"])
    for kind in CHANGES:
        told = follow(kind, Path(folder) / kind, accumulate=1, rank=rank)
        (Path(folder) / f"{kind}-{rank}.json").write_text(json.dumps(told))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
