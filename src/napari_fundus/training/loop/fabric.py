"""Device, precision and several GPUs by Lightning Fabric; seeds; repeatable operations."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_fundus.runtime.devices import Device, Precision

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def make_fabric(device: Device, precision: Precision, count: int) -> Fabric:
    """Return a launched Fabric.

    Parameters
    ----------
    device
        Where to compute; with several processes, its kind.
    precision
        Of the layers; the weights are float32 always.
    count
        How many devices to use together. Under a launcher such as torchrun its number counts.
    """
    from lightning.fabric import Fabric

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    several = max(count, local) > 1
    devices: int | list[int] = max(count, local)
    if not several and device.kind == "cuda":
        devices = [int(device.name.partition(":")[2] or 0)]
    fabric = Fabric(
        accelerator=device.kind,
        devices=devices,
        strategy="ddp" if several else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


def is_secondary_rank() -> bool:
    """Whether a launcher started this process beside the first one of a training.

    It computes its share; it yields no events, writes no files and reads no commands.
    """
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(rank) > 0


@contextmanager
def seeded(*numbers: int, device: Device | None = None) -> Iterator[None]:
    """Within the block torch's global generators start from `numbers`.

    The CPU's is put back after it, so that a caller's random numbers are not disturbed; a GPU's is
    not, since to read it would make the CPU wait.

    Examples
    --------
    >>> import torch
    >>> with seeded(0, 1, 2):
    ...     first = torch.rand(3)
    >>> with seeded(0, 1, 2):
    ...     second = torch.rand(3)
    >>> torch.equal(first, second)
    True
    """
    import numpy as np
    import torch

    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if device is not None and device.kind == "cuda":
            torch.cuda.manual_seed(seed)
        elif device is not None and device.kind == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextmanager
def deterministic_algorithms(*, enabled: bool) -> Iterator[None]:
    """Use only operations that give the same bits each time, and put the settings back after."""
    import torch

    filling: Any = torch.utils.deterministic
    before: tuple[Any, ...] = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        filling.fill_uninitialized_memory,
    )
    if enabled:
        # The filling guards against reading what was never written; it costs a tenth of a step.
        filling.fill_uninitialized_memory = False
        # cuBLAS reads this when it starts; where torch has no such operation, it warns.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = not enabled
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
        filling.fill_uninitialized_memory = before[3]
