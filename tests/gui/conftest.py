"""Fixtures of the window's tests: layers per turn, a detector that a test controls, waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar
from weakref import WeakSet

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name
from pydantic import Field
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

import napari_fundus
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.plugins import Discovery, PluginProblem


class LayerTurns:
    """Counts the layers added and removed in each turn of the event loop.

    napari needs some 0.1 s for each layer, so the window answers while results appear only if each
    has a turn of its own. How long a turn takes is measured by ``make bench``.

    Attributes
    ----------
    added
        How many layers were added in each turn in which some were, and what the test did then.
    removed
        How many were removed: none, since each has napari collect garbage.
    """

    def __init__(self, viewer) -> None:
        self.added: list[tuple[int, str]] = []
        self.removed = self._count = 0
        self.doing = "start"
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)

    def _on_inserted(self, event=None) -> None:
        if not self._count:
            QTimer.singleShot(0, self._end_turn)  # runs in the next turn
        self._count += 1

    def _on_removed(self, event=None) -> None:
        self.removed += 1

    def _end_turn(self) -> None:
        if self._count:
            self.added.append((self._count, self.doing))
        self._count = 0

    def skip(self) -> None:
        """Leave out what was added in this turn: by napari, or by the test itself."""
        self._count = 0


@pytest.fixture
def layer_turns() -> Callable[[Any], LayerTurns]:
    """Starts to count the layers of a viewer, turn by turn."""
    return LayerTurns


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
            self.go.wait(600)
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


@pytest.fixture(autouse=True)
def step_runners(monkeypatch) -> WeakSet[StepRunner]:
    """What has put layers into a viewer step by step since the test began."""
    runners: WeakSet[StepRunner] = WeakSet()
    start = StepRunner.start

    def noted(runner: StepRunner, *args: Any, **settings: Any) -> None:
        runners.add(runner)
        start(runner, *args, **settings)

    monkeypatch.setattr(StepRunner, "start", noted)
    return runners


@pytest.fixture
def wait(qtbot, step_runners) -> Callable[[Callable[[], Any]], None]:
    """Run the event loop until a condition holds and all layers are there."""

    def busy(runner: StepRunner) -> bool:
        with suppress(RuntimeError):  # its widget is deleted
            return runner.busy
        return False

    def until(condition: Callable[[], Any]) -> None:
        qtbot.waitUntil(lambda: bool(condition()), timeout=900_000)
        qtbot.waitUntil(lambda: not any(map(busy, step_runners)), timeout=900_000)

    return until


@pytest.fixture
def clipboard(qapp) -> Callable[[], str]:
    """What the clipboard holds."""
    return lambda: QApplication.clipboard().text()


@pytest.fixture
def save_layer():
    """Return a function that saves a layer by the writer that the manifest names for it."""
    manifest = PluginManifest.from_file(Path(napari_fundus.__file__).parent / "napari.yaml")

    def save(layer: Layer, path: Path) -> list[str]:
        data, meta, kind = layer.as_layer_data_tuple()
        (writer,) = (
            writer
            for writer in manifest.contributions.writers
            if kind in writer.layer_types and path.suffix in writer.filename_extensions
        )
        command = next(c for c in manifest.contributions.commands if c.id == writer.command)
        return import_python_name(command.python_name)(str(path), data, meta)

    return save
