"""What the comparisons with peers share: contestants, their time and memory, the device's rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from napari_fundus.runtime.devices import Device

__all__ = ["TimedRun", "matmul_rate", "time_interleaved", "time_with_matmul"]

_MEMORY = Path("/proc/self/status")
_MEMORY_RESET = Path("/proc/self/clear_refs")


@dataclass
class TimedRun:
    """An engine, and what was measured of it.

    Attributes
    ----------
    title
        Its line in the table.
    run
        Does the work and gives what is compared, such as a map.
    operations
        Floating-point operations of a run; 0 where they are not the measure.
    seconds, busy
        Of each repeat: on the clock, and the processor time of all threads (on a CPU, the fairer
        measure where other work runs beside).
    shares
        Of each repeat in :func:`time_with_matmul`: its operations a second by what the device did
        in products of matrices just before and after.
    memory
        Peak of a run above its start, MiB.
    result
        The last one.
    """

    title: str
    run: Callable[[], Any]
    operations: float = 0.0
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    memory: float = 0.0
    result: Any = None


def time_with_matmul(contestants: Sequence[TimedRun], device: Device, repeats: int) -> float:
    """Let all run by turns, with the device's rate measured between the turns.

    A processor that is shared, or that changes its clock, is not equally fast throughout: each
    turn's share is of the rate around it.

    Returns
    -------
    float
        The median of the rates, see :func:`matmul_rate`.
    """
    rates = [matmul_rate(device, sustained=True)]
    for _ in range(repeats):
        for contestant in contestants:
            _measure(contestant, device)
            rates.append(matmul_rate(device, sustained=True))
            speed = contestant.operations / contestant.seconds[-1]
            contestant.shares.append(speed / mean(rates[-2:]))
    return median(rates)


def time_interleaved(
    contestants: Sequence[TimedRun],
    device: Device,
    repeats: int,
    *,
    patience: float = float("inf"),
) -> None:
    """Let all run by turns, so that whatever else runs on this machine slows all of them alike.

    Parameters
    ----------
    contestants
        They keep what is measured of them.
    device
        Where they compute.
    repeats
        Turns of each.
    patience
        Who has taken more seconds than this for a turn has no further one.
    """
    for _ in range(repeats):
        for contestant in contestants:
            if max(contestant.seconds, default=0.0) <= patience:
                _measure(contestant, device)


def matmul_rate(device: Device, side: int = 2048, *, sustained: bool = False) -> float:
    """Return how fast `device` multiplies float32 matrices, in operations a second.

    Parameters
    ----------
    device
        Where to compute.
    side
        Of the matrices.
    sustained
        The mean of some products instead of the best one.
    """
    a = torch.ones(side, side, device=device.name)
    (a @ a)[0, 0].item()  # libraries start with their first product
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # reading a value waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / (mean(seconds) if sustained else min(seconds))


def _measure(contestant: TimedRun, device: Device) -> None:
    before = _peak_memory(device, reset=True)
    start, start_busy = time.perf_counter(), time.process_time()
    contestant.result = contestant.run()
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
