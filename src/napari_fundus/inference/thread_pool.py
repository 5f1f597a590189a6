"""A pool of threads, one a core: batches side by side instead of every layer split in pieces."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from napari_fundus.runtime.devices import Device

Item = TypeVar("Item")
Result = TypeVar("Result")


class TorchThreadPool:
    """Threads that each compute with one core; a pool of one is the calling thread itself.

    Torch splits every operation among the cores and waits for the slowest at its end. For small
    maps these waits cost a sixth of the time on an idle machine, and most of it where other
    programs take a core now and then. Whole batches side by side do not wait for each other.

    A context manager: leaving it waits for running jobs, and drops those not yet started.

    Parameters
    ----------
    size
        Number of threads; by default as many as torch would use.

    Examples
    --------
    >>> with TorchThreadPool(2) as pool:
    ...     list(pool.map(lambda x: x * x, range(4)))
    [(0, 0), (1, 1), (2, 4), (3, 9)]
    """

    def __init__(self, size: int | None = None) -> None:
        import torch

        self.size = size or torch.get_num_threads()

    def __enter__(self) -> Self:
        import torch

        self._pool: ThreadPoolExecutor | None = None
        if self.size == 1:
            return self
        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.size, "napari-fundus")
        started = threading.Barrier(self.size)

        def use_one_core() -> None:
            torch.set_num_threads(1)
            # A thread takes over the shared number at its first use of it: use it now.
            torch.get_num_threads()
            started.wait()

        for future in [self._pool.submit(use_one_core) for _ in range(self.size)]:
            future.result()
        # The number is each thread's own, but what threads start with is shared: set it back. An
        # initializer of the executor would not do: it starts threads late, one by one.
        torch.set_num_threads(before)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(
        self, work: Callable[[Item], Result], jobs: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each job with its result, in order; few are started before they are needed."""
        if self._pool is None:
            yield from ((job, work(job)) for job in jobs)
            return
        started: deque[tuple[Item, Future[Result]]] = deque()
        for job in jobs:
            started.append((job, self._pool.submit(work, job)))
            if len(started) > self.size:
                first, future = started.popleft()
                yield first, future.result()
        for job, future in started:
            yield job, future.result()


def batch_workers(device: Device) -> TorchThreadPool:
    """Return what runs batches on a device: on a CPU a thread a core, else the calling thread."""
    return TorchThreadPool(None if device.kind == "cpu" else 1)
