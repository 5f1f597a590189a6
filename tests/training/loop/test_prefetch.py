"""Batches made ahead come in order; waiting is measured; errors and early ends leave no thread."""

from __future__ import annotations

import threading
import time

import pytest

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
    with Prefetcher(lambda step: time.sleep(0.01)) as quick:
        for _ in quick.steps(0, 10):
            time.sleep(0.03)
    with Prefetcher(lambda step: time.sleep(0.03)) as slow:
        for _ in slow.steps(0, 10):
            pass
    assert quick.wait_seconds < 0.1
    assert slow.wait_seconds > 0.2


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
