"""One training as the window sees it: a worker thread that passes events on, and an outcome."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QObject, Signal

from napari_fundus.checkpoints import ModelCard, install_checkpoint, read_card
from napari_fundus.datasets.corrections import CORRECTIONS_MARKER
from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.gui.controls.thread_job import ThreadJob
from napari_fundus.gui.train.data import LayerData
from napari_fundus.gui.train.preview_layers import (
    ContactSheet,
    PreviewStrip,
    patch_sheet,
    preview_strip,
)
from napari_fundus.runtime.devices import release_memory
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.jobs.config import TrainingConfig
from napari_fundus.training.jobs.process import run_training_in_subprocess
from napari_fundus.training.jobs.worker import run_training
from napari_fundus.training.loop.events import Finished, Patches, Preview, TrainingEvent
from napari_fundus.training.loop.state import BEST_FILE, check_output

TrainingUpdate = TrainingEvent | ContactSheet | PreviewStrip
"""Events, with pictures made ready to be shown."""

_INTERVAL = 0.1
"""Seconds between two deliveries of events to the main thread."""


@dataclass(frozen=True, eq=False)
class RunRequest:
    """A training to start.

    Attributes
    ----------
    config
        What to train, and how; its data are those of `layers` where there are some.
    folder
        Folder of the run.
    layers
        Image and labels to be written as data first.
    in_subprocess
        Whether to train in a process of its own, rather than in a thread of this one.
    """

    config: TrainingConfig
    folder: Path
    layers: LayerData | None = None
    in_subprocess: bool = True

    def events(self, monitor: Monitor) -> Iterator[TrainingEvent]:
        """Train; not for the main thread."""
        train = run_training_in_subprocess if self.in_subprocess else run_training
        config = self.config
        with ExitStack() as stack:
            if self.layers is not None:
                monitor.step(0.0, "writing the layers as a data set")
                if config.check:
                    folder = Path(stack.enter_context(TemporaryDirectory()))
                else:
                    # Else the data of a run that is there already would be mixed with these.
                    check_output(self.folder, resume=config.resume, overwrite=config.overwrite)
                    folder = self.folder / "data"
                    if (folder / CORRECTIONS_MARKER).exists():
                        shutil.rmtree(folder)
                data = str(self.layers.write(folder).resolve())
                config = config.model_copy(update={"data": data})
            yield from train(config, self.folder, monitor=monitor)


@dataclass(frozen=True, eq=False)
class TrainingOutcome:
    """Result of a training.

    Attributes
    ----------
    folder
        Folder of the run.
    finished
        Its last event; None where it was stopped before its end.
    name
        Name of the installed weights; empty where there are none.
    card
        Of the weights.
    problem
        Why the weights were not installed.
    """

    folder: Path
    finished: Finished | None = None
    name: str = ""
    card: ModelCard | None = None
    problem: str = ""


class TrainingSession(QObject):
    """Runs a training in a thread. All signals arrive in the main thread; `ended` is the last.

    Parameters
    ----------
    request
        The training.
    """

    events_received = Signal(object)
    """A list of events."""
    progressed = Signal(float, str)
    checked = Signal()
    finished = Signal(object)
    """An `TrainingOutcome`; also of a training that was stopped."""
    failed = Signal(object)
    ended = Signal()

    def __init__(self, request: RunRequest, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.request = request
        self._waiting: list[TrainingUpdate] = []
        self._sent_at = 0.0
        self._outcome = TrainingOutcome(request.folder)
        self._emits = True
        self._job = ThreadJob(self._work, self)
        self._job.progressed.connect(self.progressed)
        self._job.returned.connect(lambda _: self._done())
        self._job.cancelled.connect(self._done)
        self._job.failed.connect(self.failed)
        self._job.ended.connect(self.ended)

    @property
    def monitor(self) -> Monitor:
        """The monitor that pauses, resumes and stops it."""
        return self._job.monitor

    def start(self) -> TrainingSession:
        """Start the training."""
        self._job.start()
        return self

    def cancel_silently(self) -> None:
        """Stop the training, which can be resumed; no signal is emitted any more."""
        self._emits = False
        self._job.cancel_silently()

    def _done(self) -> None:
        if self.request.config.check:
            self.checked.emit()
        else:
            self.finished.emit(self._outcome)

    def _work(self, monitor: Monitor) -> None:
        """Train, and install the best weights; runs in the job's thread."""
        finished: Finished | None = None
        try:
            with closing(self.request.events(monitor)) as events:  # type: ignore[type-var]
                for event in events:
                    self._deliver(event)
                    if isinstance(event, Finished):
                        finished = event
        except Cancelled:
            if self.request.config.check:
                raise
        finally:
            self._send()
            if not self.request.in_subprocess:
                gc.collect()
                release_memory(self.request.config.device)
        if not self.request.config.check:
            self._outcome = self._install(finished)

    def _install(self, finished: Finished | None) -> TrainingOutcome:
        folder, name = self.request.folder, self.request.config.name
        best = folder / BEST_FILE
        if not best.exists():
            return TrainingOutcome(folder)
        outcome = TrainingOutcome(folder, finished, "", read_card(best))
        try:
            install_checkpoint(best, name, run=folder)
        except (FundusError, OSError) as error:
            # The weights lie in the run's folder all the same.
            return replace(outcome, problem=f"{error} The weights are in {best}.")
        return replace(outcome, name=name)

    def _deliver(self, event: TrainingEvent) -> None:
        """Collect events: hundreds of steps a second would block the main thread."""
        update: TrainingUpdate = event
        if isinstance(event, Preview):
            update = preview_strip(event)
        elif isinstance(event, Patches):
            update = patch_sheet(event)
        self._waiting.append(update)
        if time.monotonic() - self._sent_at >= _INTERVAL:
            self._send()

    def _send(self) -> None:
        if self._waiting and self._emits:
            self.events_received.emit(self._waiting)
        self._waiting = []
        self._sent_at = time.monotonic()
