"""Starts the same work again and again in processes of their own, quickly, and kills them.

Run as a script: everything is imported once, and each child is a fork of that. A line of JSON on
standard input, ``{"work": NAME, "arguments": {…}, "signs": NUMBER, "delay": SECONDS}``, starts a
child; it is killed so many seconds after that many signs of work (null: never), and a line says how
it ended. Signs are counted, so that a kill strikes at the same place on a slow machine.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import numpy as np
from PIL import Image
from toy_task import SETTINGS, ToyTask

from napari_fundus.batch import run_batch
from napari_fundus.detector import Detector, Prediction
from napari_fundus.training import Started, Step, train


class Bright(Detector):
    """Takes brightness for exudates."""

    name = "bright"
    title = "Brightness"
    summary = "Bright pixels"
    lesions = ("EX",)

    def predict(self, image: Any, options: Any, *, device: Any, monitor: Any) -> Prediction:
        return Prediction({"EX": (image.rgb8[..., 1] / 255).astype("float32")})


def batch(sign: Callable[[], None], *, early: bool = False, **arguments: Any) -> None:
    """Run a batch with the detector above; each result is a sign, and its start if `early`."""
    if early:
        sign()

    def tell(outcome: Any) -> None:
        if outcome.status == "written":
            sign()

    report = run_batch(detector=Bright(), device="cpu", on_outcome=tell, **arguments)
    if report.failed:
        raise AssertionError(report.failed[0].message)


def training(sign: Callable[[], None], folder: str, **changes: Any) -> None:
    """Train the toy, resuming what there is; its start and each step are signs of work."""
    settings = SETTINGS.model_copy(update=changes)
    for event in train(ToyTask(), settings, folder, device="cpu", resume=True):
        if isinstance(event, Started | Step):
            sign()


WORKS = {"batch": batch, "training": training}


def fork(work: str, arguments: dict[str, Any], signs: int | None, delay: float) -> str:
    """Return ``"killed"``, ``"done"`` or ``"failed"``."""
    seen, told = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            WORKS[work](lambda: os.write(told, b"!") and None, **arguments)
            status = 0
        finally:
            if status:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(status)  # whatever was raised, the child must not go on as the nursery
    os.close(told)
    left = signs
    while left is None or left > 0:
        received = len(os.read(seen, left or 4096))
        if not received:  # it ended
            break
        left = None if left is None else left - received
    if signs is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)  # it is not yet waited for, so the number is still its own
    os.close(seen)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "failed" if os.WEXITSTATUS(status) else "done"


def warm_up() -> None:
    """Do both works once, so that what they import late need not be imported in each child."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = np.full((80, 100, 3), 60, np.uint8)
        pixels[20:30, 20:30] = 200
        Image.fromarray(pixels).save(folder / "eye.png")
        out, formats = folder / "out", ("csv", "labels")
        batch(lambda: None, sources=[folder], output=out, formats=formats)
        training(lambda: None, str(folder / "run"), max_epochs=1, steps_per_epoch=1)


def main() -> None:
    """Serve requests until standard input ends."""
    import torch

    torch.set_num_threads(1)
    warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        print(fork(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
