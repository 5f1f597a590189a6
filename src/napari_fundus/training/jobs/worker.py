"""``python -m napari_fundus.training.jobs.worker RUN/job.json``: the process of a training.

It prints each event as a line of JSON, and reads the lines pause, resume and stop.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import IO

from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.plugins import get_detector
from napari_fundus.runtime.progress import Monitor, Progress
from napari_fundus.training.jobs.config import (
    JOB_FILE,
    TrainingConfig,
    read_training_config,
    record_job,
)
from napari_fundus.training.jobs.event_json import Failure, Message, encode_message
from napari_fundus.training.loop.events import Started, TrainingEvent
from napari_fundus.training.loop.fabric import is_secondary_rank

_INTERVAL = 0.1
"""Seconds between two reports of progress."""

_MODULE = "napari_fundus.training.jobs.worker"


def run_training(
    config: TrainingConfig, folder: str | Path, *, monitor: Monitor
) -> Iterator[TrainingEvent]:
    """Write the job file of a training, run it in this process, and yield its events.

    Parameters
    ----------
    config
        What to train, and how.
    folder
        Folder of the run.
    monitor
        Receives progress; can pause and cancel the training.

    Raises
    ------
    UnknownDetectorError
        No installed detector has this name.
    FundusError
        Whatever the training itself raises.
    """
    events = _train(config, Path(folder), monitor)
    # Of several processes of one training the first writes its files.
    return events if is_secondary_rank() else record_job(config, folder, events)


def _train(config: TrainingConfig, folder: Path, monitor: Monitor) -> Iterator[TrainingEvent]:
    # A check must not remove the run that the training will replace.
    aside = tempfile.TemporaryDirectory() if config.check and config.overwrite else None
    with aside or nullcontext(str(folder)) as output:
        events = get_detector(config.detector).train(
            data=config.data,
            output=output,
            healthy=config.healthy,
            checkpoint=config.checkpoint,
            settings=config.settings,
            name=config.name or folder.resolve().name,
            device=config.device,
            command=config.command or _worker_command(folder),
            monitor=monitor,
            resume=config.resume,
            overwrite=config.overwrite,
        )
        for event in events:
            yield event
            if config.check and isinstance(event, Started):
                return


def _worker_command(folder: Path) -> str:
    return shlex.join(["python", "-m", _MODULE, str(folder / JOB_FILE)])


class EventWriter:
    """Writes messages as lines; cancels the training where nobody reads them any more.

    Parameters
    ----------
    stream
        Where to write.
    folder
        Folder of the run, for pictures.
    """

    def __init__(self, stream: IO[str], folder: Path) -> None:
        self.monitor = Monitor(self._send_progress)
        self._stream, self._folder = stream, folder
        self._lock = threading.Lock()
        self._reported_at = 0.0

    def send(self, message: Message) -> None:
        """Write a line."""
        line = encode_message(message, self._folder)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except OSError:
                # The parent has ended. The training saves its state when it stops.
                self.monitor.cancel()

    def _send_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.paused or progress.fraction >= 1 or now - self._reported_at >= _INTERVAL:
            self._reported_at = now
            self.send(progress)

    def read_commands(self, commands: IO[str]) -> None:
        """Execute the lines pause, resume and stop until they end; then stop the training."""
        monitor = self.monitor
        known = {"pause": monitor.pause, "resume": monitor.resume, "stop": monitor.cancel}
        for line in commands:
            known.get(line.strip(), lambda: None)()
        monitor.cancel()


def serve(
    start: Callable[[Monitor], Iterator[TrainingEvent]],
    folder: Path,
    *,
    commands: IO[str] | None = None,
    output: IO[str] | None = None,
) -> int:
    """Train, and write each event as a line of JSON; `pause`, `resume` and `stop` are read.

    Whatever else is printed goes to standard error. When the commands end, because the parent
    closed them or has ended, the training stops at its next step and can be resumed. A process
    that computes its share of the training of another one writes and reads nothing.

    Parameters
    ----------
    start
        Starts the training under a monitor.
    folder
        Folder of the run.
    commands, output
        Lines to read and to write; standard input and output by default.

    Returns
    -------
    status
        0 where the training ended by itself, 130 where it was stopped, 2 where it failed.
    """
    if is_secondary_rank():
        for _ in start(Monitor()):
            pass
        return 0
    writer = EventWriter(_redirect_stdout() if output is None else output, folder)
    # Our own handle: Python's would be locked by the waiting reader when Python shuts down.
    lines = os.fdopen(os.dup(0), encoding="utf-8") if commands is None else commands
    threading.Thread(target=writer.read_commands, args=(lines,), daemon=True).start()
    try:
        with closing(start(writer.monitor)) as events:  # type: ignore[type-var]
            for event in events:
                writer.send(event)
    except Cancelled as error:
        writer.send(Failure.from_exception(error))
        return 130
    except (FundusError, OSError, MemoryError, RuntimeError) as error:
        # Ours, the file system's, and torch's own, which are RuntimeErrors: out of memory too.
        print(json.dumps(Failure.from_exception(error).message), file=sys.stderr)
        writer.send(Failure.from_exception(error))
        return 2
    return 0


def _redirect_stdout() -> IO[str]:
    """Return standard output for the events alone: what others print would break the lines."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def main(job: Path) -> int:
    """Run a job file in the folder that it lies in; return the exit status of the process."""
    folder = job.resolve().parent

    def start(monitor: Monitor) -> Iterator[TrainingEvent]:
        return _train(read_training_config(job), folder, monitor)

    return serve(start, folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"Usage: python -m {_MODULE} RUN/{JOB_FILE}")
    sys.exit(main(Path(sys.argv[1])))
