"""What the comparisons with peers share: contestants, their time and memory, the device's rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_fundus.devices import Device

__all__ = ["Contestant", "compete", "matmul_rate"]

Float = npt.NDArray[np.float32]

_MEMORY = Path("/proc/self/status")
_MEMORY_RESET = Path("/proc/self/clear_refs")


@dataclass
class Contestant:
    """An engine, and what was measured of it.

    Attributes
    ----------
    title
        Its line in the table.
    run
        Gives the map, shape (H, W).
    operations
        Floating-point operations of a run.
    seconds, busy
        Of each repeat: on the clock, and the processor time of all threads (on a CPU, the fairer
        measure where other work runs beside).
    memory
        Peak of the first run above the start, MiB.
    map
        The last result.
    """

    title: str
    run: Callable[[], Float]
    operations: float
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    memory: float = 0.0
    map: Float = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def compete(contestants: Sequence[Contestant], device: Device, repeats: int) -> float:
    """Let all run by turns, so that whatever else runs on this machine slows all of them alike.

    Returns
    -------
    float
        The highest rate of :func:`matmul_rate`, measured between the turns.
    """
    rates: list[float] = []
    for _ in range(repeats):
        rates.append(matmul_rate(device))
        for contestant in contestants:
            _measure(contestant, device)
    return max(rates)


def matmul_rate(device: Device, side: int = 2048) -> float:
    """Return how fast `device` multiplies float32 matrices, in operations a second."""
    a = torch.ones(side, side, device=device.name)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # reading a value waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def _measure(contestant: Contestant, device: Device) -> None:
    before = _peak_memory(device, reset=True)
    start, start_busy = time.perf_counter(), time.process_time()
    contestant.map = contestant.run()
    contestant.seconds.append(time.perf_counter() - start)
    contestant.busy.append(time.process_time() - start_busy)
    contestant.memory = max(contestant.memory, _peak_memory(device) - before)


def _peak_memory(device: Device, *, reset: bool = False) -> float:
    """Return the highest memory in use since the last reset, MiB; on a CPU, of the process."""
    if device.kind == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device.name)
        return torch.cuda.max_memory_allocated(device.name) / 2**20
    if not _MEMORY_RESET.exists():
        return float("nan")
    if reset:
        _MEMORY_RESET.write_text("5", encoding="ascii")
    line = next(x for x in _MEMORY.read_text(encoding="ascii").splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1024
