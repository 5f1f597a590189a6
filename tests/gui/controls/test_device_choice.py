"""The choice of a device: what can be used, and why a GPU cannot."""

from __future__ import annotations

import threading

import pytest

from napari_fundus.detector import DeviceSupport
from napari_fundus.gui.controls import device_choice
from napari_fundus.gui.controls.device_choice import DeviceChoice
from napari_fundus.runtime.devices import CPU, Device, DeviceStatus

pytestmark = pytest.mark.gui

GPU = Device("cuda:0", "A fine GPU", 8 * 2**30)


@pytest.fixture
def look(monkeypatch, qtbot):
    """Make a choice for a detector that can use GPUs, on a machine with the given devices."""
    monkeypatch.setattr(device_choice, "_status", None)
    threads: list[int] = []

    def build(detector, status):
        def available():
            threads.append(threading.get_ident())
            if isinstance(status, Exception):
                raise status
            return status

        monkeypatch.setattr(device_choice, "available_devices", available)
        choice = DeviceChoice()
        qtbot.addWidget(choice)
        choice.set_detector(detector)
        return choice, threads

    return build


class ForGpus:
    """What the choice asks of a detector."""

    devices = frozenset({"cpu", "cuda"})

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal

    def supports(self, device):
        refused = bool(self.refusal) and device.kind == "cuda"
        return DeviceSupport(not refused, self.refusal if refused else "")


def offered(choice) -> list[str]:
    return [choice.combo.itemData(i) for i in range(choice.combo.count())]


def test_a_gpu_is_offered_with_its_memory_and_looked_for_off_the_main_thread(look, wait):
    choice, threads = look(ForGpus(), DeviceStatus((GPU, CPU)))
    assert choice.device() == "auto"
    wait(lambda: choice.combo.count() == 3)
    assert offered(choice) == ["auto", "cuda:0", "cpu"]
    assert "8 GB" in choice.combo.itemText(1)
    assert threading.get_ident() not in threads


def test_the_reason_is_shown_where_there_is_no_gpu(look, wait):
    choice, _ = look(ForGpus(), DeviceStatus((CPU,), "Its driver is too old."))
    wait(lambda: choice.reason.text() == "Its driver is too old.")
    assert offered(choice) == ["cpu"]
    assert choice.device() == "cpu"


def test_a_gpu_that_the_detector_refuses_is_left_out_with_its_reason(look, wait):
    choice, _ = look(ForGpus("Needs 24 GB."), DeviceStatus((GPU, CPU)))
    wait(lambda: "Needs 24 GB." in choice.reason.text())
    assert offered(choice) == ["cpu"]


def test_a_broken_torch_leaves_the_cpu_and_says_why(look, wait):
    choice, _ = look(ForGpus(), OSError("libcudart is missing"))
    wait(lambda: "libcudart is missing" in choice.reason.text())
    assert offered(choice) == ["cpu"]


def test_nothing_is_looked_for_where_the_cpu_is_all_that_is_used(look, fake):
    choice, threads = look(fake, DeviceStatus((GPU, CPU)))
    assert choice.device() == "cpu"
    assert not threads


@pytest.mark.parametrize(
    ("preferred", "title"),
    [
        ("auto", "Automatic"),
        ("cuda", "Preferred: A fine GPU"),
        ("cuda:0", "Preferred: A fine GPU"),
        ("cpu", "Preferred: CPU"),
        ("cuda:7", "Preferred: cuda:7, which is not here"),
        ("mps", "Automatic"),
    ],
)
def test_what_is_preferred_is_named_as_what_is_taken(look, wait, monkeypatch, preferred, title):
    monkeypatch.setenv("NAPARI_FUNDUS_DEVICE", preferred)
    choice, _ = look(ForGpus(), DeviceStatus((GPU, CPU)))
    wait(lambda: choice.combo.count() == 3)
    assert choice.combo.itemText(0) == title
    assert choice.device() == "auto", "so that the preference may change later"
