"""A crew of threads, one a core: batches side by side instead of every layer split in pieces."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

__all__ = ["TorchThreadPool"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class TorchThreadPool:
    """Threads that each compute with one core.

    Torch splits every operation among the cores and waits for the slowest at its end. For small
    maps these waits cost a sixth of the time on an idle machine, and most of it where other
    programs take a core now and then. Whole batches side by side do not wait for each other.

    A context manager: leaving it lets running jobs end, and drops those not yet begun.

    Parameters
    ----------
    size
        Number of threads; by default as many as torch would use.

    Examples
    --------
    >>> with Crew(2) as crew:
    ...     list(crew.map(lambda x: x * x, range(4)))
    [(0, 0), (1, 1), (2, 4), (3, 9)]
    """

    def __init__(self, size: int | None = None) -> None:
        import torch

        self.size = size or torch.get_num_threads()

    def __enter__(self) -> Self:
        import torch

        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.size, "napari-fundus")
        ready = threading.Barrier(self.size)

        def enlist() -> None:
            torch.set_num_threads(1)
            # A thread takes the shared number over at its first use of it: use it now.
            torch.get_num_threads()
            ready.wait()

        for enlisted in [self._pool.submit(enlist) for _ in range(self.size)]:
            enlisted.result()
        # The number is each thread's own, but what threads begin with is shared: set it back.
        torch.set_num_threads(before)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def map(
        self, work: Callable[[Item], Result], jobs: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each job with its result, in order; few are begun before they are asked for."""
        begun: deque[tuple[Item, Future[Result]]] = deque()
        for job in jobs:
            begun.append((job, self._pool.submit(work, job)))
            if len(begun) > self.size:
                first, future = begun.popleft()
                yield first, future.result()
        for job, future in begun:
            yield job, future.result()
