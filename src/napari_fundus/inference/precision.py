"""Which arithmetic a network runs in: bfloat16 where the device is truly faster with it."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from napari_fundus.devices import Device

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "choose_precision", "matmul_rate"]

Precision = Literal["auto", "float32", "bfloat16"]

_SIDE = 768
_WORTH = 1.4
"""How much faster bfloat16 must be before its rounding is taken into the bargain."""


def choose_precision(request: Precision, device: Device) -> torch.dtype:
    """Return the type to compute in on `device`.

    ``"auto"``: bfloat16 on GPUs built for it; on a CPU only where it is measured to be faster (many
    emulate it, at a third of the speed of float32); float32 elsewhere.
    """
    import torch

    if request != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[request]
    if device.kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    if device.kind == "cpu" and _cpu_prefers_bfloat16():
        return torch.bfloat16
    return torch.float32


@lru_cache(maxsize=1)
def _cpu_prefers_bfloat16() -> bool:
    import torch

    cpu = Device("cpu", "CPU")
    plain = matmul_rate(cpu, torch.float32, side=_SIDE)
    return matmul_rate(cpu, torch.bfloat16, side=_SIDE) > _WORTH * plain


def matmul_rate(device: Device, dtype: torch.dtype, *, side: int = 2048, repeats: int = 3) -> float:
    """Measure how fast `device` multiplies square matrices, in floating-point operations a second.

    Parameters
    ----------
    device
        Where to measure.
    dtype
        Type of the matrices.
    side
        Their rows and columns.
    repeats
        The best of so many counts.
    """
    import torch

    a = torch.ones(side, side, dtype=dtype, device=device.name)

    def seconds() -> float:
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # reading a value waits for the device
        return time.perf_counter() - start

    with torch.inference_mode():
        seconds()
        best = min(seconds() for _ in range(repeats))
    return 2 * side**3 / best
