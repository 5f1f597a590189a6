"""What the machine can do at most, measured: arithmetic, copying of memory, reading of files."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.peers import matmul_rate
from napari_fundus.runtime.devices import CPU

__all__ = ["LeastWork", "MachineLimits", "measure_machine", "processor_name"]


@dataclass(frozen=True)
class MachineLimits:
    """The limits.

    Attributes
    ----------
    arithmetic
        Operations a second of a product of float32 matrices.
    memory
        Bytes a second, read and written, of copying what no cache holds, with all cores.
    files
        Bytes a second of reading a file that the operating system has in memory.
    """

    arithmetic: float
    memory: float
    files: float

    def elementwise_max(self, other: MachineLimits) -> MachineLimits:
        """Return the higher limits of two measurements."""
        return MachineLimits(
            max(self.arithmetic, other.arithmetic),
            max(self.memory, other.memory),
            max(self.files, other.files),
        )


@dataclass(frozen=True)
class LeastWork:
    """The least work that a result takes, whoever does it.

    Attributes
    ----------
    operations
        Floating-point operations.
    moved
        Bytes of memory that have to be read or written once.
    stored
        Bytes of files that have to be read.
    """

    operations: float = 0.0
    moved: float = 0.0
    stored: float = 0.0

    def min_seconds(self, machine: MachineLimits) -> float:
        """Return the time that the scarcest resource takes, all others working beside it."""
        return max(
            self.operations / machine.arithmetic,
            self.moved / machine.memory,
            self.stored / machine.files,
        )


def measure_machine(*, megabytes: int = 128) -> MachineLimits:
    """Return the limits, measured with arrays and a file of so many megabytes (of 2²⁰ bytes)."""
    size = megabytes << 20
    source, target = torch.ones(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)
    copying = 2 * size / _shortest(lambda: target.copy_(source))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bytes"
        path.write_bytes(bytes(size))
        buffer = bytearray(size)

        def read() -> None:
            with path.open("rb", buffering=0) as file:
                file.readinto(buffer)

        reading = size / _shortest(read)
    return MachineLimits(matmul_rate(CPU, side=2048 if megabytes >= 64 else 256), copying, reading)


def processor_name() -> str:
    """Return the model of the processor and how many cores there are to use."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _shortest(work: Callable[[], object], turns: int = 4) -> float:
    taken = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)
