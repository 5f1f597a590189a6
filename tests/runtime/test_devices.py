"""Choice of the device, and the reason where a GPU cannot be used."""

from __future__ import annotations

import subprocess
import sys
import weakref

import pytest
import torch

from napari_fundus.errors import DeviceError
from napari_fundus.runtime import devices
from napari_fundus.runtime.devices import (
    CPU,
    Device,
    DeviceStatus,
    available_devices,
    choose_device,
    is_lost,
    preferred_precision,
    release_memory,
)

GPU = Device("cuda:0", "Some GPU", 8 << 30)
ALL = ("cpu", "cuda", "mps")


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: DeviceStatus((GPU, CPU)))


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    status = DeviceStatus((CPU,), "The driver is missing.")
    monkeypatch.setattr(devices, "available_devices", lambda: status)


@pytest.fixture
def automatic_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAPARI_FUNDUS_PRECISION", raising=False)


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.parametrize(
    ("request_", "chosen"), [("auto", GPU), ("cuda", GPU), ("cuda:0", GPU), ("cpu", CPU)]
)
def test_what_is_asked_for_is_chosen(request_: str, chosen: Device) -> None:
    assert choose_device(request_, supported=ALL) == chosen


@pytest.mark.usefixtures("without_gpu")
def test_auto_falls_back_to_the_cpu() -> None:
    assert choose_device("auto", supported=ALL) == CPU


@pytest.mark.usefixtures("without_gpu")
def test_a_gpu_asked_for_in_vain_is_refused_with_the_reason() -> None:
    with pytest.raises(DeviceError, match="The driver is missing"):
        choose_device("cuda", supported=ALL)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(DeviceError, match="cuda:0, cpu"):
        choose_device("cuda:7", supported=ALL)


@pytest.mark.parametrize("request_", ["gpu", "", "cudaa"])
def test_unknown_names_are_refused(request_: str) -> None:
    with pytest.raises(DeviceError, match="Unknown device"):
        choose_device(request_, supported=ALL)


def test_devices_found_here_end_with_the_cpu_and_a_reason_stands_in_for_a_gpu() -> None:
    status = available_devices()
    assert status.devices[-1] == CPU
    assert (len(status.devices) == 1) == bool(status.reason)


def test_a_detector_for_the_cpu_alone_does_not_import_torch() -> None:
    code = (
        "import sys; from napari_fundus.runtime.devices import choose_device; "
        "choose_device('auto'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("automatic_precision")
@pytest.mark.parametrize("has", [True, False])
def test_a_cpu_computes_in_float32_whatever_its_model(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    flags = {"avx512_bf16": has, "amx_bf16": has}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert preferred_precision(CPU) == "float32"


@pytest.mark.usefixtures("automatic_precision")
@pytest.mark.parametrize(
    ("capability", "chosen"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_a_gpu_gets_bfloat16_from_the_generation_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], chosen: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: capability)
    assert preferred_precision(GPU) == chosen


def test_a_gpu_s_memory_is_given_back_once_nothing_holds_it_in_a_circle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = torch.zeros(3)
    circle: list[object] = [held]
    circle.append(circle)
    watched, alive = weakref.ref(held), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(watched() is not None))
    del held, circle
    release_memory(GPU)
    assert alive == [False]


@pytest.fixture
def nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_lost", set())


@pytest.mark.usefixtures("with_gpu", "nothing_lost")
def test_a_gpu_that_stopped_to_answer_is_not_chosen_again() -> None:
    gone = RuntimeError("CUDA error: no CUDA-capable device is detected\nmore, for experts")
    assert is_lost(GPU, gone)
    assert choose_device("auto", supported=ALL) == CPU
    with pytest.raises(DeviceError, match="cuda:0 stopped to answer.*run on the CPU"):
        choose_device("cuda", supported=ALL)


@pytest.mark.usefixtures("with_gpu", "nothing_lost")
@pytest.mark.parametrize(
    ("device", "error"),
    [
        (GPU, torch.OutOfMemoryError("CUDA out of memory")),
        (GPU, RuntimeError("shape mismatch")),
        (GPU, ValueError("CUDA error: no RuntimeError")),
        (CPU, RuntimeError("CUDA error: told on a CPU")),
    ],
)
def test_other_errors_lose_no_gpu(device: Device, error: Exception) -> None:
    assert not is_lost(device, error)
    assert choose_device("auto", supported=ALL) == GPU


@pytest.mark.usefixtures("nothing_lost")
def test_memory_of_a_lost_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    assert is_lost(GPU, RuntimeError("CUDA error: unspecified launch failure"))
    release_memory("auto")
    release_memory(GPU)


@pytest.mark.parametrize("request_", [None, 0, "", "tpu", b"cpu"])
def test_what_is_no_device_is_a_typed_error(request_: object) -> None:
    with pytest.raises(DeviceError, match="Unknown device"):
        choose_device(request_)  # type: ignore[arg-type]
