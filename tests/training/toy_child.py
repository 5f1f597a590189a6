"""The toy task as the child of a training in a process: stands in for the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_task import SETTINGS, ToyTask

from napari_fundus.training import TrainingSettings, train
from napari_fundus.training.jobs.worker import serve


def main(words: list[str]) -> int:
    """Train as ``train toy --data D -o FOLDER [--set NAME=VALUE …] --events`` says."""
    folder = Path(words[words.index("-o") + 1])
    changes = dict(words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "--set")
    settings = TrainingSettings.model_validate({**SETTINGS.model_dump(), **changes})

    def begin(monitor):
        print("this is for people, in the log", flush=True)
        return train(
            ToyTask(),
            settings,
            folder,
            device="cpu",
            monitor=monitor,
            resume="--resume" in words,
        )

    print("this is for people, and no event", flush=True)
    return serve(begin, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
