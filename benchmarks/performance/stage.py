"""A row of the report: our way, the peers' ways to the same result, and the least work it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers import TimedRun, time_interleaved
from benchmarks.performance.machine_limits import LeastWork, MachineLimits
from napari_fundus.runtime.devices import CPU

__all__ = [
    "MAX_SECONDS",
    "BenchmarkStage",
    "Peer",
    "StageTiming",
    "count_different_pixels",
    "largest_difference",
    "time_stage",
]

MAX_SECONDS = 4.0
"""Seconds after which a contestant is measured once only."""


@dataclass(frozen=True)
class Peer:
    """Another way to the same result.

    Attributes
    ----------
    name
        The library, and what of it.
    run
        Gives what :attr:`BenchmarkStage.compare` understands.
    """

    name: str
    run: Callable[[], Any]


@dataclass(frozen=True)
class BenchmarkStage:
    """A piece of work.

    Attributes
    ----------
    title, on
        What is done, and on what.
    ours
        Does it with this package.
    peers
        The same input, the same output.
    compare
        Takes our result and a peer's, says how far apart they are.
    needs
        The least that the hardware has to do for it.
    before
        What this package did before the stage was made faster, if it was.
    """

    title: str
    on: str
    ours: Callable[[], Any]
    peers: tuple[Peer, ...]
    compare: Callable[[Any, Any], str]
    needs: LeastWork
    before: Callable[[], Any] | None = None


@dataclass(frozen=True)
class StageTiming:
    """What was measured of a stage; `differences` goes with `peers`."""

    stage: BenchmarkStage
    ours: TimedRun
    peers: tuple[TimedRun, ...]
    differences: tuple[str, ...]
    before: TimedRun | None
    changed: str

    def share(self, machine: MachineLimits) -> float:
        """Return the share of the machine's limit that we reached: 1 is the limit itself."""
        return self.stage.needs.min_seconds(machine) / min(self.ours.seconds)


def time_stage(stage: BenchmarkStage, repeats: int) -> StageTiming:
    """Let all ways to a stage's result run by turns, each once unmeasured where that is quick."""
    ours = TimedRun("napari-fundus", stage.ours, stage.needs.operations)
    peers = tuple(TimedRun(peer.name, peer.run) for peer in stage.peers)
    before = None if stage.before is None else TimedRun("before", stage.before)
    everyone = [ours, *peers, *([] if before is None else [before])]
    time_interleaved(everyone, CPU, 1)
    # The first turn pays for imports and fresh memory.
    for contestant in everyone:
        if repeats > 1 and contestant.seconds[0] < MAX_SECONDS:
            contestant.seconds.clear()
            contestant.busy.clear()
    time_interleaved(everyone, CPU, repeats if repeats > 1 else 0, patience=MAX_SECONDS)
    differences = tuple(stage.compare(ours.result, peer.result) for peer in peers)
    changed = "" if before is None else stage.compare(ours.result, before.result)
    for contestant in everyone:
        contestant.result = None
    return StageTiming(stage, ours, peers, differences, before, changed)


def largest_difference(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> str:
    """Return the largest absolute difference of two arrays of one shape, as text."""
    off = float(np.abs(np.subtract(ours, theirs, dtype=np.float64)).max(initial=0))
    return "0" if off == 0 else f"{off:.1g}"


def count_different_pixels(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> str:
    """Return how many pixels of two images of one shape differ, as text."""
    return f"{int(np.count_nonzero(ours != theirs)):,} px"
