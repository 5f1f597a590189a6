"""The command line with one quick detector in place of the installed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from click.testing import Result
from pydantic import Field
from typer.testing import CliRunner

from napari_fundus import plugins
from napari_fundus.cli import app
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

Run = Callable[..., Result]


class GlowOptions(DetectorOptions):
    """Fields of several kinds."""

    gain: Annotated[float, Field(gt=0, le=4)] = Field(1.0, description="Brighter or darker.")
    plane: Literal["red", "green"] = Field("green", description="Plane looked at.")
    sizes: tuple[int, ...] = Field((1, 2), description="Sizes looked for.")


class Glow(Detector):
    """Takes brightness for exudates."""

    name = "glow"
    title = "Brightness"
    summary = "Bright pixels"
    lesions = ("EX",)
    reference = "nobody"
    Options = GlowOptions

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        if image.name == "surprise":
            raise ZeroDivisionError("in the detector")
        if image.rgb8.max() < 20:
            raise NoFieldOfViewError(f"{image.name!r} is black.")
        plane = {"red": 0, "green": 1}[options.plane]
        brightness = image.rgb8[..., plane].astype(np.float32) * np.float32(options.gain / 255)
        whole = np.ones(image.shape, np.bool_)
        return Prediction({"EX": np.clip(brightness, 0, 1)}, field_of_view=whole)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let neither this machine's terminal nor an earlier test decide on colours and height."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("LINES", "50")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line; `Glow` and a broken plugin are all that is installed."""
    problem = plugins.PluginProblem("broken", "their-package", "ImportError: no module")
    found = plugins.Discovery({"glow": Glow()}, {"glow": "our-package"}, (problem,))
    monkeypatch.setattr(plugins, "find_detectors", lambda: found)

    def _run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return _run
