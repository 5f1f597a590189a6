"""On a cluster: the files of one process, nothing lost or doubled, whatever dies."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tifffile import imread

from napari_fundus._version import __version__
from napari_fundus.batch import ClusterConfig, run_batch, run_on_cluster
from napari_fundus.batch import cluster as cluster_module
from napari_fundus.batch import worker as workers
from napari_fundus.batch.worker import assign_device
from napari_fundus.errors import ClusterError, OptionsError, OutputExistsError
from napari_fundus.export import read_csv
from napari_fundus.runtime.devices import CPU, Device, DeviceStatus
from napari_fundus.runtime.progress import Monitor

pytestmark = pytest.mark.slow

Draw = Callable[..., Path]

_DETECTOR = '''
import os
import time
from pathlib import Path

import numpy as np

from napari_fundus.detector import Detector, DetectorOptions, Prediction


class Remote(Detector):
    """Brightness; what it does else stands in the image's name."""

    name, title, summary = "remote", "Remote", "Bright pixels"
    lesions = ("EX",)
    Options = DetectorOptions

    def __init__(self, notes):
        self.notes = Path(notes)

    def predict(self, image, options, *, device, monitor):
        tries = self.notes / image.name
        with tries.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        count = len(tries.read_text().split())
        time.sleep(0.1)
        if image.name.startswith("fragile") and count == 1:
            raise OSError("the disk was away")
        if image.name.startswith("hopeless"):
            raise RuntimeError("never")
        if image.name.startswith("deadly"):
            os._exit(9)
        return Prediction({"EX": image.rgb8[..., 1].astype(np.float32) / np.float32(255)})
'''


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A detector that worker processes can import; it notes who worked on which image."""
    place = tmp_path / "code"
    place.mkdir()
    (place / "remote_detector.py").write_text(_DETECTOR, encoding="utf-8")
    (tmp_path / "notes").mkdir()
    monkeypatch.syspath_prepend(str(place))
    module = importlib.import_module("remote_detector")
    yield module.Remote(tmp_path / "notes")
    del sys.modules["remote_detector"]


def tables(out: Path):
    """Return both tables, sorted by image."""
    read = (pq.read_table(out / f"{name}.parquet").to_pandas() for name in ("images", "lesions"))
    return tuple(table.sort_values("path", ignore_index=True) for table in read)


def test_a_worker_killed_half_way_loses_and_doubles_nothing(
    draw: Draw, tmp_path: Path, detector
) -> None:
    names = [f"{folder}/eye{n}.png" for folder in "ab" for n in range(12)]
    source, out = draw(*names), tmp_path / "out"
    killed: list[int] = []

    def kill(outcome) -> None:
        # The worker of the image that was begun last is in the midst of a lot.
        if not killed:
            last = max((tmp_path / "notes").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            killed.append(int(last.read_text().split()[-1]))
            os.kill(killed[0], signal.SIGKILL)

    cluster = ClusterConfig(workers=2, images_per_task=4)
    seen: list[str] = []
    report = run_on_cluster(
        [source],
        out,
        detector,
        cluster=cluster,
        formats=["csv", "labels"],
        on_outcome=kill,
        on_dashboard=seen.append,
    )
    assert killed
    assert (report.failed, report.interrupted, report.stopped) == (0, False, "")
    assert report.written + report.skipped == len(names)
    assert seen[0].startswith("http://127.0.0.1")

    images, lesions = tables(out)
    assert sorted(images["path"]) == sorted(str(source / name) for name in names)
    serial = run_batch([source], tmp_path / "serial", detector, formats=["csv", "labels"])
    assert len(serial.written) == len(names)
    for outcome in serial.outcomes:
        row = images[images["path"] == str(outcome.path)].iloc[0]
        assert (row["EX"], row["place"]) == (outcome.counts["EX"], outcome.output_stem.as_posix())
        ours, theirs = (
            read_csv(p / f"{outcome.output_stem}.csv") for p in (out, tmp_path / "serial")
        )
        assert ours.equals(theirs)
        mine = lesions[lesions["path"] == str(outcome.path)][list(ours.columns)]
        assert mine.reset_index(drop=True).to_dict("list") == ours.to_dict("list")
        drawn, alone = (
            imread(p / f"{outcome.output_stem}.labels.tif") for p in (out, tmp_path / "serial")
        )
        np.testing.assert_array_equal(drawn, alone)
    assert not list(out.rglob(".*")), "nothing half-written is left"


def test_failures_are_tried_again_told_and_resumed(draw: Draw, tmp_path: Path, detector) -> None:
    names = ["deadly.png", "fine0.png", "fine1.png", "fragile.png", "hopeless.png"]
    source, out = draw(*names), tmp_path / "out"
    (source / "broken.png").write_bytes(b"\x89PNG nonsense")
    cluster = ClusterConfig(workers=1, images_per_task=6, retries=1)
    report = run_on_cluster([source], out, detector, cluster=cluster, formats=["csv"])
    why = {outcome.path.name: outcome.message for outcome in report.failures}
    assert sorted(why) == ["broken.png", "deadly.png", "hopeless.png"]
    assert "not an image" in why["broken.png"]
    assert "Its worker died" in why["deadly.png"]
    assert "never" in why["hopeless.png"]
    assert report.written + report.skipped == 3
    tries = {path.name: len(path.read_text().split()) for path in (tmp_path / "notes").iterdir()}
    assert tries["fragile"] == 2
    assert tries["hopeless"] == 2
    assert (tries["fine0"], tries["fine1"]) == (1, 1), "done, although their worker died later"

    # The serial run finds the same done, and the cluster finds what the serial run did.
    (source / "deadly.png").unlink()
    again = run_batch([source], out, detector, formats=["csv"])
    assert sorted(o.path.name for o in again.skipped) == ["fine0.png", "fine1.png", "fragile.png"]
    images, lesions = tables(out)
    assert dict(images["status"].value_counts())["failed"] == 3
    assert images[images["status"] == "failed"]["EX"].isna().all()
    assert set(lesions["path"]) == {str(o.path) for o in again.skipped}

    # A run that is stopped, here by its limit of failures, keeps what is done.
    most = ClusterConfig(workers=1, images_per_task=1, retries=0, max_failures=0)
    stopped = run_on_cluster([source], out, detector, cluster=most, formats=["csv"])
    assert stopped.stopped == "More than 0 images failed."
    assert (out / "fine1.csv").is_file()


def test_a_worker_that_dask_does_not_start_again_is_replaced(
    draw: Draw, tmp_path: Path, detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask forgets a worker that dies while its nanny still waits to hear that it has started."""

    async def forget(nanny: object, exitcode: int) -> None:
        exits.append(exitcode)

    exits: list[int] = []
    monkeypatch.setattr("distributed.Nanny._on_worker_exit", forget)
    monkeypatch.setattr("napari_fundus.batch.cluster._POLLS_WITHOUT_WORKER", 2)
    source = draw("deadly.png", "fine.png")
    one = ClusterConfig(workers=1, images_per_task=1, retries=0)
    report = run_on_cluster([source], tmp_path / "out", detector, cluster=one, formats=["csv"])
    assert [outcome.path.name for outcome in report.failures] == ["deadly.png"]
    assert (report.written, report.skipped) == (1, 0)
    assert 9 in exits


def test_cancelling_and_a_table_of_others(draw: Draw, tmp_path: Path, detector) -> None:
    source, out = draw(*(f"eye{n}.png" for n in range(30))), tmp_path / "out"
    monitor = Monitor()
    report = run_on_cluster(
        [source],
        out,
        detector,
        cluster=ClusterConfig(workers=1, images_per_task=2),
        formats=["csv"],
        monitor=monitor,
        on_outcome=lambda _: monitor.cancel(),
    )
    assert report.interrupted
    assert 0 < report.written < 30
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "images.parquet").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"images\.parquet"):
        run_on_cluster(
            [source],
            tmp_path / "other",
            detector,
            cluster=ClusterConfig(workers=1),
            formats=["csv"],
        )


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"workers": 0},
        {"workers": 1, "scheduler": "tcp://here:1"},
        {"workers": 1, "images_per_task": 0},
        {"workers": 1, "retries": -1},
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(bad) -> None:
    with pytest.raises(OptionsError):
        ClusterConfig(**bad)


def test_a_scheduler_that_is_not_there_is_told(draw: Draw, tmp_path: Path, monkeypatch) -> None:
    import distributed

    def refused(*_: object, **__: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(distributed, "Client", refused)
    with pytest.raises(ClusterError, match="tcp://nowhere:1: connection refused"):
        run_on_cluster(
            [draw("a.png")],
            tmp_path / "out",
            "tophat",
            cluster=ClusterConfig(scheduler="tcp://nowhere:1"),
        )
    assert not (tmp_path / "out" / "images.parquet").exists()


def test_workers_of_one_machine_share_its_gpus_out(monkeypatch, detector) -> None:
    cards = tuple(Device(f"cuda:{n}", f"card {n}") for n in range(2))
    monkeypatch.setattr(workers, "available_devices", lambda: DeviceStatus((*cards, CPU)))
    monkeypatch.setattr(workers, "choose_device", lambda *_, **__: cards[0])
    assert [assign_device(n, "auto", detector) for n in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert assign_device("tcp://10.0.0.1:4", "cuda", detector) == "cuda:0"


class FakeClient:
    """Answers as told: what is an error is raised, and what is None never comes."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.never = threading.Event()

    def _next(self, *_: Any, **__: Any) -> Any:
        answer = self.answers.pop(0)
        if answer is None:
            self.never.wait()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    run = register_plugin = _next


def test_a_scheduler_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_ANSWER_SECONDS", 0.05)
    client = FakeClient(None)
    with pytest.raises(ClusterError, match="has not answered for 0.05 seconds"):
        cluster_module._check_versions(client)
    client.never.set()


def test_a_worker_that_dies_while_it_is_asked_does_not_end_the_run() -> None:
    cluster_module._check_versions(FakeClient({"a": __version__, "b": OSError("closed")}))
    with pytest.raises(ClusterError, match="Worker a has no napari-fundus"):
        cluster_module._check_versions(FakeClient({"a": ImportError("no module")}))


@pytest.mark.parametrize("deaths", [1, 4])
def test_a_worker_that_dies_while_it_gets_the_work_does_not_end_the_run(
    deaths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_POLL_SECONDS", 0.0)
    client = FakeClient(*[OSError("closed")] * deaths, {})
    run = cluster_module._ClusterRun(client, *[None] * 5)  # type: ignore[arg-type]
    run._register_plugin()
    assert client.answers == []
    run.client = FakeClient(*[OSError("closed")] * 5)
    with pytest.raises(ClusterError, match="cannot be reached: closed"):
        run._register_plugin()
