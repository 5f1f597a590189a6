"""On a scheduler of one's own: real processes, as a cluster has them, started on this machine."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from napari_fundus.batch import ClusterConfig, run_batch, run_on_cluster
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.errors import CheckpointError, ClusterError
from napari_fundus.export import read_csv

pytestmark = pytest.mark.slow

Draw = Callable[..., Path]

_PATIENCE = 120.0
"""Seconds in which a process must have started, on however busy a machine."""

_DETECTOR = '''
import os
import time
from pathlib import Path

import numpy as np

from napari_fundus.detector import Detector, DetectorOptions, Prediction


class Slow(Detector):
    """Brightness, slowly; notes which process worked on which image."""

    name, title, summary = "slow", "Slow", "Bright pixels"
    lesions = ("EX",)
    Options = DetectorOptions

    def __init__(self, notes):
        self.notes = Path(notes)

    def predict(self, image, options, *, device, monitor):
        (self.notes / image.name).write_text(str(os.getpid()))
        time.sleep(0.1)
        return Prediction({"EX": image.rgb8[..., 1].astype(np.float32) / np.float32(255)})
'''


def test_the_same_results_and_a_killed_worker_loses_and_doubles_nothing(
    draw: Draw, tmp_path: Path, dask, detector
) -> None:
    names = [f"eye{n}.png" for n in range(24)]
    source, out = draw(*names), tmp_path / "out"
    serial = run_batch([source], tmp_path / "serial", detector, formats=["csv", "labels"])
    assert len(serial.written) == len(names)

    started = {process.pid: process for process in (dask.worker("one"), dask.worker("two"))}
    dask.wait_for_workers(2)
    killed: list[int] = []

    def kill(outcome) -> None:
        # The worker of the image that was begun last is in the midst of a lot.
        if not killed:
            last = max((tmp_path / "notes").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            killed.append(int(last.read_text()))
            started[killed[0]].kill()

    report = run_on_cluster(
        [source],
        out,
        detector,
        cluster=ClusterConfig(scheduler=dask.address, images_per_task=4),
        formats=["csv", "labels"],
        on_outcome=kill,
    )
    assert killed
    assert (report.failed, report.interrupted, report.stopped) == (0, False, "")
    assert report.written + report.skipped == len(names)
    images = pq.read_table(out / "images.parquet").to_pandas()
    lesions = pq.read_table(out / "lesions.parquet").to_pandas()
    assert sorted(images["path"]) == sorted(str(source / name) for name in names)
    assert len(lesions) == sum(outcome.counts["EX"] for outcome in serial.outcomes)
    for outcome in serial.outcomes:
        ours, theirs = (
            read_csv(p / f"{outcome.output_stem}.csv") for p in (out, tmp_path / "serial")
        )
        assert ours.equals(theirs)
    assert not list(out.rglob(".*")), "nothing half-written is left"


def test_a_worker_with_another_version_is_told_before_anything_is_done(
    draw: Draw, tmp_path: Path, dask, detector
) -> None:
    (tmp_path / "older.py").write_text(
        "import napari_fundus, napari_fundus._version as v\n"
        "napari_fundus.__version__ = v.__version__ = '0.0.1'"
    )
    dask.worker("older", "--preload", tmp_path / "older.py")
    dask.wait_for_workers(1)
    with pytest.raises(ClusterError, match=r"Worker tcp://.* has napari-fundus 0\.0\.1, the mach"):
        run_on_cluster(
            [draw("a.png")],
            tmp_path / "out",
            detector,
            cluster=ClusterConfig(scheduler=dask.address),
        )
    assert not list((tmp_path / "notes").iterdir())


def test_a_worker_without_the_package_is_told(draw: Draw, tmp_path: Path, dask, detector) -> None:
    (tmp_path / "bare.py").write_text("import sys\nsys.modules['napari_fundus'] = None")
    dask.worker("bare", "--preload", tmp_path / "bare.py")
    dask.wait_for_workers(1)
    with pytest.raises(ClusterError, match="has no napari-fundus that can be imported"):
        run_on_cluster(
            [draw("a.png")],
            tmp_path / "out",
            detector,
            cluster=ClusterConfig(scheduler=dask.address),
        )


def test_workers_without_the_weights_or_with_others_are_told(
    draw: Draw, tmp_path: Path, dask, monkeypatch
) -> None:
    """One image is asked for; of an archive, each would fail with the same message."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(mine))
    cluster = ClusterConfig(scheduler=dask.address)
    order = {"options": {"checkpoint": "my-weights"}, "cluster": cluster}
    with pytest.raises(CheckpointError, match="No checkpoint is called 'my-weights'"):
        run_on_cluster([draw("a.png")], tmp_path / "out", "voting", **order)
    card = ModelCard(name="my-weights", detector="voting")
    save_checkpoint(mine / "my-weights.safetensors", {"w": torch.zeros(3)}, card)

    dask.worker("far", models=theirs)
    dask.wait_for_workers(1)
    with pytest.raises(ClusterError, match="Worker far cannot do the work: No checkpoint is call"):
        run_on_cluster([draw("a.png")], tmp_path / "out", "voting", **order)
    save_checkpoint(theirs / "my-weights.safetensors", {"w": torch.ones(3)}, card)
    with pytest.raises(ClusterError, match="Worker far has other weights of the same name"):
        run_on_cluster([draw("a.png")], tmp_path / "out", "voting", **order)


class Dask:
    """A scheduler, and workers as they are asked for; all end with the test."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self._folder, self._ends = folder, ends
        self._file = folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0")

    def _start(self, kind: str, *words: object, **more: str) -> subprocess.Popen[bytes]:
        log = self._ends.enter_context((self._folder / f"{kind}.log").open("ab"))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dask", kind, "--no-dashboard"),
                *("--scheduler-file", str(self._file), *map(str, words)),
            ],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(self._folder)} | more,
        )
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process

    @property
    def address(self) -> str:
        """Where the scheduler listens, on a port that was free."""
        import json

        self._until(lambda: self._file.exists() and self._file.stat().st_size)
        return str(json.loads(self._file.read_text())["address"])

    def worker(
        self, name: str, *words: object, models: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker process of one thread, without a nanny that would start it again."""
        more = {} if models is None else {"NAPARI_FUNDUS_MODELS": str(models)}
        return self._start(
            "worker", "--name", name, "--nthreads", "1", "--no-nanny", *words, **more
        )

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers have come."""
        from distributed import Client

        with Client(self.address, timeout=_PATIENCE) as client:
            client.wait_for_workers(count, timeout=_PATIENCE)

    def _until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            logs = [path.read_text() for path in self._folder.glob("*.log")]
            assert time.monotonic() < end, "\n".join(logs)
            time.sleep(0.05)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    folder = tmp_path / "code"
    folder.mkdir(exist_ok=True)
    with ExitStack() as ends:
        yield Dask(folder, ends)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A detector that lies where workers find it."""
    place = tmp_path / "code"
    place.mkdir(exist_ok=True)
    (place / "slow_detector.py").write_text(_DETECTOR, encoding="utf-8")
    (tmp_path / "notes").mkdir()
    monkeypatch.syspath_prepend(str(place))
    module = importlib.import_module("slow_detector")
    yield module.Slow(tmp_path / "notes")
    del sys.modules["slow_detector"]
