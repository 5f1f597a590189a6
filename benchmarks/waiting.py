"""``python -m benchmarks.waiting``: what a person waits for, beside the time that it may take.

Prints a table, and ends with status 1 where something took longer. Times mean something on an idle
machine alone; that is why no test asks for them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.window import longest_turns
from napari_fundus.demo import make_demo
from napari_fundus.export.tiff import write_probability_tiff
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.relabel import class_components

__all__ = ["Wait", "main", "render_table"]

SHAPE = (2848, 4288)
REPEATS = 5


@dataclass(frozen=True)
class Wait:
    """What is waited for.

    Attributes
    ----------
    title
        What is done.
    measured, allowed
        Seconds, or the share of another way that `unit` names.
    unit
        Of both.
    """

    title: str
    measured: float
    allowed: float
    unit: str = "s"

    @property
    def is_met(self) -> bool:
        """Whether it takes no longer than allowed."""
        return self.measured <= self.allowed


def main() -> None:
    """Measure and print all; the window's part needs a display."""
    waits = [*_programs(), *_files(), *_sliders(), *_window()]
    print(render_table(waits))
    sys.exit(not all(wait.is_met for wait in waits))


def render_table(waits: list[Wait]) -> str:
    """Return a Markdown table, one row a wait."""
    lines = ["| what | measured | allowed | |", "|---|---|---|---|"]
    for wait in waits:
        mark = "" if wait.is_met else "**too long**"
        numbers = f"{wait.measured:.3g} {wait.unit} | {wait.allowed:.3g} {wait.unit}"
        lines.append(f"| {wait.title} | {numbers} | {mark} |")
    return "\n".join(lines)


def best_of(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the least seconds on the clock of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _programs() -> list[Wait]:
    def run(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    empty = best_of(run("pass"))
    detect = "import sys; sys.argv = ['napari-fundus', 'detect', '--help']; "
    detect += "from napari_fundus.cli import main; main()"
    return [
        Wait("import napari_fundus", best_of(run("import napari_fundus")) - empty, 0.3),
        Wait("napari-fundus detect --help", best_of(run(detect)) - empty, 1),
    ]


def _files() -> list[Wait]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = _twelve_megapixels()

        def write() -> None:
            write_probability_tiff(found, folder / "x.tif", overwrite=True)

        return [
            Wait("write four maps of 12 megapixels as TIFF", best_of(write, 2), 10),
            Wait("napari-fundus demo, without a window", make_demo(folder / "demo").seconds, 60),
        ]


def _sliders() -> list[Wait]:
    found = _twelve_megapixels()
    plain = best_of(lambda: found.threshold({"MA": 0.6}).labels["MA"])
    one = best_of(lambda: class_components(found, "MA", threshold=0.6))
    parts = class_components(found, "MA", threshold=0.6)
    area = best_of(lambda: parts.at_least(40))
    return [
        Wait("a new threshold on 12 megapixels", one / plain, 1 / 3, "× a plain run"),
        Wait("a new least area on 12 megapixels", area / plain, 1 / 3, "× a plain run"),
    ]


def _window() -> list[Wait]:
    return [Wait(f"longest turn: {title}", turn, 0.2) for title, turn in longest_turns().items()]


def _twelve_megapixels() -> Detections:
    rng = np.random.default_rng(1)
    maps = {}
    for code in ("MA", "HE", "EX", "SE"):
        values = np.zeros(SHAPE, np.float32)
        for row, col in rng.integers(40, (SHAPE[0] - 48, SHAPE[1] - 48), (400, 2)):
            values[row - 9 : row + 9, col - 9 : col + 9] = rng.random((18, 18), np.float32)
        maps[code] = values
    provenance = Provenance(
        detector="tophat", detector_version="1", package_version="0", image_shape=SHAPE
    )
    return Detections(provenance, maps, dict.fromkeys(maps, 0.9))


if __name__ == "__main__":
    main()
