"""Fixtures of the window's tests: a detector whose steps a test controls, and a way to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from pydantic import Field
from qtpy.QtWidgets import QApplication

from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.plugins import Discovery, PluginProblem


class FakeOptions(DetectorOptions):
    """Options of the fake detector."""

    gain: Annotated[float, Field(ge=0, le=4)] = Field(1.0, title="Gain")


class Fake(Detector):
    """Probability is the green plane; steps wait for a test's leave where it wants them to."""

    name: ClassVar[str] = "fake"
    title: ClassVar[str] = "Fake"
    summary: ClassVar[str] = "The green plane."
    lesions: ClassVar[tuple[str, ...]] = ("EX", "MA")
    reference: ClassVar[str] = "10.1000/fake"
    Options: ClassVar[type[DetectorOptions]] = FakeOptions

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.steps = 0
        self.error: Exception | None = None
        self.threads: set[int] = set()
        self.boxes = False

    def predict(self, image, options, *, device, monitor):
        self.threads.add(threading.get_ident())
        self.steps = 0
        for batch in range(20):
            self.steps = batch
            self.go.wait(5)
            monitor.step(batch / 20, f"batch {batch}")
        if self.error is not None:
            raise self.error
        green = image.rgb8[..., 1].astype(np.float32) / 255 * np.float32(options.gain)
        bright = np.clip(green, 0, 1)
        dark = np.where(bright > 0.1, 1 - bright, 0).astype(np.float32)
        return Prediction({"EX": bright, "MA": dark}, has_boxes=self.boxes)


@pytest.fixture
def fake() -> Fake:
    """A detector that runs at once unless a test clears `go`."""
    return Fake()


@pytest.fixture
def discovery(fake) -> Discovery:
    """The fake detector, and a plugin that could not be used."""
    problem = PluginProblem("broken", "napari-broken", "ImportError: no module named 'missing'")
    return Discovery({"fake": fake}, {"fake": "napari-fake"}, (problem,))


@pytest.fixture
def no_disc() -> Exception:
    """What a detector raises for a picture of something else."""
    return NoFieldOfViewError("'x' shows no disc. Choose a fundus photograph.")


@pytest.fixture
def wait(qtbot) -> Callable[[Callable[[], Any]], None]:
    """Run the event loop until a condition holds; fail after 20 seconds."""

    def until(condition: Callable[[], Any]) -> None:
        qtbot.waitUntil(lambda: bool(condition()), timeout=20_000)

    return until


@pytest.fixture
def clipboard(qapp) -> Callable[[], str]:
    """What the clipboard holds."""
    return lambda: QApplication.clipboard().text()
