"""Progress is passed on in order, and a job stops at its next step once it is cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from napari_fundus.errors import Cancelled
from napari_fundus.runtime.progress import Monitor, Progress


def test_steps_are_reported_as_they_are_made() -> None:
    seen: list[Progress] = []
    monitor = Monitor(seen.append)
    monitor.step(0.25, "tiles")
    monitor.step(1)
    assert seen == [Progress(0.25, "tiles"), Progress(1.0, "")]


@pytest.mark.parametrize(("given", "reported"), [(-0.5, 0.0), (1.0001, 1.0), (0.5, 0.5)])
def test_fractions_stay_between_0_and_1(given: float, reported: float) -> None:
    seen: list[Progress] = []
    Monitor(seen.append).step(given)
    assert seen[0].fraction == reported


def test_a_monitor_without_a_listener_still_cancels() -> None:
    monitor = Monitor()
    monitor.step(0.5)
    monitor.cancel()
    assert monitor.cancelled
    with pytest.raises(Cancelled):
        monitor.step(0.6)
    with pytest.raises(Cancelled):
        monitor.check()


def test_no_progress_is_reported_after_cancelling() -> None:
    seen: list[Progress] = []
    monitor = Monitor(seen.append)
    monitor.cancel()
    with pytest.raises(Cancelled):
        monitor.step(0.5)
    assert seen == []


def test_cancelling_from_another_thread_stops_the_job() -> None:
    monitor = Monitor()
    started, outcome = threading.Event(), []

    def job() -> None:
        try:
            while True:
                started.set()
                monitor.step(0.1)
                time.sleep(0.001)
        except Cancelled:
            outcome.append("cancelled")

    worker = threading.Thread(target=job)
    worker.start()
    assert started.wait(300)
    monitor.cancel()
    worker.join(300)
    assert not worker.is_alive()
    assert outcome == ["cancelled"]


def test_the_listener_may_cancel_from_within() -> None:
    monitor = Monitor(lambda progress: monitor.cancel())
    monitor.step(0.1)
    with pytest.raises(Cancelled):
        monitor.step(0.2)


def test_a_part_maps_its_range_into_the_whole() -> None:
    seen: list[Progress] = []
    part = Monitor(seen.append).part(0.5, 0.9)
    for fraction in (0.0, 0.5, 1.0):
        part.step(fraction, "half")
    assert [p.fraction for p in seen] == pytest.approx([0.5, 0.7, 0.9])
    assert {p.message for p in seen} == {"half"}


def test_parts_of_parts_nest() -> None:
    seen: list[Progress] = []
    Monitor(seen.append).part(0.5, 1.0).part(0.0, 0.5).step(1.0)
    assert seen[0].fraction == pytest.approx(0.75)


@pytest.mark.parametrize("cancel_child", [True, False])
def test_whole_and_part_are_cancelled_together(cancel_child: bool) -> None:
    whole = Monitor()
    part = whole.part(0, 1)
    (part if cancel_child else whole).cancel()
    assert whole.cancelled
    assert part.cancelled
    with pytest.raises(Cancelled):
        whole.step(0.1)
    with pytest.raises(Cancelled):
        part.step(0.1)


def test_track_yields_everything_and_ends_at_1() -> None:
    seen: list[Progress] = []
    assert list(Monitor(seen.append).track([5, 6, 7, 8], message="images")) == [5, 6, 7, 8]
    assert [p.fraction for p in seen] == [0.25, 0.5, 0.75, 1.0]
    assert seen[0].message == "images"


def _numbers() -> Iterator[int]:
    yield from range(4)


def test_track_takes_the_length_of_an_iterator_from_total() -> None:
    seen: list[Progress] = []
    assert list(Monitor(seen.append).track(_numbers(), total=8)) == [0, 1, 2, 3]
    assert seen[-1].fraction == 0.5


def test_track_without_a_length_reports_no_made_up_progress() -> None:
    seen: list[Progress] = []
    assert len(list(Monitor(seen.append).track(_numbers()))) == 4
    assert {p.fraction for p in seen} == {0.0}


def test_track_of_nothing_is_nothing() -> None:
    seen: list[Progress] = []
    assert list(Monitor(seen.append).track([])) == []
    assert seen == []


def test_track_stops_before_the_next_item_once_cancelled() -> None:
    monitor = Monitor()
    tracked = monitor.track(range(10))
    assert next(tracked) == 0
    assert next(tracked) == 1
    monitor.cancel()
    with pytest.raises(Cancelled):
        next(tracked)


def test_a_paused_job_waits_at_its_next_step_and_says_so() -> None:
    seen: list[Progress] = []
    told, done = threading.Event(), threading.Event()

    def listen(progress: Progress) -> None:
        seen.append(progress)
        if progress.paused:
            told.set()

    monitor = Monitor(listen)
    monitor.step(0.3, "tiles")
    monitor.pause()
    assert monitor.paused

    def job() -> None:
        monitor.part(0.0, 1.0).step(0.6, "tiles")
        done.set()

    worker = threading.Thread(target=job, daemon=True)
    worker.start()
    assert told.wait(300)
    assert not done.wait(0.15)
    monitor.resume()
    worker.join(300)
    assert done.is_set()
    assert [p.paused for p in seen] == [False, True, False]
    assert seen[-1] == Progress(0.6, "tiles")
    assert monitor.paused_seconds >= 0.15


def test_cancelling_ends_a_pause() -> None:
    monitor = Monitor()
    monitor.pause()
    threading.Timer(0.05, monitor.cancel).start()
    with pytest.raises(Cancelled):
        monitor.check()
    monitor.pause()
    assert not monitor.paused, "a cancelled job is not paused_seconds back from ending"


def test_progress_is_told_without_waiting_where_a_job_is_paused() -> None:
    seen: list[Progress] = []
    monitor = Monitor(seen.append)
    monitor.pause()
    monitor.report(Progress(0.5, "elsewhere"))
    assert seen == [Progress(0.5, "elsewhere")]
