"""Runs the readers over many inputs in processes that may die, hang or swell, and counts."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from benchmarks.fuzzing.targets import find_target, make_input
from benchmarks.fuzzing.worker import InputFinished, InputOutcome, InputStarted, run_worker

__all__ = ["BAD", "Finding", "Tally", "run"]

BAD: tuple[InputOutcome, ...] = ("crashed", "hung", "over memory", "strayed")
"""Outcomes that no input may have."""

_BATCH = 200
_START = 120.0
_KEPT_ALIKE = 3


@dataclass(frozen=True)
class Finding:
    """An input that has a bad outcome: enough to make it again."""

    reader: str
    seed: int
    number: int
    outcome: InputOutcome
    message: str


@dataclass
class Tally:
    """What came of the inputs of one reader.

    Attributes
    ----------
    counts
        Number of inputs by outcome.
    findings
        Those that must not be.
    seconds, slowest
        Spent reading in all, and on the slowest input.
    """

    reader: str
    counts: Counter[InputOutcome] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0


@dataclass(frozen=True)
class _Batch:
    reader: str
    numbers: Sequence[int]
    again: bool = False


@dataclass
class _RunningProcess:
    batch: _Batch
    process: multiprocessing.process.BaseProcess
    since: float
    current: int | None = None
    left: deque[int] = field(default_factory=deque)


def run(
    readers: Sequence[str],
    *,
    inputs: int,
    seed: int = 0,
    processes: int = 2,
    limit: float = 5.0,
    memory: int = 2 << 30,
    minutes: float | None = None,
    corpus: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Tally]:
    """Try readers on damaged inputs.

    Parameters
    ----------
    readers
        Names, as in `subjects.FUZZ_TARGETS`; the inputs are shared evenly among them.
    inputs
        How many in all.
    seed
        Another one gives other inputs.
    processes
        How many read at a time.
    limit
        Seconds on the clock from which on an input counts as hung, if it also does when read again
        by itself: a busy machine alone is no finding.
    memory
        Bytes that a process may grow by.
    minutes
        No batch is begun after that time.
    corpus
        Folder in which inputs with a bad outcome are kept, at most three of each kind.
    tell
        Is told of each finding.

    Returns
    -------
    tallies
        By reader.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.fuzzing.preload"])
    waiting = deque(_batches(readers, inputs))
    tallies = {name: Tally(name) for name in readers}
    alike: Counter[tuple[str, str]] = Counter()
    running: dict[Connection, _RunningProcess] = {}
    end = None if minutes is None else time.monotonic() + 60 * minutes
    scratch = Path(tempfile.mkdtemp(prefix="napari-fundus-fuzz-"))

    def note(reader: str, ended: InputFinished) -> None:
        tally = tallies[reader]
        tally.counts[ended.outcome] += 1
        tally.seconds += ended.seconds
        tally.slowest = max(tally.slowest, ended.seconds)
        if ended.outcome not in BAD:
            return
        finding = Finding(reader, seed, ended.number, ended.outcome, ended.message)
        tally.findings.append(finding)
        kind = (reader, re.sub(r"\d+|'[^']*'", "", f"{ended.outcome} {ended.message}")[:60])
        alike[kind] += 1
        if alike[kind] <= _KEPT_ALIKE:
            tell(f"{reader} {ended.number}: {ended.outcome}: {ended.message}")
            if corpus is not None:
                save_finding(finding, corpus)

    def take_up(numbers: Iterable[int], batch: _Batch) -> None:
        if rest := list(numbers):
            waiting.appendleft(_Batch(batch.reader, rest))

    def lost(work: _RunningProcess, outcome: InputOutcome, message: str, seconds: float) -> None:
        if work.current is None:
            raise RuntimeError(f"A process of {work.batch.reader} ended before its first input.")
        if outcome == "hung" and not work.batch.again:
            waiting.appendleft(_Batch(work.batch.reader, [work.current], again=True))
        else:
            note(work.batch.reader, InputFinished(work.current, outcome, message, seconds))
        take_up(work.left, work.batch)

    try:
        while waiting or running:
            while waiting and len(running) < processes and (end is None or time.monotonic() < end):
                batch = waiting.popleft()
                here, there = context.Pipe(duplex=False)
                process = context.Process(
                    target=run_worker,
                    args=(there,),
                    kwargs={
                        "name": batch.reader,
                        "seed": seed,
                        "numbers": batch.numbers,
                        "memory": memory,
                        "scratch": scratch,
                    },
                    daemon=True,
                )
                process.start()
                there.close()
                left = deque(batch.numbers)
                running[here] = _RunningProcess(batch, process, time.monotonic(), left=left)
            if not running:
                break
            for ready in wait(list(running), timeout=0.2):
                assert isinstance(ready, Connection)  # noqa: S101  # no other was given
                _listen(ready, running, note, lost, take_up)
            for connection, work_ in list(running.items()):
                allowed = _START if work_.current is None else limit
                spent = time.monotonic() - work_.since
                if spent > allowed and not connection.poll():
                    work_.process.kill()
                    work_.process.join()
                    del running[connection]
                    lost(work_, "hung", f"more than {limit:g} s", spent)
    finally:
        for left_over in running.values():
            left_over.process.kill()
            left_over.process.join()
        shutil.rmtree(scratch, ignore_errors=True)
    return tallies


def _listen(
    connection: Connection,
    running: dict[Connection, _RunningProcess],
    note: Callable[[str, InputFinished], None],
    lost: Callable[[_RunningProcess, InputOutcome, str, float], None],
    take_up: Callable[[Iterable[int], _Batch], None],
) -> None:
    """Take one message of a process, or see that it has ended."""
    state = running[connection]
    try:
        message = connection.recv()
    except (EOFError, ConnectionResetError):
        del running[connection]
        connection.close()
        state.process.join()
        if state.current is not None or state.process.exitcode:
            lost(state, "crashed", f"the process died ({state.process.exitcode})", 0.0)
        else:
            take_up(state.left, state.batch)
        return
    state.since = time.monotonic()
    if isinstance(message, InputStarted):
        state.current = message.number
        state.left.popleft()
    else:
        state.current = None
        note(state.batch.reader, message)


def _batches(readers: Sequence[str], inputs: int) -> Iterable[_Batch]:
    """Yield batches reader by reader in turns, so that a run cut short has tried all of them."""
    shares = {
        n: inputs // len(readers) + (i < inputs % len(readers)) for i, n in enumerate(readers)
    }
    for first in range(0, max(shares.values(), default=0), _BATCH):
        for name, share in shares.items():
            if first < share:
                yield _Batch(name, range(first, min(first + _BATCH, share)))


def save_finding(finding: Finding, corpus: Path) -> Path:
    """Write an input and what came of it into a folder of its own, and return that."""
    place = corpus / finding.reader / f"{finding.number}-{finding.outcome.replace(' ', '-')}"
    files = make_input(find_target(finding.reader), seed=finding.seed, number=finding.number)
    for name, content in files.items():
        path = place / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (place / "why.txt").write_text(f"{finding}\n", encoding="utf-8")
    return place
