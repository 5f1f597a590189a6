"""One process that reads a run of inputs and tells of each: bounded memory, watched files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import site
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import napari_fundus
from benchmarks.fuzzing.targets import find_target, make_input
from napari_fundus.errors import FundusError

__all__ = ["InputFinished", "InputOutcome", "InputStarted", "run_worker"]

InputOutcome = Literal["valid", "refused", "crashed", "hung", "over memory", "strayed"]

_FORBIDDEN = (
    "pickle.find_class",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "socket.getaddrinfo",
    "urllib.Request",
    "webbrowser.open",
)
_OWN_DECODER = "napari_fundus.image.decoder"
"""The process in which the package decodes what has no bounds."""

_FILES = ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
_FILES_MORE = ("os.symlink", "os.chmod", "os.listdir", "os.scandir", "shutil.copyfile")


@dataclass(frozen=True)
class InputStarted:
    """An input is about to be read."""

    number: int


@dataclass(frozen=True)
class InputFinished:
    """What came of an input: the outcome, why, and after how many seconds."""

    number: int
    outcome: InputOutcome
    message: str
    seconds: float


def run_worker(
    connection: Connection,
    *,
    name: str,
    seed: int,
    numbers: Sequence[int],
    memory: int,
    scratch: Path,
) -> None:
    """Read inputs, and send `InputStarted` and `InputFinished` for each.

    Parameters
    ----------
    connection
        Where to send to; closed at the end.
    name, seed, numbers
        Of the subject and its inputs.
    memory
        Bytes that the process may grow by.
    scratch
        Folder in which this process makes one of its own, which it removes at the end.
    """
    warnings.simplefilter("ignore")
    subject = find_target(name)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    place = folder / "input"
    for number in (0, 0):  # what is imported on first use is not counted for the inputs
        _write_inputs(place, make_input(subject, seed=seed, number=number))
        if not name.startswith("toy-"):
            with contextlib.suppress(FundusError):
                subject.read(place)
    # What readers and libraries print is not told: the damage is known from the outcome.
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    watch = _AuditHook(folder)
    sys.addaudithook(watch)
    base = _peak()
    _limit_memory(memory)
    for number in numbers:
        _write_inputs(place, make_input(subject, seed=seed, number=number))
        connection.send(InputStarted(number))
        watch.seen.clear()
        watch.active = True
        start = time.perf_counter()
        outcome, message = _outcome(lambda: subject.read(place))
        seconds = time.perf_counter() - start
        watch.active = False
        if watch.seen:
            outcome, message = "strayed", watch.seen[0]
        elif _peak() - base > memory:
            outcome, message = "over memory", f"peak {(_peak() - base) / 2**20:.0f} MiB; {message}"
        connection.send(InputFinished(number, outcome, message, seconds))
        if outcome == "over memory":
            break  # its peak would be counted for those that follow
    shutil.rmtree(folder)
    connection.close()


def _write_inputs(place: Path, files: dict[str, bytes]) -> None:
    if place.exists():
        shutil.rmtree(place)
    place.mkdir()
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _outcome(read: Any) -> tuple[InputOutcome, str]:
    try:
        read()
    except MemoryError as error:
        return "over memory", _describe_error(error)
    except FundusError as error:
        if _was_memory(error):
            return "over memory", _describe_error(error)
        return "refused", f"{type(error).__name__}: {error}"[:300]
    except BaseException as error:  # noqa: BLE001  # whatever it is, this tells of it
        return ("over memory" if _was_memory(error) else "crashed"), _describe_error(error)
    return "valid", ""


def _was_memory(error: BaseException | None) -> bool:
    """Tell whether a lack of memory led to an error."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _describe_error(error: BaseException) -> str:
    """Return the error and the last line of the package that it passed, for one line."""
    home = str(Path(napari_fundus.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(home)]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{where} {type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _peak() -> int:
    """Return the most memory that this process ever had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _limit_memory(memory: int) -> None:
    """Let no allocation lead further than `memory` beyond what is mapped now."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return  # the peak is measured all the same
    mapped = int(status.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    # Threads reserve room for stacks, which is not memory in use.
    limit = mapped + memory + (256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


class _AuditHook:
    """An audit hook that notes files outside the folder, other programs, the network, pickles.

    Only what Python itself opens is seen, not what a C library opens by its own means.
    """

    def __init__(self, folder: Path) -> None:
        self.active = False
        self.seen: list[str] = []
        self._within = str(folder.resolve()) + os.sep
        self._installed = tuple(str(Path(p).resolve()) + os.sep for p in _installed())

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "subprocess.Popen" and _OWN_DECODER in arguments[1]:
            return  # it reads what is written to it, within limits
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {arguments[:2]!r}"[:300])
        elif event in _FILES or event in _FILES_MORE:
            path = arguments[0]
            if isinstance(path, str | bytes | os.PathLike) and not self._is_allowed(
                event, path, arguments
            ):
                self.seen.append(f"{event} {arguments!r}"[:300])

    def _is_allowed(self, event: str, path: Any, arguments: tuple[Any, ...]) -> bool:
        full = os.path.realpath(os.fsdecode(path))
        if (full + os.sep).startswith(self._within):
            return True
        mode = arguments[1] if event == "open" and len(arguments) > 1 else ""
        read = event in ("os.listdir", "os.scandir") or (isinstance(mode, str) and mode[:1] == "r")
        # Modules are imported on first use; threads and codecs look into /proc and /dev.
        return (read or mode is None) and full.startswith((*self._installed, "/proc/", "/dev/"))


def _installed() -> Iterable[str | Path]:
    yield from (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))  # noqa: PTH120
    yield from site.getsitepackages()
    yield Path(napari_fundus.__file__).parent
    yield Path(__file__).parents[1]
