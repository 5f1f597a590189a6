"""A small data set with masks, and a detector that counts how often it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor


class Contrast(Detector):
    """Finds what is darker (MA) or brighter (EX) than its surroundings; nowhere 0."""

    name = "contrast"
    title = "Contrast"
    summary = "Dark and bright spots"
    lesions = ("MA", "EX")

    class Options(DetectorOptions):
        size: float = 6.0

    def __init__(self) -> None:
        self.runs: list[str] = []

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        self.runs.append(image.name)
        monitor.step(0.5, "looking")
        if image.rgb8.max() < 20:
            raise NoFieldOfViewError(f"{image.name!r} is black.")
        green = image.rgb8[..., 1].astype(np.float32)
        local = (green - cv2.GaussianBlur(green, (0, 0), options.size)) / 60
        inside = image.rgb8[..., 0] > 60
        maps = {"MA": np.clip(0.01 - local, 0, 1), "EX": np.clip(0.01 + local, 0, 1)}
        return Prediction(maps, field_of_view=inside)


class Bright(Contrast):
    """The same, of bright spots alone and half as sure."""

    name = "bright"
    lesions = ("EX",)

    def predict(self, image: FundusImage, options: Any, **rest: Any) -> Prediction:
        whole = super().predict(image, options, **rest)
        return Prediction({"EX": whole.probability["EX"] / 2}, field_of_view=whole.field_of_view)


@pytest.fixture
def contrast() -> Contrast:
    return Contrast()


@pytest.fixture
def bright() -> Bright:
    return Bright()


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


@pytest.fixture(scope="session")
def make_detectors() -> Callable[[], list[Detector]]:
    return lambda: [Contrast(), Bright()]


@pytest.fixture(scope="session")
def make_folder(draw: Callable[..., Any]) -> Callable[[Path], Dataset]:
    """Draw three images with masks of MA and HE; EX is annotated in the first two alone."""

    def make(parent: Path) -> Dataset:
        root = parent / "data"
        for number in range(3):
            retina = draw(150, 200, seed=number)
            save(root / f"eye{number}.png", retina.pixels)
            for code, mask in retina.masks.items():
                if code != "EX" or number < 2:
                    save(root / f"eye{number}_{code}.png", mask.astype(np.uint8) * 255)
        return open_dataset(root)

    return make


@pytest.fixture(scope="session")
def make_healthy(draw: Callable[..., Any]) -> Callable[[Path], Dataset]:
    """Draw two more images, without masks."""

    def make(parent: Path) -> Dataset:
        for number in range(2):
            save(parent / "well" / f"well{number}.png", draw(150, 200, seed=10 + number).pixels)
        return open_dataset(parent / "well")

    return make


@pytest.fixture
def dataset(make_folder: Callable[[Path], Dataset], tmp_path: Path) -> Dataset:
    return make_folder(tmp_path)


@pytest.fixture
def healthy(make_healthy: Callable[[Path], Dataset], tmp_path: Path) -> Dataset:
    return make_healthy(tmp_path)
