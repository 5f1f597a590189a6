"""Batches prefetched in background threads, in order; the time spent waiting is counted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

from napari_fundus.runtime.devices import Device

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Calls ``make(step)`` for coming steps while the device works on the present one.

    Parameters
    ----------
    make
        A function of the step alone; called in background threads, for several steps at a time.
    prefetch_count
        How many batches are kept ready.
    threads
        How many threads make them. The work is copying of memory, which one or two threads do.

    Attributes
    ----------
    waited
        Seconds that the consumer had to wait so far.
    """

    def __init__(
        self, make: Callable[[int], T], *, prefetch_count: int = 4, threads: int = 1
    ) -> None:
        self._make = make
        self._prefetch_count = prefetch_count
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="napari-fundus-data")
        self.wait_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, T]]:
        """Yield step and batch from `start` to before `stop`."""
        waiting: deque[Future[T]] = deque()
        upcoming = iter(range(start, stop))
        try:
            for step in range(start, stop):
                while (
                    len(waiting) < self._prefetch_count
                    and (following := next(upcoming, None)) is not None
                ):
                    waiting.append(self._pool.submit(self._make, following))
                begin = time.perf_counter()
                batch = waiting.popleft().result()
                self.wait_seconds += time.perf_counter() - begin
                yield step, batch
        finally:
            for future in waiting:
                future.cancel()


def pin_batch(batch: Any, device: Device) -> Any:
    """Put a batch, tensors in any nesting, into memory from which a GPU fetches it meanwhile."""
    if device.kind != "cuda":
        return batch
    import torch
    from torch.utils._pytree import tree_map

    return tree_map(lambda x: x.pin_memory() if isinstance(x, torch.Tensor) else x, batch)
