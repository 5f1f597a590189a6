"""A quick detector that fails on demand, and folders of drawn photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from PIL import Image
from pydantic import Field

from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor


class BrightOptions(DetectorOptions):
    """One field of its own."""

    gain: Annotated[float, Field(gt=0, le=4)] = Field(1.0, description="Brighter or darker.")


class Bright(Detector):
    """Takes brightness for exudates; `calls` and `surprise` are for the tests."""

    name = "bright"
    title = "Brightness"
    summary = "Bright pixels"
    lesions = ("EX",)
    Options = BrightOptions

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.surprise: dict[str, BaseException] = {}
        self.weights: str | None = None
        self.field: np.ndarray | None = None
        self.disc = False
        self.score: dict[str, float] = {}

    def weights_sha256(self, options: Any) -> str | None:
        return self.weights

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        self.calls.append(image.name)
        monitor.step(0.5, "looking")
        if image.name in self.surprise:
            raise self.surprise[image.name]
        if image.rgb8.max() < 20:
            raise NoFieldOfViewError(f"{image.name!r} is black.")
        brightness = image.rgb8[..., 1].astype(np.float32) * np.float32(options.gain / 255)
        maps = {"EX": np.clip(brightness, 0, 1)}
        if self.disc:
            maps["OD"] = np.where(brightness > 0, np.float32(0.9), np.float32(0))
        return Prediction(
            maps,
            image_score=self.score,
            checkpoint_sha256=self.weights,
            field_of_view=self.field,
        )


@pytest.fixture
def detector() -> Bright:
    return Bright()


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Write small photographs below ``in/``; each name gets pixels of its own."""

    def _draw(*names: str) -> Path:
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(sum(name.encode()))
            pixels = np.full((80, 100, 3), 60, np.uint8)
            row, col = rng.integers(0, 60, 2)
            pixels[row : row + 9, col : col + 9] = 200
            Image.fromarray(pixels).save(path)
        return tmp_path / "in"

    return _draw
