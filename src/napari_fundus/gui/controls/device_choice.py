"""The choice of a device, with the reason in plain words where a GPU cannot be used."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QWidget

from napari_fundus.detector import Detector
from napari_fundus.gui.controls.layouts import column_layout, shrink_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.thread_job import JobSlot
from napari_fundus.runtime.devices import CPU, DeviceStatus, available_devices
from napari_fundus.runtime.preferences import preferences

_status: DeviceStatus | None = None


class DeviceChoice(QWidget):
    """A list of the devices that a detector can use.

    The search for devices imports torch, which takes seconds. It runs once, in a thread, when a
    detector is chosen that can use more than the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.combo = shrink_combo(QComboBox())
        self.reason = MessageLabel()
        self.reason.setEnabled(False)
        column_layout(self, self.combo, self.reason, spacing=2)
        self._detector: Detector | None = None
        self._job = JobSlot(self)

    def set_detector(self, detector: Detector) -> None:
        """Offer what `detector` can use."""
        self._detector = detector
        if detector.devices == {"cpu"}:
            self._offer(DeviceStatus((CPU,)), "This method runs on the CPU.")
        elif _status is not None:
            self._show_status(_status)
        else:
            self._offer(DeviceStatus(()), "Looking for a GPU…")
            self._find_devices()

    def device(self) -> str:
        """Return the chosen device's name, or ``"auto"``."""
        return str(self.combo.currentData() or "auto")

    def choose(self, device: str) -> None:
        """Choose a device by name; one that is not found becomes the first of the list."""
        if self.combo.findData(device) < 0:
            self.combo.addItem(device, device)
        self.combo.setCurrentIndex(self.combo.findData(device))

    def cancel_silently(self) -> None:
        """Stop waiting for the search."""
        self._job.cancel_silently()

    def _find_devices(self) -> None:
        if not self._job.busy:
            self._job.start(lambda _: available_devices(), self._on_devices_found, self._not_found)

    def _on_devices_found(self, status: DeviceStatus) -> None:
        global _status
        _status = status
        self._show_status(status)

    def _not_found(self, error: Exception) -> None:
        self._on_devices_found(DeviceStatus((CPU,), f"PyTorch cannot be used: {error}"))

    def _show_status(self, status: DeviceStatus) -> None:
        detector = self._detector
        if detector is None or detector.devices == {"cpu"}:
            return
        usable = tuple(d for d in status.devices if detector.supports(d).ok)
        refused = [
            f"{d.title}: {detector.supports(d).reason}"
            for d in status.devices
            if not detector.supports(d).ok
        ]
        self._offer(DeviceStatus(usable), " ".join([status.reason, *refused]).strip())

    def _offer(self, status: DeviceStatus, reason: str) -> None:
        chosen = self.combo.currentData()
        self.combo.clear()
        if len(status.devices) != 1:
            self.combo.addItem(self._automatic(status), "auto")
        for device in status.devices:
            memory = f", {device.memory_bytes / 2**30:.0f} GB" if device.memory_bytes else ""
            self.combo.addItem(f"{device.title}{memory}", device.name)
        self.combo.setCurrentIndex(max(self.combo.findData(chosen), 0))
        self.reason.setText(reason)

    def _automatic(self, status: DeviceStatus) -> str:
        """Return the text of the automatic choice: the preferred device, if there is one."""
        preferred = preferences().device
        usable = self._detector.devices if self._detector is not None else ()
        if preferred.partition(":")[0] not in usable:
            return "Automatic"
        titles = (d.title for d in status.devices if preferred in (d.name, d.kind))
        title = next(titles, "")
        if status.devices and not title:
            return f"Preferred: {preferred}, which is not here"
        return f"Preferred: {title or preferred}"
