"""Tell whether all detectors still give bit for bit what they gave at another commit.

Run ``python scripts/compare_results.py COMMIT [--keep FOLDER]``. Both sides detect and evaluate on
the bundled photograph by the command line alone, in float32, each with the sources of its commit.
Probabilities, labels, tables, outlines, reports and their plots are compared; times and versions
are not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage.io import imread

ROOT = Path(__file__).parents[1]
DETECTORS = ("tophat", "unet", "voting", "multiscale", "mask_rcnn", "cam")
EVALUATIONS = {
    "report": (",".join(DETECTORS[:5]), "aupr,froc,overlap,instances,image"),
    "report-cam": ("cam", "localization"),
}
"""Folder of the report to detectors and protocols."""

VARYING = re.compile(
    r"(^|_)(root|seconds|duration|time|date|version|created|started|finished|command|sources?|folder|"
    r"path|platform|machine|python|packages|torch|uuid|environment)(_|$)"
)
"""Keys of JSON and columns of tables whose values may differ."""

_SAVE_MAPS = """
import sys
import numpy as np
import pandas as pd
import napari_fundus as nf
photograph, name, path = sys.argv[1:]
found = nf.detect(photograph, detector=name)
maps = {f"probability {code}": values for code, values in found.probability.items()}
maps |= {f"labels {code}": values for code, values in found.labels.items()}
maps |= {f"heat map {code}": values for code, values in found.heatmap.items()}
np.savez(path, **maps)
"""


def record(sources: Path, output: Path) -> None:
    """Write everything that the commit checked out at `sources` gives on the bundled photograph."""
    data = sources / "src" / "napari_fundus" / "data" / "idrid"
    photograph = next(data.glob("*.jpg"))
    for name in DETECTORS:
        formats = ("-f", "csv,coco,geojson")
        _command(sources, "detect", photograph, "-d", name, *formats, "-o", output / name)
        _run(sources, "-c", _SAVE_MAPS, photograph, name, output / name / "maps.npz")
    for folder, (names, protocols) in EVALUATIONS.items():
        words = ("-d", names, "-p", protocols, "--split", "all", "-o", output / folder)
        _command(sources, "evaluate", data, *words)


def _command(sources: Path, *words: str | Path) -> None:
    _run(sources, "-m", "napari_fundus.cli", *words, "--overwrite")


def _run(sources: Path, *words: str | Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(sources / "src"),
        "NAPARI_FUNDUS_PRECISION": "float32",
        "NAPARI_FUNDUS_DEVICE": "cpu",
    }
    subprocess.run([sys.executable, *map(str, words)], env=environment, cwd=sources, check=True)


def differences(before: Path, after: Path) -> Iterator[str]:
    """Yield a line for each file that is missing, new or different."""
    names = [
        {p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and _compared(p)}
        for folder in (before, after)
    ]
    yield from (f"missing: {name}" for name in sorted(names[0] - names[1]))
    yield from (f"new: {name}" for name in sorted(names[1] - names[0]))
    for name in sorted(names[0] & names[1]):
        if what := _difference(before / name, after / name):
            yield f"different: {name}: {what}"


def _compared(path: Path) -> bool:
    return (
        path.suffix in {".csv", ".json", ".geojson", ".npz", ".md", ".png"}
        and "maps" not in path.parts
    )


def _difference(before: Path, after: Path) -> str:
    if before.suffix == ".npz":
        one, other = np.load(before), np.load(after)
        if one.files != other.files:
            return f"{one.files}, {other.files}"
        unequal = [n for n in one.files if not np.array_equal(one[n], other[n], equal_nan=True)]
        return ", ".join(unequal)
    if before.suffix == ".png":
        drawn, redrawn = imread(before), imread(after)
        if drawn.shape != redrawn.shape:
            return f"{drawn.shape}, {redrawn.shape}"
        pixels = int((drawn != redrawn).any(axis=-1).sum())
        return f"{pixels} pixels" if pixels else ""
    texts = [path.read_text(encoding="utf-8") for path in (before, after)]
    if before.suffix in {".json", ".geojson"}:
        return _json_difference(*map(json.loads, texts))
    if before.suffix == ".csv":
        tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in (before, after)]
        one, other = (t.drop(columns=[c for c in t if VARYING.search(str(c))]) for t in tables)
        if one.shape != other.shape or list(one) != list(other):
            return f"{one.shape} {list(one)}, {other.shape} {list(other)}"
        return "" if one.equals(other) else str(one.compare(other))
    pairs = zip(*(map(_without_times, text.splitlines()) for text in texts), strict=False)
    unlike = [f"{a!r}, {b!r}" for a, b in pairs if a != b]
    return "; ".join(unlike[:3])


def _without_times(line: str) -> str:
    return re.sub(
        r"\d+(\.\d+)? (s|ms|min)\b|\d+\.\d+ \(at most \d+\.\d+\)|\d{4}-\d\d-\d\d[^|,]*|"
        r"`napari-fundus .*`|in `/.*`",
        "…",
        line,
    )


def _json_difference(one: Any, other: Any, place: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{place}: keys {sorted(one.keys() ^ other.keys())}"
        pairs = ((one[k], other[k], f"{place}/{k}") for k in one if not VARYING.search(str(k)))
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{place}: {len(one)} entries, {len(other)} entries"
        pairs = ((a, b, f"{place}/{i}") for i, (a, b) in enumerate(zip(one, other, strict=True)))
    else:
        return "" if one == other else f"{place}: {one!r}, {other!r}"
    return next((found for a, b, where in pairs if (found := _json_difference(a, b, where))), "")


def main() -> int:
    """Record both sides, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--keep", type=Path, help="folder that keeps what was recorded of COMMIT")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        before = chosen.keep or Path(temporary) / "before"
        if not before.exists():
            checkout = Path(temporary) / "checkout"
            git = ("git", "-C", str(ROOT), "worktree")
            subprocess.run([*git, "add", "--detach", str(checkout), chosen.commit], check=True)
            try:
                record(checkout, before)
            finally:
                subprocess.run([*git, "remove", "--force", str(checkout)], check=True)
        after = Path(temporary) / "after"
        record(ROOT, after)
        found = list(differences(before, after))
    print("\n".join(found) or f"Nothing differs from {chosen.commit}.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
