"""Fixtures of the window's tests: a heartbeat, a detector that a test controls, ways to wait."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from pydantic import Field
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.plugins import Discovery, PluginProblem

LIMIT = 0.2
"""Seconds of a free core that the main thread may be away from its event loop."""

YARD = 0.0032
"""Seconds that `yard` takes on a free core of 2026."""


def yard() -> float:
    """Return the seconds of the processor that a fixed piece of Python takes here and now."""
    start, texts = time.thread_time(), {}
    for number in range(20_000):
        texts[number % 97] = str(number)
    return time.thread_time() - start


class Heartbeat:
    """Records for how long the main thread was away from its event loop, and at what it worked.

    Time on the clock grows with whatever else the machine does, so what counts is the processor
    time that the main thread itself took between two beats, by a core that is free: one whose other
    half is busy, or that belongs to another guest for the moment, takes more than twice as long.
    Two things are left out, as they come at any time and whatever we do:

    - drawing: without a graphics card the processor draws the canvas of a test;
    - Python's full collections of garbage, 0.15 s each once torch is loaded.

    `turns` holds how many layers came between two beats: never more than one. `gone` counts those
    that went: none, since each has napari collect garbage.
    """

    def __init__(self, viewer) -> None:
        self.gaps: list[tuple[float, str]] = [(0.0, "start"), (0.0, "start")]
        self.turns: list[tuple[int, str]] = []
        self.gone = self._came = 0
        self.doing = "start"
        self._left_out = 0.0
        self._yard = yard()
        self._pauses: list[float] = []
        self._thread = threading.get_ident()
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(self._begin, position="first")
        canvas.events.draw.connect(self._end, position="last")
        gc.callbacks.append(self._on_collection)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        self._last = self._own_time()
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _begin(self, event=None) -> None:
        self._pauses.append(time.thread_time())

    def _end(self, event=None) -> None:
        began = self._pauses.pop()
        if not self._pauses:  # a collection within a drawing is part of it
            self._left_out += time.thread_time() - began

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2 and threading.get_ident() == self._thread:
            (self._begin if phase == "start" else self._end)()

    def _on_inserted(self, event=None) -> None:
        self._came += 1

    def _on_removed(self, event=None) -> None:
        self.gone += 1

    def _own_time(self) -> float:
        return time.thread_time() - self._left_out

    def _beat(self) -> None:
        gap = self._own_time() - self._last
        if gap > LIMIT / 2:
            gap /= max(max(self._yard, *(yard() for _ in range(3))) / YARD, 1.0)
        elif len(self.gaps) % 8 == 0:
            self._yard = yard()
        self.gaps.append((gap, self.doing))
        self.turns.append((self._came, self.doing))
        self._last, self._came = self._own_time(), 0

    def skip(self) -> None:
        """Leave out what came since the last beat: a window or a dock being built."""
        self._timer.stop()
        QApplication.processEvents()
        self._last, self._came = self._own_time(), 0
        self._timer.start()

    def stop(self) -> None:
        """Record no more, and hold what was recorded to the limit."""
        self.forget()
        worst = sorted(self.gaps, reverse=True)[:8]
        assert worst[0][0] < LIMIT, worst

    def forget(self) -> None:
        """Record no more."""
        self._timer.stop()
        if self._on_collection in gc.callbacks:
            gc.callbacks.remove(self._on_collection)


@pytest.fixture
def heartbeat() -> Iterator[Callable[[Any], Heartbeat]]:
    """Starts to record how long the main thread is away from its event loop."""
    hearts = []

    def start(viewer: Any) -> Heartbeat:
        hearts.append(Heartbeat(viewer))
        return hearts[-1]

    yield start
    for heart in hearts:
        heart.forget()


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
