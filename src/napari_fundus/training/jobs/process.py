"""Runs a job file in a process of its own; its events, pausing and stopping are as in this one."""

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
from napari_fundus.runtime.progress import Monitor, Progress
from napari_fundus.training.jobs.config import JOB_FILE, TrainingConfig, record_job
from napari_fundus.training.jobs.event_json import (
    PATCHES_FILE,
    Failure,
    Message,
    decode_message,
)
from napari_fundus.training.loop.events import Finished, Started, TrainingEvent
from napari_fundus.training.loop.state import LAST_FILE

LOG_FILE = "training.log"
"""What the process printed, in the folder of the run."""

_CHECK_LOG_FILE = "check.log"

_LOG_TAIL_LINES = 12
"""Lines of it that an error quotes."""

_MESSAGE_PREFIX = '{"type":'

_POLL = 0.05
"""Seconds between two looks at what the monitor asks for."""


def run_training_in_subprocess(
    config: TrainingConfig,
    folder: str | Path,
    *,
    monitor: Monitor,
    program: Sequence[str] = (
        sys.executable,
        "-P",  # nothing is imported from the folder at hand
        "-m",
        "napari_fundus.training.jobs.worker",
    ),
    kill_timeout: float = 120.0,
) -> Iterator[TrainingEvent]:
    """Write the job file of a training, run it in another process, and yield its events.

    If this process ends, however it does, the child stops at its next step and leaves a run that
    can be resumed.

    Parameters
    ----------
    config
        What to train, and how.
    folder
        Folder of the run; what the child prints is written to ``training.log`` in it, or to
        ``check.log`` during a check.
    monitor
        Receives progress. Cancelling stops the training, which saves its state and keeps its best
        weights; pausing holds it.
    program
        Command that is run with the path of the job file as its only argument.
    kill_timeout
        Seconds after which a child that was asked to stop, and does not, is killed.

    Raises
    ------
    TrainingError
        The child died: killed, crashed or out of memory. The message quotes its last lines, and
        says whether the run can be resumed.
    Cancelled
        The training was stopped.
    FundusError
        Whatever the training itself raised.
    """
    folder = Path(folder)
    events = _run_child(folder, monitor, program, kill_timeout, check=config.check)
    return record_job(config, folder, events)


def _run_child(
    folder: Path, monitor: Monitor, program: Sequence[str], kill_timeout: float, *, check: bool
) -> Iterator[TrainingEvent]:
    log_path = folder / (_CHECK_LOG_FILE if check else LOG_FILE)
    try:
        with log_path.open("w", encoding="utf-8") as log:
            child = _TrainingProcess(program, log, folder, monitor, kill_timeout)
        yield from child.events()
    finally:
        if check:
            for name in (_CHECK_LOG_FILE, PATCHES_FILE):
                (folder / name).unlink(missing_ok=True)


class _TrainingProcess:
    """The process, the lines that it writes, and the command that it was sent last."""

    def __init__(
        self,
        program: Sequence[str],
        log: IO[str],
        folder: Path,
        monitor: Monitor,
        kill_timeout: float,
    ) -> None:
        self._folder, self._monitor, self._kill_timeout = folder, monitor, kill_timeout
        self._log_path = Path(log.name)
        self._process = subprocess.Popen(
            [*program, str(folder / JOB_FILE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # Ctrl-C in a terminal is for the parent alone; its end stops the child.
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
                    self._monitor.report(message)
                else:
                    done = done or isinstance(message, Finished | Started)
                    yield message
            status = self._process.wait()
        finally:
            self._terminate()
        if failure is not None:
            raise failure.to_exception()
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
                # What a module prints while it is imported, before the child redirects its output.
                continue
            if (message := decode_message(line, self._folder)) is not None:
                yield message

    def _forward_commands(self) -> None:
        """Send the child what the monitor asks for, if that has changed."""
        if self._monitor.cancelled:
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                self._send_command("stop")
            elif time.monotonic() - self._stopped_at > self._kill_timeout:
                self._process.kill()
        elif self._monitor.paused != self._paused:
            self._paused = self._monitor.paused
            self._send_command("pause" if self._paused else "resume")

    def _send_command(self, command: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        # A broken pipe: the child has ended, and its last lines say how.
        with suppress(OSError):
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()

    def _terminate(self) -> None:
        """Let the child stop, and wait for it; kill it if it does not end in time."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(self._kill_timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _exit_message(self, status: int) -> str:
        """Return what happened to a child that died without a failure message, and what to do."""
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
        tail = _log_tail(self._log_path)
        quoted = f" Its last lines:\n{tail}" if tail else ""
        return f"The training's process {how}. {saved}{quoted}"


def _log_tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-_LOG_TAIL_LINES:])
