"""Pieces of a work are done one an event-loop turn."""

from __future__ import annotations

from itertools import pairwise

import pytest
from qtpy.QtCore import QTimer

from napari_fundus.gui.layers.event_loop import StepRunner


@pytest.fixture
def log() -> list[str]:
    return []


def steps(log: list[str], name: str, count: int = 3):
    for number in range(count):
        log.append(f"{name}{number}")
        yield


def test_the_loop_gets_a_turn_between_any_two_pieces(qtbot, log) -> None:
    beat = QTimer()
    beat.timeout.connect(lambda: log.append("-"))
    beat.start(1)
    StepRunner(beat).start(steps(log, "a"), lambda: log.append("end"))
    assert log == []
    qtbot.waitUntil(lambda: "end" in log, timeout=300_000)
    pieces = [place for place, said in enumerate(log) if said != "-"]
    assert [log[place] for place in pieces] == ["a0", "a1", "a2", "end"]
    assert all(later - first > 1 for first, later in pairwise(pieces))


def test_a_new_work_takes_the_place_of_the_one_under_way(qtbot, log) -> None:
    turns = StepRunner()
    turns.start(steps(log, "a"), lambda: log.append("a ended"))
    qtbot.waitUntil(lambda: "a0" in log, timeout=300_000)
    turns.start(steps(log, "b", 1), lambda: log.append("b ended"))
    qtbot.waitUntil(lambda: "b ended" in log, timeout=300_000)
    qtbot.wait(80)
    assert log == ["a0", "b0", "b ended"]


def test_a_piece_may_begin_another_work(qtbot, log) -> None:
    turns = StepRunner()

    def first():
        log.append("a0")
        turns.start(steps(log, "b", 2), lambda: log.append("b ended"))
        yield
        log.append("never")

    turns.start(first(), lambda: log.append("a ended"))
    qtbot.waitUntil(lambda: "b ended" in log, timeout=300_000)
    assert log == ["a0", "b0", "b1", "b ended"]


def test_after_stop_nothing_is_done(qtbot, log) -> None:
    turns = StepRunner()
    turns.start(steps(log, "a"), lambda: log.append("end"))
    turns.stop()
    qtbot.wait(80)
    assert log == []


def test_the_first_piece_may_be_done_at_once(qtbot, log) -> None:
    turns = StepRunner()
    turns.start(steps(log, "a", 2), lambda: log.append("end"), first_step_now=True)
    assert log == ["a0"]
    qtbot.waitUntil(lambda: "end" in log, timeout=300_000)
    assert log == ["a0", "a1", "end"]
    turns.start(iter(()), lambda: log.append("nothing to do"), first_step_now=True)
    assert log[-1] == "nothing to do"
    assert not turns.busy


def test_what_is_left_can_be_finished_now(qtbot, log) -> None:
    turns = StepRunner()
    turns.start(steps(log, "a"), lambda: log.append("end"), first_step_now=True)
    turns.finish()
    assert log == ["a0", "a1", "a2", "end"]
    turns.finish()
    qtbot.wait(80)
    assert log == ["a0", "a1", "a2", "end"]
