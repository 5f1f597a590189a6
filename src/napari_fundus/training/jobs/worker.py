"""The far end of a training in a process of its own: tells events, and does as it is bid."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.runtime.monitor import Monitor, Progress
from napari_fundus.training.jobs.event_json import Failure, Message, encode_message
from napari_fundus.training.loop.events import TrainingEvent

__all__ = ["COMMANDS", "serve"]

COMMANDS = ("pause", "resume", "stop")
"""What a line on standard input may say; its end says stop."""

_INTERVAL = 0.1
"""Seconds between two reports of how far the training is."""


class EventWriter:
    """Writes messages as lines; where nobody reads them any more, the training is stopped.

    Parameters
    ----------
    stream
        Where to.
    folder
        Of the run, for pictures.
    """

    def __init__(self, stream: IO[str], folder: Path) -> None:
        self.monitor = Monitor(self._progress)
        self._stream, self._folder = stream, folder
        self._lock = threading.Lock()
        self._reported_at = 0.0

    def tell(self, message: Message) -> None:
        """Write a line."""
        line = encode_message(message, self._folder)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except OSError:
                # The parent is gone. The state is saved by the training itself when it stops.
                self.monitor.cancel()

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.paused or progress.fraction >= 1 or now - self._reported_at >= _INTERVAL:
            self._reported_at = now
            self.tell(progress)

    def obey(self, commands: IO[str]) -> None:
        """Do what the lines of `commands` say, until they end; then stop the training."""
        for line in commands:
            word = line.strip()
            if word == "pause":
                self.monitor.pause()
            elif word == "resume":
                self.monitor.resume()
            elif word == "stop":
                self.monitor.cancel()
        self.monitor.cancel()


def serve(
    begin: Callable[[Monitor], Iterator[TrainingEvent]],
    folder: Path,
    *,
    commands: IO[str] | None = None,
    output: IO[str] | None = None,
) -> int:
    """Train, telling each event as a line of JSON; `pause`, `resume` and `stop` are read.

    Whatever else is printed goes to standard error. When the commands end, because the parent
    closed them or is no more, the training stops at its next step and can be resumed.

    Parameters
    ----------
    begin
        Starts the training under a monitor.
    folder
        Of the run.
    commands, output
        Lines to read and to write; standard input and output by default.

    Returns
    -------
    status
        0 where the training ended by itself, 130 where it was stopped, 2 where it failed.
    """
    teller = EventWriter(_redirect_stdout() if output is None else output, folder)
    # Our own handle: Python's would be locked by the waiting reader when Python shuts down.
    lines = os.fdopen(os.dup(0), encoding="utf-8") if commands is None else commands
    threading.Thread(target=teller.obey, args=(lines,), daemon=True).start()
    try:
        with closing(begin(teller.monitor)) as events:  # type: ignore[type-var]
            for event in events:
                teller.tell(event)
    except Cancelled as error:
        teller.tell(Failure.of(error))
        return 130
    except (FundusError, OSError, MemoryError, RuntimeError) as error:
        # Ours, the file system's, and torch's own, which are RuntimeErrors: out of memory too.
        print(json.dumps(Failure.of(error).message), file=sys.stderr)
        teller.tell(Failure.of(error))
        return 2
    return 0


def _redirect_stdout() -> IO[str]:
    """Return standard output for us alone: what others print would tear our lines."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream
