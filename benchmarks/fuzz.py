"""Damaged files for every reader of the package: each must give a result or a typed error.

Usage: ``python -m benchmarks.fuzz [--inputs 100000] [--seed 0] [--reader NAME …] [--corpus DIR]``

An input is *valid* if it was read, and *refused* if a `FundusError` says what is wrong with it.
Nothing else may come of one: no other exception, no end of the process (both *crashed*), no more
than 5 seconds (*hung*), no more than 2 GiB (*over memory*), and no file outside its folder, other
program, network or pickle touched (*strayed*). Inputs are the same whenever the numbers are; those
with a bad outcome are kept in the corpus folder, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.fuzzing.faulty_readers import FAULTY_READERS
from benchmarks.fuzzing.runner import BAD, Tally, run
from benchmarks.fuzzing.targets import FUZZ_TARGETS

__all__ = ["main", "table"]

_OUTCOMES = ("valid", "refused", *BAD)


def table(tallies: Iterable[Tally]) -> str:
    """Return the tallies as a Markdown table, with a row of sums."""
    rows = [_row(tally) for tally in tallies]
    sums = [sum(int(row[n]) for row in rows) for n in range(1, 2 + len(_OUTCOMES))]
    busy = sum(float(row[-2]) for row in rows)
    rows.append(["all", *map(str, sums), f"{busy:.1f}", max((r[-1] for r in rows), key=float)])
    head = ["reader", "inputs", *_OUTCOMES, "seconds", "slowest, s"]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(tally: Tally) -> list[str]:
    counts = [tally.counts[outcome] for outcome in (*_OUTCOMES,)]
    return [
        tally.reader,
        str(sum(counts)),
        *map(str, counts),
        f"{tally.seconds:.1f}",
        f"{tally.slowest:.2f}",
    ]


def main(words: list[str] | None = None) -> int:
    """Run, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--reader",
        action="append",
        choices=[*FUZZ_TARGETS, *FAULTY_READERS],
        metavar="NAME",
        help=f"may be given several times; all by default: {', '.join(FUZZ_TARGETS)}",
    )
    parser.add_argument("--minutes", type=float, help="begin nothing new after that time")
    parser.add_argument("--corpus", type=Path, help="where inputs with a bad outcome are kept")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(words)
    start = time.monotonic()
    tallies = run(
        chosen.reader or list(FUZZ_TARGETS),
        inputs=chosen.inputs,
        seed=chosen.seed,
        processes=chosen.processes,
        minutes=chosen.minutes,
        corpus=chosen.corpus,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(table(tallies.values()))
    print(f"\nSeed {chosen.seed}; {time.monotonic() - start:.0f} s on the clock.")
    return int(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
