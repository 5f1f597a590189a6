"""The crew of threads: order kept, errors passed on, little begun ahead."""

from __future__ import annotations

import threading

import pytest
import torch

from napari_fundus.inference.thread_pool import TorchThreadPool


def test_results_come_in_order_though_jobs_end_out_of_order() -> None:
    done = [threading.Event() for _ in range(10)]

    def work(job: int) -> int:
        if job % 2 == 0:
            assert done[job + 1].wait(300)
        done[job].set()
        return -job

    with TorchThreadPool(3) as crew:
        assert list(crew.map(work, range(10))) == [(n, -n) for n in range(10)]


def test_each_thread_computes_with_one_core() -> None:
    with TorchThreadPool(2) as crew:
        seen = [threads for _, threads in crew.map(lambda _: torch.get_num_threads(), range(6))]
    assert seen == [1] * 6


def test_an_error_in_a_job_reaches_the_caller_and_ends_the_crew() -> None:
    done: list[int] = []

    def work(job: int) -> None:
        if job == 1:
            raise RuntimeError("broken")
        done.append(job)

    with pytest.raises(RuntimeError, match="broken"), TorchThreadPool(2) as crew:
        list(crew.map(work, range(100)))
    assert len(done) < 10


def test_jobs_are_drawn_only_shortly_before_they_run() -> None:
    drawn: list[int] = []

    def jobs() -> object:
        for job in range(50):
            drawn.append(job)
            yield job

    with TorchThreadPool(2) as crew:
        next(iter(crew.map(lambda job: job, jobs())))  # type: ignore[arg-type]
    assert len(drawn) <= 4
