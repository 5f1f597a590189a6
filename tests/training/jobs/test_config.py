"""The job file: written by window and command line alike, and whatever the training comes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_fundus
from napari_fundus.errors import OutputExistsError, TrainingError
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import Finished, Started
from napari_fundus.training.jobs import worker
from napari_fundus.training.jobs.config import (
    JOB_FILE,
    TrainingConfig,
    read_training_config,
    record_job,
)
from napari_fundus.training.jobs.process import LOG_FILE, run_training_in_subprocess
from napari_fundus.training.loop.preflight import Preflight, SplitReport
from napari_fundus.training.loop.state import BEST_FILE

CONFIG = TrainingConfig(
    detector="toy", data="eyes", settings={"filters": (8, 16), "rate": 1e-3, "seed": "3"}, name="a"
)

SPLIT = SplitReport(images=1, lesions={}, patches={})
STARTED = Started(
    Preflight(
        task="toy",
        device="cpu",
        precision="float32",
        scheme="full",
        train=SPLIT,
        validation=SPLIT,
    ),
    epoch=0,
    step=0,
)


def failing(*events: object):
    """Yield the events, then fail."""
    yield from events
    raise TrainingError("it failed")


def test_a_job_is_read_as_it_was_written_from_file_or_folder(tmp_path) -> None:
    list(record_job(CONFIG, tmp_path, iter([STARTED])))
    read = read_training_config(tmp_path)
    assert read == read_training_config(tmp_path / JOB_FILE)
    assert read.model_dump(mode="json") == CONFIG.model_dump(mode="json")


def test_the_file_is_there_before_the_training_begins(tmp_path) -> None:
    def events():
        assert read_training_config(tmp_path).name == "a"
        yield STARTED

    list(record_job(CONFIG, tmp_path, events()))


@pytest.mark.parametrize("check", [False, True])
def test_a_training_that_does_not_start_leaves_the_former_job(tmp_path, check: bool) -> None:
    list(record_job(CONFIG, tmp_path, iter([STARTED])))
    before = (tmp_path / JOB_FILE).read_bytes()
    other = CONFIG.model_copy(update={"name": "b", "check": check})
    events = failing(STARTED) if check else failing()
    with pytest.raises(TrainingError, match="it failed"):
        list(record_job(other, tmp_path, events))
    assert (tmp_path / JOB_FILE).read_bytes() == before
    with pytest.raises(TrainingError, match="it failed"):
        list(record_job(other.model_copy(update={"check": False}), tmp_path, failing(STARTED)))
    assert read_training_config(tmp_path).name == "b"


def test_a_run_that_is_there_is_neither_started_nor_its_job_replaced(tmp_path) -> None:
    (tmp_path / BEST_FILE).touch()
    with pytest.raises(OutputExistsError):
        list(record_job(CONFIG, tmp_path, iter(())))
    assert [path.name for path in tmp_path.iterdir()] == [BEST_FILE]
    list(record_job(CONFIG.model_copy(update={"overwrite": True}), tmp_path, iter([STARTED])))
    assert (tmp_path / BEST_FILE).exists(), "the training itself removes what it replaces"


def test_a_check_of_a_run_leaves_all_its_files(tmp_path) -> None:
    (tmp_path / LOG_FILE).write_text("of the run")
    (tmp_path / BEST_FILE).touch()
    config = CONFIG.model_copy(update={"check": True, "resume": True})
    program = (sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(TrainingError, match="status 3"):
        list(run_training_in_subprocess(config, tmp_path, monitor=Monitor(), program=program))
    assert {path.name for path in tmp_path.iterdir()} == {LOG_FILE, BEST_FILE}
    assert (tmp_path / LOG_FILE).read_text() == "of the run"


def test_a_run_of_an_earlier_version_can_be_read(tmp_path) -> None:
    content = {"detector": "unet", "data": "/d", "healthy": None, "settings": {"seed": "3"}}
    (tmp_path / "order.json").write_text(json.dumps(content))
    assert read_training_config(tmp_path).settings == {"seed": "3"}
    list(record_job(CONFIG, tmp_path, iter([STARTED])))
    assert read_training_config(tmp_path).detector == "toy"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--resume"),
        ("no JSON", "cannot be read"),
        ('{"detector": "x", "data": "d", "words": []}', "words"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message) -> None:
    if content is not None:
        (tmp_path / JOB_FILE).write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_training_config(tmp_path)


def test_of_several_processes_of_one_training_the_first_writes_the_file(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(worker, "_train", lambda *_: iter(()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert list(worker.run_training(CONFIG, tmp_path / "run", monitor=Monitor())) == []
    assert not (tmp_path / "run").exists()
    assert worker.serve(lambda _: iter(()), tmp_path) == 0


PLUGIN = """
from pathlib import Path
from napari_fundus.detector import Detector, Prediction, hookimpl
from napari_fundus.training import Best, Finished

print("a plugin may print what it likes")

class Theirs(Detector):
    name, title, summary, lesions = "theirs", "Theirs", "A plugin's detector", ("MA",)

    def predict(self, image, options, *, device, monitor):
        return Prediction({})

    def train(self, *, data, output, settings, **rest):
        best = Path(output) / "best.safetensors"
        best.write_text(f"{data} {settings} {rest['name']}")
        yield Finished("epochs", Best(best, 0, {}, "dice", True), 1, 2, 3.0, 0.0)

@hookimpl
def napari_fundus_detectors():
    return [Theirs]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> None:
    """A distribution with a detector, found by the processes that are started."""
    site = tmp_path / "site"
    info = site / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (site / "their_module.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[napari_fundus]\ntheirs = their_module\n")
    source = Path(napari_fundus.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (site, source))))


@pytest.mark.slow
def test_a_detector_of_a_plugin_is_trained_by_its_name(plugin, tmp_path) -> None:
    config = TrainingConfig(detector="theirs", data="eyes", settings={"depth": 3})
    (event,) = run_training_in_subprocess(config, tmp_path / "mine", monitor=Monitor())
    assert isinstance(event, Finished)
    assert event.best.path.read_text() == "eyes {'depth': 3} mine"
    nobody = config.model_copy(update={"detector": "nobody"})
    with pytest.raises(napari_fundus.errors.UnknownDetectorError, match=r"'nobody'.*theirs"):
        list(run_training_in_subprocess(nobody, tmp_path / "other", monitor=Monitor()))


@pytest.mark.slow
def test_another_program_starts_a_job_file_that_it_wrote(plugin, tmp_path) -> None:
    job = tmp_path / "mine" / JOB_FILE
    job.parent.mkdir()
    job.write_text('{"detector": "theirs", "data": "eyes"}')
    # The end of standard input would stop a training that takes longer.
    done = subprocess.run(
        [sys.executable, "-m", "napari_fundus.training.jobs.worker", str(job)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "Finished"
    usage = subprocess.run(
        [sys.executable, "-m", "napari_fundus.training.jobs.worker"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert usage.returncode == 1
    assert "RUN/job.json" in usage.stderr
