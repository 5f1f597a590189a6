"""``napari-fundus detect --workers`` writes the files of the command without it, and tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from napari_fundus.api import detect
from napari_fundus.export import read_csv


@pytest.mark.slow
def test_workers_give_the_numbers_of_the_library(retina, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("left.png", "right.png"):
        Image.fromarray(retina.pixels).save(source / name)
    (source / "text.png").write_text("this is not a picture\n" * 20)
    words = ["detect", source, "-d", "tophat", "-o", out, "--workers", "1", "-f", "csv"]
    done = subprocess.run(
        [sys.executable, "-m", "napari_fundus.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Dashboard: http://" in done.stderr
    assert "text.png" in done.stderr
    assert "2 written, 0 done before, 1 failed." in done.stderr
    found = detect(source / "left.png", "tophat").instances
    assert len(found) > 0
    pd.testing.assert_frame_equal(read_csv(out / "left.csv"), found)
    images = pd.read_parquet(out / "images.parquet").set_index("path")
    assert list(images.loc[[str(source / "left.png"), str(source / "text.png")], "status"]) == [
        "written",
        "failed",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--workers", "0"), "at least one worker"),
        (("--workers", "2", "--scheduler", "tcp://here:1"), "either the address"),
        (("--workers", "2", "--shard", "1/2"), "without --shard"),
        (("--workers", "2", "--json"), "without --shard and --json"),
        (("--max-failures", "3"), "goes with --workers"),
    ],
)
def test_what_does_not_go_together_is_told(run, tmp_path: Path, words, told: str) -> None:
    result = run("detect", tmp_path, "-d", "glow", "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "out").exists()
