"""The contract: options are checked, cancelling works, provenance repeats the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import Field

from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import Cancelled, DetectorError, DeviceError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.runtime import devices
from napari_fundus.runtime.devices import CPU, Device, DeviceStatus
from napari_fundus.runtime.progress import Monitor


class DarkOptions(DetectorOptions):
    level: int = Field(60, ge=0, le=255, title="Level", description="Darker is a lesion.")


class Dark(Detector):
    """Everything darker than a level is a microaneurysm."""

    name = "dark"
    title = "Dark"
    summary = "Darker than a level."
    lesions = ("MA",)
    Options = DarkOptions

    def predict(
        self, image: FundusImage, options: DarkOptions, *, device: Device, monitor: Monitor
    ) -> Prediction:
        for _ in monitor.track(range(4), message="rows"):
            pass
        dark = (image.rgb8[..., 1] < options.level).astype(np.float32)
        inside = np.zeros(image.shape, np.bool_)
        inside[10:-10, 10:-10] = True
        return Prediction({"MA": dark}, field_of_view=inside)


@pytest.fixture
def image() -> FundusImage:
    pixels = np.full((64, 80, 3), 100, np.uint8)
    pixels[30:34, 40:44] = 20
    pixels[:5] = 0
    return FundusImage.from_array(pixels, name="eye")


def test_detect_keeps_to_the_field_of_view(image: FundusImage) -> None:
    result = Dark().detect(image)
    assert result.instances["area_px"].tolist() == [16]


def test_provenance_is_enough_to_repeat_the_run(image: FundusImage) -> None:
    first = Dark().detect(image, {"level": 30, "min_area": 2})
    told = first.provenance
    again = Dark().detect(image, told.options, device=told.device)
    assert (told.detector, told.image_sha256, told.image_shape) == ("dark", image.sha256, (64, 80))
    np.testing.assert_array_equal(again.probability["MA"], first.probability["MA"])
    assert again.instances.equals(first.instances)


def test_maps_of_a_result_are_read_only(image: FundusImage) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Dark().detect(image).probability["MA"][0, 0] = 1


@pytest.mark.parametrize(
    ("options", "told"),
    [({"levle": 3}, "levle.*threshold, min_area, level"), ({"level": 300}, "level.*300.*255")],
)
def test_bad_options_are_named(image: FundusImage, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionsError, match=told):
        Dark().detect(image, options)


def test_options_of_another_detector_are_refused(image: FundusImage) -> None:
    with pytest.raises(OptionsError, match="DarkOptions"):
        Dark().detect(image, DetectorOptions())


def test_cancel_from_the_progress_callback_stops_within_a_step(image: FundusImage) -> None:
    seen: list[float] = []

    def stop_early(progress: Any) -> None:
        seen.append(progress.fraction)
        if len(seen) == 2:
            monitor.cancel()

    monitor = Monitor(stop_early)
    with pytest.raises(Cancelled):
        Dark().detect(image, monitor=monitor)
    assert len(seen) == 2


def test_a_device_that_the_detector_cannot_use_is_refused_with_the_reason(
    image: FundusImage,
) -> None:
    with pytest.raises(DeviceError, match="cpu only"):
        Dark().detect(image, device="cuda")
    assert not Dark().supports(Device("cuda:0", "GPU")).ok
    assert Dark().supports(CPU).ok


def test_a_detector_that_returns_something_else_breaks_the_contract(image: FundusImage) -> None:
    class Wrong(Dark):
        def predict(self, image: FundusImage, options: Any, **_: Any) -> Any:
            return {"MA": np.zeros(image.shape)}

    with pytest.raises(DetectorError, match=r"dark\.predict returned dict"):
        Wrong().detect(image)


def test_a_detector_without_weights_cannot_be_trained() -> None:
    assert not Dark().trainable
    with pytest.raises(DetectorError, match="nothing to train"):
        Dark().train()


class Unplugged(Dark):
    """Its GPU answers the first image only."""

    devices = frozenset({"cpu", "cuda"})

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        self.asked.append(device.name)
        if device.kind == "cuda" and len(self.asked) > 1:
            raise RuntimeError("CUDA error: no CUDA-capable device is detected\nsome advice")
        return super().predict(image, options, device=device, monitor=monitor)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = DeviceStatus((Device("cuda:0", "Some GPU", 8 << 30), CPU))
    monkeypatch.setattr(devices, "available_devices", lambda: found)
    monkeypatch.setattr(devices, "_lost", set())


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_unplugged_within_a_run_is_replaced_by_the_cpu_and_this_is_told(
    image: FundusImage, caplog: pytest.LogCaptureFixture
) -> None:
    detector, told = Unplugged(), []
    monitor = Monitor(lambda progress: told.append(progress.message))
    found = [detector.detect(image, monitor=monitor) for _ in range(3)]
    assert detector.asked == ["cuda:0", "cuda:0", "cpu", "cpu"]
    assert [each.provenance.device for each in found] == ["cuda:0", "cpu", "cpu"]
    assert "Some GPU no longer answers: again on the CPU" in told
    assert [r.getMessage() for r in caplog.records] == [
        "Some GPU no longer answers: CUDA error: no CUDA-capable device is detected"
    ]
    for code, plane in found[0].probability.items():
        np.testing.assert_array_equal(found[1].probability[code], plane)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_that_was_named_is_not_replaced_in_silence(image: FundusImage) -> None:
    detector = Unplugged()
    detector.asked.append("")
    with pytest.raises(DeviceError, match="Some GPU no longer answers.*run on the CPU"):
        detector.detect(image, device="cuda")
    with pytest.raises(DeviceError, match="stopped to answer"):
        detector.detect(image, device="cuda")
