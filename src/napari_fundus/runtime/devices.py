"""Which device a detector runs on, why another cannot be used, and what to do out of memory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from napari_fundus.errors import DeviceError
from napari_fundus.runtime.preferences import preferences

_LOG = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
"""Arithmetic of a network's layers, as torch names it."""


@dataclass(frozen=True)
class Device:
    """A place to compute.

    Attributes
    ----------
    name
        As torch spells it: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    title
        For people: the model of the GPU.
    memory_bytes
        Total memory, 0 where unknown.
    """

    name: str
    title: str
    memory_bytes: int = 0

    @property
    def kind(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"mps"``."""
        return self.name.partition(":")[0]


CPU = Device("cpu", "CPU")

_lost: set[str] = set()
"""Names of the GPUs that stopped to answer this process."""


@dataclass(frozen=True)
class DeviceStatus:
    """The devices found, and why there is no GPU among them.

    Attributes
    ----------
    devices
        Usable devices, the fastest first; the CPU is always the last.
    reason
        Why no GPU can be used, for people; empty if one can.
    """

    devices: tuple[Device, ...]
    reason: str = ""


def available_devices() -> DeviceStatus:
    """Look for devices. This imports torch, which takes seconds the first time."""
    import torch

    found: list[Device] = []
    reason = ""
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found.append(Device(f"cuda:{index}", properties.name, properties.total_memory))
    elif torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU"))
    elif torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        reason = (
            "This installation of PyTorch is for CPUs only. Install a CUDA build "
            "(see pytorch.org) to use an NVIDIA GPU."
        )
    else:
        reason = (
            f"PyTorch was built for CUDA {torch.version.cuda}, but found no usable NVIDIA GPU: "
            "none is fitted, its driver is missing, or the driver is too old."
        )
    return DeviceStatus((*found, CPU), reason)


def choose_device(request: str = "auto", *, supported: Collection[str] = ("cpu",)) -> Device:
    """Return the device to run on.

    Parameters
    ----------
    request
        ``"auto"`` for the one that is preferred (see `napari_fundus.runtime.preferences`) or else
        the fastest that works, or a name such as ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    supported
        Kinds that the detector can use. Where that is the CPU alone, torch is not imported.

    Raises
    ------
    DeviceError
        The device that was asked for cannot be used; the message says why.
    """
    kind = request.partition(":")[0] if isinstance(request, str) else ""
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise DeviceError(f"Unknown device {request!r}. Use auto, cpu, cuda, cuda:N or mps.")
    if kind not in ("auto", *supported):
        raise DeviceError(
            f"This detector runs on {' or '.join(sorted(supported))} only, not on {request!r}."
        )
    remark = ""
    if kind == "auto" and (chosen := preferences().device).partition(":")[0] in supported:
        request, kind = chosen, chosen.partition(":")[0]
        remark = " It is the preferred device: change that in the preferences, or name another."
    if kind == "cpu" or set(supported) == {"cpu"}:
        return CPU
    status = available_devices()
    for device in status.devices:
        if device.name in _lost:
            continue
        if request in (device.name, device.kind) or (
            request == "auto" and device.kind in supported
        ):
            return device
    if _lost and request != "auto":
        raise DeviceError(
            f"{request!r} cannot be used: {', '.join(sorted(_lost))} stopped to answer. Start the "
            "program again once it works, or run on the CPU."
        )
    raise DeviceError(
        f"{request!r} cannot be used here. "
        + (status.reason or f"Found: {', '.join(d.name for d in status.devices)}.")
        + remark
    )


def preferred_precision(device: Device) -> Precision:
    """Return the arithmetic that is preferred, or else the one that `device` has by default.

    A CPU computes in float32 whatever its model, so that results do not depend on it; bfloat16 is
    quicker where the processor multiplies it (AVX512-BF16, AMX), and is then worth asking for. A
    GPU of compute capability 8.0 or more computes in bfloat16, Apple's GPUs always in float32.
    """
    if device.kind == "mps":
        return "float32"
    if (chosen := preferences().precision) != "auto":
        return chosen
    if device.kind == "cpu":
        return "float32"
    import torch

    major, _ = torch.cuda.get_device_capability(device.name)
    # Cards of AMD report their own numbers; torch knows which of them have it.
    has = torch.cuda.is_bf16_supported() if torch.version.hip else major >= 8
    return "bfloat16" if has else "float32"


def is_lost(device: Device, error: BaseException) -> bool:
    """Whether `error` says that a GPU no longer answers; the process does not choose it again.

    A GPU that is unplugged, falls off the bus, or whose driver dies, and one on which a kernel
    failed, cannot be used again by the same process: every further call fails too.

    Parameters
    ----------
    device
        Where the work was done.
    error
        What ended it. A lack of memory is no such end.
    """
    if device.kind == "cpu" or not isinstance(error, RuntimeError):
        return False
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return False
    text = str(error)
    if not any(words in text for words in ("CUDA error:", "HIP error:", "No CUDA GPUs")):
        return False
    _lost.add(device.name)
    _LOG.warning("%s no longer answers: %s", device.title, text.partition("\n")[0])
    return True


_release_callbacks: list[Callable[[], None]] = []


def on_memory_release(callback: Callable[[], None]) -> None:
    """Let `callback`, which must not fail, be called whenever a GPU's memory is asked back."""
    _release_callbacks.append(callback)


def release_memory(device: Device | str) -> None:
    """Give the memory that torch caches on `device`, or on any GPU for "auto", back to the system.

    What is cached is dropped first, see :func:`on_memory_release`. It never fails: it
    is called where something else has failed already.
    """
    name = device if isinstance(device, str) else device.name
    kind = name.partition(":")[0]
    if kind == "cpu" or _lost or "torch" not in sys.modules:
        return
    import gc

    import torch

    for callback in _release_callbacks:
        callback()
    gc.collect()
    if kind != "mps":
        torch.cuda.empty_cache()
    if kind != "cuda" and torch.backends.mps.is_available():
        torch.mps.empty_cache()
