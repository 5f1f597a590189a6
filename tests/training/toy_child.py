"""The toy task as the process of a training: stands in for the worker of the package."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_task import SETTINGS, ToyTask

from napari_fundus.training import TrainingSettings, train
from napari_fundus.training.jobs.config import read_training_config
from napari_fundus.training.jobs.worker import serve


def main(job: Path) -> int:
    """Train the toy task as a job file says."""
    config = read_training_config(job)
    settings = TrainingSettings.model_validate({**SETTINGS.model_dump(), **config.settings})

    def start(monitor):
        print("this is for people, in the log", flush=True)
        return train(
            ToyTask(),
            settings,
            job.parent,
            device="cpu",
            monitor=monitor,
            resume=config.resume,
        )

    print("this is for people, and no event", flush=True)
    return serve(start, job.parent)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
