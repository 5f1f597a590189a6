"""A training in a process of its own: told, paused and stopped as if it ran here."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from napari_fundus.errors import TrainingError
from napari_fundus.runtime.monitor import Monitor, Progress
from napari_fundus.training.jobs.config import TrainingConfig
from napari_fundus.training.jobs.event_json import Failure, Message, decode_message
from napari_fundus.training.loop.events import Finished, Started, TrainingEvent
from napari_fundus.training.loop.state import LAST_FILE

__all__ = ["LOG_FILE", "run_training_in_subprocess"]

LOG_FILE = "training.log"
"""What the process printed, in the folder of the run."""

_LOG_TAIL_LINES = 12
"""Lines of it that an error quotes."""

_MESSAGE_PREFIX = '{"type":'

_POLL = 0.05
"""Seconds between two looks at what the watcher wants."""


def run_training_in_subprocess(
    order: TrainingConfig,
    folder: str | Path,
    *,
    monitor: Monitor,
    resume: bool = False,
    overwrite: bool = False,
    check: bool = False,
    program: Sequence[str] | None = None,
    patience: float = 120.0,
) -> Iterator[TrainingEvent]:
    """Train as ordered in another process, and yield its events.

    The process is a child: if this one ends, however it does, the child stops at its next step and
    leaves a run that can be resumed.

    Parameters
    ----------
    order
        What to train.
    folder
        Of the run; the child's own words go to ``training.log`` in it.
    monitor
        Takes progress. Cancelling stops the training, which saves its state and keeps its best
        weights; pausing holds it.
    resume, overwrite
        As in :func:`napari_fundus.training.train`.
    check
        Stop after `Started`, before the first step.
    program
        What to call with the words of the order; by default this package's command line.
    patience
        Seconds after which a child that was told to stop, and does not, is killed.

    Raises
    ------
    TrainingError
        The child died: killed, crashed or out of memory. Its last words are quoted, and whether
        the run can be resumed.
    Cancelled
        The training was stopped.
    FundusError
        Whatever the training itself raised.
    """
    words = [*(program or (sys.executable, "-m", "napari_fundus.cli")), *order.words(folder)]
    words.append("--events")
    for flag, wanted in (("--resume", resume), ("--overwrite", overwrite), ("--check", check)):
        if wanted:
            words.append(flag)
    place = Path(folder)
    new = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    try:
        with (place / LOG_FILE).open("w", encoding="utf-8") as log:
            child = _TrainingProcess(words, log, place, monitor, patience)
        yield from child.events()
    finally:
        if check:
            _remove_check_files(place, new=new)


class _TrainingProcess:
    """The process, what it says, and what it was told last."""

    def __init__(
        self, words: Sequence[str], log: IO[str], folder: Path, monitor: Monitor, patience: float
    ) -> None:
        self._folder, self._monitor, self._patience = folder, monitor, patience
        self._process = subprocess.Popen(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # Ctrl-C in a terminal is for the parent alone; the child hears of it by its end.
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._paused = False
        self._stopped_at: float | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def events(self) -> Iterator[TrainingEvent]:
        """Yield the events until the child ends."""
        failure: Failure | None = None
        done = False
        try:
            for message in self._messages():
                if isinstance(message, Failure):
                    failure = message
                elif isinstance(message, Progress):
                    self._monitor.tell(message)
                else:
                    done = done or isinstance(message, Finished | Started)
                    yield message
            status = self._process.wait()
        finally:
            self._leave()
        if failure is not None:
            raise failure.error()
        if status != 0 or not done:
            raise TrainingError(self._exit_message(status))

    def _messages(self) -> Iterator[Message]:
        while True:
            self._forward_commands()
            try:
                line = self._lines.get(timeout=_POLL)
            except queue.Empty:
                continue
            if line is None:
                return
            if not line.startswith(_MESSAGE_PREFIX):
                # What a plugin prints while it is imported, before the child claims the line.
                continue
            if (message := decode_message(line, self._folder)) is not None:
                yield message

    def _forward_commands(self) -> None:
        """Tell the child what the watcher wants, if that has changed."""
        if self._monitor.cancelled:
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                self._say("stop")
            elif time.monotonic() - self._stopped_at > self._patience:
                self._process.kill()
        elif self._monitor.paused != self._paused:
            self._paused = self._monitor.paused
            self._say("pause" if self._paused else "resume")

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        # A pipe that is broken: the child has ended, and its last lines tell how.
        with suppress(OSError):
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()

    def _leave(self) -> None:
        """Let the child stop, and wait for it; one that nobody listens to any more is not kept."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _exit_message(self, status: int) -> str:
        """Return what happened to a child that died without a word, and what to do."""
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
            how = f"was killed ({name})"
            if name == "SIGKILL":
                how += ", as systems do when memory runs out"
        else:
            how = f"ended unexpectedly with status {status}"
        saved = (
            f"The run in {self._folder} can be resumed from its last saved state."
            if (self._folder / LAST_FILE).exists()
            else "Nothing had been saved yet: start it again."
        )
        words = _log_tail(self._folder / LOG_FILE)
        quoted = f" Its last words:\n{words}" if words else ""
        return f"The training's process {how}. {saved}{quoted}"


def _log_tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-_LOG_TAIL_LINES:])


def _remove_check_files(folder: Path, *, new: bool) -> None:
    """Remove what a check has left."""
    for name in (LOG_FILE, "patches.npz"):
        (folder / name).unlink(missing_ok=True)
    if new and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
