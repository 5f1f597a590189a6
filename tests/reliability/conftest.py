"""A nursery of processes to be killed, and small photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import napari_fundus

collect_ignore = ["nursery.py"]
"""A program of its own, which the tests start."""

Start = Callable[..., str]


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Start work in a process, kill it after some signs of work, and return how it ended."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    source = str(Path(napari_fundus.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("nursery.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        assert nursery.stdout.readline() == "ready\n"

        def _start(
            work: str, *, signs: int | None = None, delay: float = 0.0, **arguments: Any
        ) -> str:
            request = {"work": work, "arguments": arguments, "signs": signs, "delay": delay}
            nursery.stdin.write(json.dumps(request, default=str) + "\n")
            nursery.stdin.flush()
            return nursery.stdout.readline().strip()

        yield _start
        nursery.stdin.close()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of twelve small photographs, each with a bright square."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(12):
        pixels = np.full((80, 100, 3), 60, np.uint8)
        row, col = np.random.default_rng(number).integers(0, 60, 2)
        pixels[row : row + 9, col : col + 9] = 200
        Image.fromarray(pixels).save(folder / f"eye{number:02}.png")
    return folder
