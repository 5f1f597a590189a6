"""Patch voting: a network slides over a picture, and each pixel takes the mean of its votes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from napari_fundus.inference.memory import (
    bytes_per_pixel,
    memory_limit,
    run_halving_on_out_of_memory,
)
from napari_fundus.inference.patch_grid import PatchGrid
from napari_fundus.inference.thread_pool import batch_workers
from napari_fundus.runtime.devices import CPU, Device, Precision, preferred_precision
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_CPU_BATCH_PIXELS = 65_536
"""Pixels in a batch on a CPU: enough to feed the cores, few enough for the caches."""

_GPU_MEMORY_SHARE = 0.5
_GPU_BATCH_PIXELS = 8_388_608
_PROBE_PATCHES = 16

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]
Batch = tuple[Index, Index]
"""Rows and columns of some patches in the grid."""


@dataclass(frozen=True, eq=False)
class VotingResult:
    """The outcome of a vote.

    Attributes
    ----------
    probability
        float32, shape (C, H, W): mean of the votes; 0 outside the field of view.
    patches
        How many patches the network has seen.
    batch
        How many patches ran together, after any lack of memory.
    precision
        Arithmetic used, as torch names it.
    """

    probability: Float
    patches: int
    batch: int
    precision: str


def run_voting(
    network: nn.Module,
    picture: Float,
    *,
    patch: int,
    stride: int,
    inside: Bool | None = None,
    fill: float = 0.0,
    device: Device = CPU,
    precision: Precision | Literal["auto"] = "auto",
    batch: int | None = None,
    monitor: Monitor | None = None,
) -> VotingResult:
    """Run `network` on every patch that touches the field of view and average what they say.

    Equal to a loop over all patches up to rounding, in less time: patches off the field of view are
    left out; the network's own form for inference is used where it has one
    (``network.for_inference()``); patches are views of the padded picture, gathered batch by batch;
    on a CPU each core has a batch of its own; and results are added in groups that do not overlap.
    Memory is that of the maps and a batch a core, whatever the stride.

    Parameters
    ----------
    network
        Takes float (N, P, S, S), gives probabilities (N, C, S, S). It is not changed.
    picture
        float32, shape (P, H, W): the planes that the network was trained on.
    patch
        Side S of the patches, px.
    stride
        Distance of neighbouring patches, px, 1 to S; a pixel gets about (S / stride)² votes.
    inside
        bool, shape (H, W): the field of view; None for the whole picture.
    fill
        What patches see beyond the picture's border.
    device
        Where to compute.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"`` for what is preferred on `device`.
    batch
        Patches that run together; None to fit the memory. Where it runs out, the batch is halved.
    monitor
        Takes progress; may cancel, within a batch.

    Raises
    ------
    Cancelled
        The monitor was cancelled.
    DeviceError
        The memory does not suffice for a single patch.
    ValueError
        The stride does not fit the patch, or the field of view is empty.
    """
    import torch

    grid = PatchGrid(picture.shape[-2:], patch, stride)
    inside = np.ones(grid.shape, np.bool_) if inside is None else inside
    chosen = grid.overlapping(inside)
    total = int(chosen.sum())
    if not total:
        raise ValueError("The field of view is empty: there is nothing to vote on.")
    monitor = monitor or Monitor()
    precision = preferred_precision(device) if precision == "auto" else precision
    dtype = getattr(torch, precision)
    with torch.inference_mode():
        ready = _prepare(network, device, dtype)
        planes = _padded(picture, grid, fill).to(device.name, dtype)
        batch = batch or _fit_batch_size(ready, planes, grid, device)
        if (limit := memory_limit()) is not None:
            per_pixel = bytes_per_pixel(ready, len(picture), patch, device=device, dtype=dtype)
            # On a CPU each core has a batch of its own.
            share = limit / (torch.get_num_threads() if device.kind == "cpu" else 1)
            batch = max(min(batch, int(share / (per_pixel * patch**2))), 1)
    monitor.step(0.0, f"{total:,} patches")

    def vote(size: int) -> Float:
        votes = _VoteAccumulator(ready, planes, grid)
        done = 0
        with batch_workers(device) as workers:
            for positions, answers in workers.map(votes.predict, _batches(grid, chosen, size)):
                votes.add(positions, answers)
                done += len(positions[0])
                monitor.step(done / total, f"patch {done:,} of {total:,}")
        return votes.sums()

    summed, batch = run_halving_on_out_of_memory(
        vote, batch, least=1, what="batch size", device=device
    )
    probability = np.where(inside, summed / grid.coverage(), np.float32(0))
    return VotingResult(probability, total, batch, precision)


def _batches(grid: PatchGrid, chosen: Bool, size: int) -> Iterator[Batch]:
    """Yield positions of the `chosen` patches, up to `size` at a time, group after group."""
    rows = columns = np.empty(0, np.intp)
    for more_rows, more_columns in grid.disjoint_groups(chosen):
        rows, columns = np.append(rows, more_rows), np.append(columns, more_columns)
        while len(rows) >= size:
            yield rows[:size], columns[:size]
            rows, columns = rows[size:], columns[size:]
    if len(rows):
        yield rows, columns


class _VoteAccumulator:
    """A network, the padded picture it looks at, and the sums of its votes.

    Parameters
    ----------
    network
        Ready for inference, on the picture's device and in its type.
    picture
        Shape (P, H', W'), as the grid pads it.
    grid
        Where the patches lie.
    """

    def __init__(self, network: nn.Module, picture: Tensor, grid: PatchGrid) -> None:
        self._network = network
        self._grid = grid
        self._device = picture.device
        self._views = _windows(picture, grid.patch, grid.stride)
        self._sums: Tensor | None = None

    def predict(self, batch: Batch) -> Tensor:
        """Return the network's probabilities for some patches: float32, shape (N, C, S, S)."""
        import torch

        rows, columns = (torch.from_numpy(index).to(self._device) for index in batch)
        # The mode is each thread's own.
        with torch.inference_mode():
            patches = self._views[rows, columns]
            patches = patches.contiguous(memory_format=torch.channels_last)
            votes: Tensor = self._network(patches)
            return votes.float()

    def add(self, batch: Batch, votes: Tensor) -> None:
        """Add `votes` to the sums, one group of patches that do not overlap after the other."""
        import torch

        rows, columns = batch
        if self._sums is None:
            self._sums = torch.zeros(votes.shape[1], *self._grid.padded_shape, device=votes.device)
        sums = _windows(self._sums, self._grid.patch, self._grid.stride)
        period = self._grid.period
        group = rows % period * period + columns % period
        cuts = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
        where = torch.from_numpy(np.stack([rows, columns])).to(votes.device)
        for start, stop in pairwise(cuts):
            here = where[0, start:stop], where[1, start:stop]
            sums[here] += votes[start:stop]

    def sums(self) -> Float:
        """Return the sums of the votes on the picture's pixels: float32, shape (C, H, W)."""
        height, width = self._grid.shape
        before = self._grid.padding
        sums = cast("Tensor", self._sums)[:, before : before + height, before : before + width]
        result: Float = sums.cpu().numpy()
        return result


def _prepare(network: nn.Module, device: Device, dtype: torch.dtype) -> nn.Module:
    """Return a copy of `network` for inference on `device`."""
    import torch

    if hasattr(network, "for_inference"):
        ready: nn.Module = cast("Any", network).for_inference()
    else:
        ready = copy.deepcopy(network).eval()
    ready = ready.to(device=device.name, dtype=dtype)
    return ready.to(memory_format=torch.channels_last)


def _padded(picture: Float, grid: PatchGrid, fill: float) -> Tensor:
    """Return the picture with a border of `fill`, wide enough for all patches of `grid`."""
    import torch

    padded = np.full((len(picture), *grid.padded_shape), fill, np.float32)
    rows, columns = (slice(grid.padding, grid.padding + side) for side in grid.shape)
    padded[:, rows, columns] = picture
    return torch.from_numpy(padded)


def _windows(maps: Tensor, patch: int, stride: int) -> Tensor:
    """Return a view of `maps` (P, H, W) as its patches: (rows, columns, P, S, S)."""
    return maps.unfold(1, patch, stride).unfold(2, patch, stride).permute(1, 2, 0, 3, 4)


def _fit_batch_size(network: nn.Module, picture: Tensor, grid: PatchGrid, device: Device) -> int:
    """Return how many patches of the padded `picture` run together on `device`."""
    import torch

    patch = grid.patch
    if device.kind != "cuda":
        return max(_CPU_BATCH_PIXELS // patch**2, 1)
    # A trial shows what a patch takes, whatever the network.
    torch.cuda.reset_peak_memory_stats(device.name)
    before = torch.cuda.memory_allocated(device.name)
    positions = (np.zeros(_PROBE_PATCHES, np.intp),) * 2
    _VoteAccumulator(network, picture, grid).predict(positions)
    taken = (torch.cuda.max_memory_allocated(device.name) - before) / _PROBE_PATCHES
    free, _ = torch.cuda.mem_get_info(device.name)
    fitting = int(_GPU_MEMORY_SHARE * free / max(taken, 1))
    return max(min(fitting, _GPU_BATCH_PIXELS // patch**2), 1)
