"""A training in a process of its own: told, held, stopped, killed, left alone, and resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from napari_fundus.checkpoints import read_card
from napari_fundus.errors import Cancelled, OutputExistsError, TrainingError
from napari_fundus.runtime.progress import Monitor, Progress
from napari_fundus.training import EpochEnd, Finished, Started, Step
from napari_fundus.training.jobs import process
from napari_fundus.training.jobs.config import JOB_FILE, TrainingConfig, read_training_config
from napari_fundus.training.jobs.process import LOG_FILE, run_training_in_subprocess
from napari_fundus.training.loop.state import BEST_FILE, LAST_FILE

pytestmark = pytest.mark.slow

SMALL = {
    "width": 2,
    "patch": 16,
    "disc_diameter": 128,
    "batch_size": 8,
    "steps_per_epoch": 3,
    "max_epochs": 3,
    "validation_tiles": 10,
    "dry_steps": 0,
    "report_every": 1,
}

TOY_CHILD = (sys.executable, str(Path(__file__).parents[1] / "toy_child.py"))


@pytest.fixture
def data(tmp_path: Path, draw) -> Path:
    """Two drawn retinas with masks of microaneurysms."""
    root = tmp_path / "data"
    root.mkdir()
    for seed in range(2):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        Image.fromarray(retina.masks["MA"]).save(root / f"eye{seed}_MA.png")
    return root


def toy(folder: Path, monitor: Monitor, *, resume: bool = False, **settings: object):
    """Start the toy task in a process."""
    config = TrainingConfig(detector="toy", data="none", settings=settings, resume=resume)
    return run_training_in_subprocess(config, folder, monitor=monitor, program=TOY_CHILD)


def test_started_stopped_and_resumed_a_run_ends_as_one_that_was_not(data, tmp_path) -> None:
    config = TrainingConfig(
        detector="voting", data=str(data), settings=SMALL, name="mine", device="cpu"
    )
    run, monitor = tmp_path / "run", Monitor()
    seen = []

    def stop_after_an_epoch() -> None:
        for event in run_training_in_subprocess(config, run, monitor=monitor):
            seen.append(event)
            if isinstance(event, EpochEnd):
                monitor.cancel()

    with pytest.raises(Cancelled, match="resume to go on"):
        stop_after_an_epoch()
    assert isinstance(seen[0], Started)
    assert seen[0].report.train.images == 1
    assert (run / BEST_FILE).exists(), "stopping keeps the best weights"
    assert read_training_config(run) == config
    with pytest.raises(OutputExistsError):
        list(run_training_in_subprocess(config, run, monitor=Monitor()))
    assert read_training_config(run) == config
    resumed = config.model_copy(update={"resume": True})
    rest = list(run_training_in_subprocess(resumed, run, monitor=Monitor()))
    assert (rest[0].epoch, rest[0].step) > (0, 0)
    assert isinstance(rest[-1], Finished)
    assert rest[-1].epochs == 3
    card = read_card(rest[-1].best.path)
    assert card.name == "mine"
    assert card.command.endswith(f"training.jobs.worker {run / JOB_FILE}")


def test_a_check_tells_and_leaves_nothing(data, tmp_path) -> None:
    config = TrainingConfig(
        detector="voting", data=str(data), settings={**SMALL, "show_patches": 4}, check=True
    )
    patches, started = run_training_in_subprocess(config, tmp_path / "run", monitor=Monitor())
    assert patches.images.shape == (4, 16, 16, 3)
    assert set(patches.masks.ravel().tolist()) == {0, 1}
    assert started.report.validation.lesions == {"MA": 3}
    assert not (tmp_path / "run").exists()


def test_a_killed_child_is_reported_and_its_run_goes_on(tmp_path, monkeypatch) -> None:
    children = []
    start = subprocess.Popen
    monkeypatch.setattr(
        process.subprocess, "Popen", lambda *a, **k: children.append(start(*a, **k)) or children[-1]
    )

    def kill_after_two_epochs() -> None:
        epochs = 0
        for event in toy(tmp_path, Monitor(), max_epochs=500):
            epochs += isinstance(event, EpochEnd)
            if epochs == 2:
                children[0].send_signal(signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"killed \(SIGKILL\).*memory.*can be resumed") as told:
        kill_after_two_epochs()
    assert "this is for people" in str(told.value), "the last lines are quoted"
    rest = list(toy(tmp_path, Monitor(), resume=True, max_epochs=4))
    assert rest[0].epoch >= 1
    assert isinstance(rest[-1], Finished)


def test_a_child_that_never_begins_is_reported_with_its_words(tmp_path) -> None:
    program = (sys.executable, "-c", "import sys; sys.exit('no such thing as torch')")
    config = TrainingConfig(detector="toy", data="none")
    with pytest.raises(TrainingError, match=r"status 1.*start it again(?s:.*)no such thing"):
        list(run_training_in_subprocess(config, tmp_path, monitor=Monitor(), program=program))


def test_a_child_that_does_not_stop_is_killed(tmp_path) -> None:
    program = (sys.executable, "-c", "import time; time.sleep(600)")
    monitor = Monitor()
    monitor.cancel()
    events = run_training_in_subprocess(
        TrainingConfig(detector="toy", data="none"),
        tmp_path,
        monitor=monitor,
        program=program,
        kill_timeout=0.2,
    )
    with pytest.raises(TrainingError, match="SIGKILL"):
        list(events)


def test_a_paused_child_does_nothing_until_it_may_go_on(tmp_path) -> None:
    held = threading.Event()
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        if progress.paused:
            held.set()

    monitor = Monitor(listen)
    counted = []
    events = toy(tmp_path, monitor, max_epochs=2, steps_per_epoch=40)

    def read() -> None:
        counted.extend(event for event in events if isinstance(event, Step | Finished))

    reader = threading.Thread(target=read)
    reader.start()
    while not counted:
        time.sleep(0.01)
    monitor.pause()
    assert held.wait(300)
    assert (tmp_path / LAST_FILE).exists(), "a paused run survives the machine being turned off"
    before = len(counted)
    time.sleep(1)
    assert len(counted) == before
    assert told[-1].paused
    monitor.resume()
    reader.join(300)
    assert isinstance(counted[-1], Finished)
    assert sum(isinstance(event, Step) for event in counted) == 80


PARENT = """
import os, sys
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import Step
from napari_fundus.training.jobs.config import TrainingConfig
from napari_fundus.training.jobs.process import run_training_in_subprocess

config = TrainingConfig(detector="toy", data="none", settings={"max_epochs": 100000})
for event in run_training_in_subprocess(
    config, sys.argv[1], monitor=Monitor(), program=sys.argv[2:]
):
    if isinstance(event, Step):
        os._exit(9)
"""


def test_a_child_whose_parent_dies_stops_and_leaves_a_run_to_go_on_with(tmp_path) -> None:
    run = tmp_path / "run"
    code = subprocess.run([sys.executable, "-c", PARENT, str(run), *TOY_CHILD], check=False)
    assert code.returncode == 9
    limit = time.monotonic() + 300
    while not (run / LAST_FILE).exists() and time.monotonic() < limit:
        time.sleep(0.05)
    # The child's own log is open until it is gone.
    while _is_open(run / LOG_FILE) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not _is_open(run / LOG_FILE)
    stopped_at = (run / LAST_FILE).stat().st_mtime_ns
    rest = list(toy(run, Monitor(), resume=True, max_epochs=2))
    assert (rest[0].epoch, rest[0].step) > (0, 0)
    assert (run / LAST_FILE).stat().st_mtime_ns > stopped_at


def _is_open(path: Path) -> bool:
    """Whether some process has the file open."""
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if place.samefile(path):
                return True
        except OSError:
            continue
    return False
