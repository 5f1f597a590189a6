"""Batches made ahead come in order; waiting is measured; errors and early ends leave no thread."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import pytest

from napari_fundus.training.loop import prefetch
from napari_fundus.training.loop.prefetch import Prefetcher


def names() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("napari-fundus-data")]


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_and_each_once(threads: int) -> None:
    made: list[int] = []

    def make(step: int) -> int:
        time.sleep(0.001 * (step % 3))
        made.append(step)
        return step * step

    with Prefetcher(make, threads=threads) as prefetcher:
        assert list(prefetcher.steps(3, 20)) == [(n, n * n) for n in range(3, 20)]
    assert sorted(made) == list(range(3, 20))
    assert not names()


def test_batches_are_made_while_the_consumer_works() -> None:
    made = [threading.Event() for _ in range(3)]
    with Prefetcher(lambda step: made[step].set()) as prefetcher:
        steps = prefetcher.steps(0, 3)
        next(steps)
        assert all(event.wait(300) for event in made)
        steps.close()


def test_the_seconds_of_waiting_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock gains a second at every look: one for each batch."""
    seconds = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(seconds)))
    monkeypatch.setattr(prefetch, "time", clock)
    with Prefetcher(lambda step: step) as prefetcher:
        assert prefetcher.wait_seconds == 0
        assert len(list(prefetcher.steps(0, 10))) == 10
        assert prefetcher.wait_seconds == 10


def test_no_more_than_asked_for_is_made_ahead() -> None:
    made: list[int] = []
    with Prefetcher(made.append, prefetch_count=2) as prefetcher:
        steps = prefetcher.steps(0, 100)
        next(steps)
        time.sleep(0.05)
        assert len(made) <= 3
        steps.close()
    assert not names()


def test_an_error_in_the_background_reaches_the_consumer() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("broken batch")
        return step

    with Prefetcher(make) as prefetcher, pytest.raises(ValueError, match="broken batch"):
        list(prefetcher.steps(0, 5))
    assert not names()
