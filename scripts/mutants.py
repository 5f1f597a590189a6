"""Change the numerics in one place after another, and say which changes no test notices.

Run by ``make mutants`` in an environment that has cosmic-ray. The code is changed in a copy of the
tree, made when a session begins. What was tried is kept in the session's file, so the next run goes
on from there; remove ``mutants/session.sqlite`` to begin anew.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/napari_fundus")
ROOMS = (
    "metrics",
    "inference",
    "results",
    "preprocessing/geometry.py",
    "training/losses.py",
)
COPIED = ("src", "tests", "benchmarks", "scripts", "examples", "docs", "pyproject.toml")

Box = tuple[int, int, int, int]
"""First line and column, last line and column."""


def modules() -> list[Path]:
    """Return the files whose code is changed, from the root of the tree."""
    paths = [SOURCE / room for room in ROOMS]
    files = [sorted(p.rglob("*.py")) if p.is_dir() else [p] for p in paths]
    return [file for group in files for file in group if file.name != "__init__.py"]


def tests_of(module: Path) -> list[str]:
    """Return the test files that import a module or from its package, those of its name first."""
    parts = module.relative_to(SOURCE).with_suffix("").parts
    folder, name = ".".join(("napari_fundus", *parts[:-1])), parts[-1]
    mentions = (
        f"{folder}.{name} import",
        f"from {folder} import",
        f"import {folder}.{name}",
    )
    own = Path("tests", *parts[:-1], f"test_{name}.py")
    found = [
        path
        for path in sorted(Path("tests").rglob("test_*.py"))
        if "gui" not in path.parts
        and any(mention in path.read_text(encoding="utf-8") for mention in mentions)
    ]
    found.sort(key=lambda path: (path != own, path.parent != own.parent))
    return [str(path) for path in found] or [str(own.parent)]


def is_code(mutation: MutationSpec, annotations: dict[Path, list[Box]]) -> bool:
    """Return whether a change is outside type annotations, which nothing evaluates."""
    path = mutation.module_path
    if path not in annotations:
        annotations[path] = list(_annotations(ast.parse(path.read_text(encoding="utf-8"))))
    first, last = mutation.start_pos, mutation.end_pos
    return not any(first >= box[:2] and last <= box[2:] for box in annotations[path])


def _annotations(tree: ast.AST) -> Iterator[Box]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                yield part.lineno, part.col_offset, part.end_lineno or 0, part.end_col_offset or 0


def sample(database: WorkDB, count: int, seed: int) -> list[WorkItem]:
    """Return the changes to try: the same for the same seed, whatever was tried already."""
    annotations: dict[Path, list[Box]] = {}
    items = [x for x in database.work_items if is_code(x.mutations[0], annotations)]
    items.sort(key=lambda x: (str(x.mutations[0].module_path), *_place(x.mutations[0])))
    random.Random(seed).shuffle(items)  # noqa: S311  # nothing secret
    return items[:count] if count else items


def _place(mutation: MutationSpec) -> tuple[object, ...]:
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def command(python: str, module: Path) -> list[str]:
    """Return the words that run the tests of a module."""
    words = [python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = [*tests_of(module), str(module)]  # with the examples in its docstrings
    return [*words, "-m", "not slow and not shared_data and not gui", *tests]


def run(database: WorkDB, items: list[WorkItem], python: str, minutes: float) -> None:
    """Try each change that was not tried yet, until the minutes are over.

    A module's tests are run once without a change: where they fail, nothing could be learned.
    """
    end = time.monotonic() + 60 * minutes
    tried = {job for job, _ in database.results}
    seconds: dict[Path, float] = {}
    for number, item in enumerate(items, 1):
        if item.job_id in tried:
            continue
        if time.monotonic() > end:
            print("The minutes are over. Run the command again to go on.", flush=True)
            return
        (mutation,) = item.mutations
        words = command(python, mutation.module_path)
        if mutation.module_path not in seconds:
            start = time.monotonic()
            plain = subprocess.run(words, check=False, capture_output=True, text=True)
            if plain.returncode:
                sys.exit(f"{plain.stdout}\nThe tests fail without any change. Mend them first.")
            seconds[mutation.module_path] = time.monotonic() - start
        # A change may let a loop run for ever.
        timeout = 60 + 5 * seconds[mutation.module_path]
        result = mutate_and_test(item.mutations, shlex.join(words), timeout=timeout)
        database.set_result(item.job_id, result)
        said = "" if result.test_outcome is None else result.test_outcome.value
        path = mutation.module_path.relative_to(SOURCE)
        print(f"{number}/{len(items)} {said} {path}:{mutation.start_pos[0]}", flush=True)


def report(database: WorkDB, items: list[WorkItem]) -> None:
    """Print the changes that no test noticed, and the share that some test did."""
    results = dict(database.results)
    tried = [results[x.job_id] for x in items if x.job_id in results]
    survived = [x for x in tried if x.test_outcome == TestOutcome.SURVIVED]
    for result in survived:
        print(result.diff)
    if tried:
        killed = len(tried) - len(survived)
        print(f"{killed} of {len(tried)} changes were noticed: {killed / len(tried):.0%}")


def main() -> None:
    """Copy the tree, list the changes once, and try a sample of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="that runs the tests")
    parser.add_argument("--folder", type=Path, default=ROOT / "mutants", help="of copy and session")
    parser.add_argument("--count", type=int, default=100, help="how many changes; 0 is all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=60, help="after which no other is begun")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    session, tree = folder / "session.sqlite", folder / "tree"
    python = shutil.which(asked.python) or asked.python
    python = str(Path(python).absolute())
    if not session.exists():
        shutil.rmtree(tree, ignore_errors=True)
        for name in COPIED:
            source, copy = ROOT / name, tree / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        shutil.rmtree(folder / "src", ignore_errors=True)
        shutil.copytree(tree / "src", folder / "src")
    # A run that was killed left its change.
    shutil.copytree(folder / "src", tree / "src", dirs_exist_ok=True)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    with use_db(session) as database:
        if not database.num_work_items:
            init(modules(), database, {})
        items = sample(database, asked.count, asked.seed)
        run(database, items, python, asked.minutes)
        report(database, items)


if __name__ == "__main__":
    main()
