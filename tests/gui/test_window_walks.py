"""Layers that come and go in a window of a process of its own, which must live: its exit is read.

napari deletes the shader programs of a removed layer in whichever OpenGL context is current, which
killed the process (see `napari_compat.guard_removals`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import napari_fundus

pytestmark = [pytest.mark.gui, pytest.mark.slow]

SHAPE = 64, 96
SAMPLES = 30


@pytest.fixture
def walk(tmp_path):
    """Run a walk of the program beside this file; return what it told, once it ended well."""

    def run(name: str, *arguments: Any) -> list[str]:
        program = Path(__file__).with_name("window_walks.py")
        source = str(Path(napari_fundus.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, str(program), name, *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": source,
                "OMP_NUM_THREADS": "1",
                "NAPARI_CONFIG": str(tmp_path / "napari.yaml"),
            },
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
        *steps, last = done.stdout.split("\n")[:-1]
        assert last == "done"
        return steps

    return run


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[10 + seed : 13 + seed, 20:24] = 255
    Image.fromarray(drawn).save(path)


def idrid(root: Path) -> None:
    """Two in three have soft exudates."""
    base = root / "A. Segmentation"
    folders = {"MA": "1. Microaneurysms", "SE": "4. Soft Exudates"}
    for number in range(SAMPLES):
        part, stem = "a. Training Set", f"IDRiD_{number + 1:02d}"
        picture(base / "1. Original Images" / part / f"{stem}.jpg", number)
        for code, name in folders.items():
            if code != "SE" or number % 3:
                folder = base / "2. All Segmentation Groundtruths" / part / name
                mask(folder / f"{stem}_{code}.tif", number)


def eophtha(root: Path) -> None:
    base = root / "e_optha_MA"
    for number in range(SAMPLES):
        stem = f"C{number:07d}"
        if number % 3:
            picture(base / "MA" / f"E{number:07d}" / f"{stem}.jpg", number)
            mask(base / "Annotation_MA" / f"E{number:07d}" / f"{stem}.png", number)
        else:
            picture(base / "healthy" / f"E{number:07d}" / f"{stem}.jpg", number)


def ddr(root: Path) -> None:
    base = root / "lesion_segmentation"
    for number in range(SAMPLES):
        part = ("train", "valid", "test")[number % 3]
        stem = f"007-{number:04d}-100"
        picture(base / part / "image" / f"{stem}.jpg", number)
        for code in ("EX", "MA"):
            labels = "segmentation label" if part == "valid" else "label"
            mask(base / part / labels / code / f"{stem}.tif", number)


def diaretdb1(root: Path) -> None:
    base = root / "ddb1_v02_01"
    lines = []
    for number in range(1, SAMPLES + 1):
        stem = f"diaretdb1_image{number:03d}"
        picture(base / "images" / f"{stem}.png", number)
        marking = (
            "<marking><circleregion><centroid><coords2d>20,20</coords2d></centroid>"
            "<radius>4</radius></circleregion><representativepoint><coords2d>20,20</coords2d>"
            "</representativepoint><confidencelevel>High</confidencelevel>"
            "<markingtype>Hard_exudates</markingtype></marking>"
        )
        names = [f"groundtruth/{stem}_{expert:02d}_plain.xml" for expert in range(1, 5)]
        for name in names:
            (base / "groundtruth").mkdir(exist_ok=True)
            (base / name).write_text(
                f"<imgannotooldata><imagename>{stem}.png</imagename><markinglist>{marking}"
                "</markinglist></imgannotooldata>"
            )
        lines.append(f"images/{stem}.png {' '.join(names)}\n")
    (base / "ddb1_v02_01_train_plain.txt").write_text("".join(lines[:15]))
    (base / "ddb1_v02_01_test_plain.txt").write_text("".join(lines[15:]))


def roc(root: Path) -> None:
    marks = []
    for number in range(SAMPLES):
        name = f"image{number}_training.jpg"
        picture(root / "ROCtraining" / name, number)
        marks.append(
            f'<annotations-per-image imagename="{name}"><annotation><mark x="20" y="30"><radius>4'
            "</radius></mark><lesion>microaneurysm</lesion><probability>1.0</probability>"
            "</annotation></annotations-per-image>"
        )
    (root / "ROCtraining" / "annotations-consensus-ma-only.xml").write_text(
        f"<set>{''.join(marks)}</set>"
    )


def plain(root: Path) -> None:
    """A folder of photographs with masks beside them, each with other classes."""
    for number in range(SAMPLES):
        picture(root / f"eye{number:02d}.png", number)
        for place, code in enumerate(("MA", "HE")):
            if (number >> place) & 1:
                mask(root / f"eye{number:02d}_{code}.png", number)


@pytest.mark.parametrize("layout", [idrid, eophtha, ddr, diaretdb1, roc, plain])
def test_the_browser_goes_through_thirty_samples_of_a_layout(walk, tmp_path, layout):
    layout(tmp_path / "set")
    (told,) = walk("browser", tmp_path / "set")
    name, count = told.split()
    assert name.startswith({"plain": "folder"}.get(layout.__name__, layout.__name__))
    assert int(count) == SAMPLES


@pytest.mark.parametrize("name", ["rerun", "evaluate", "compare", "training", "by_hand"])
def test_a_window_lives_whatever_layers_go(walk, name):
    assert len(walk(name)) >= 3


def test_a_window_lives_when_reviews_come_and_go(walk, tmp_path):
    assert len(walk("review", tmp_path)) == 3
