"""``napari-fundus detect`` writes what it can and tells what it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_fundus.detector import Detector
from napari_fundus.export import read_csv, read_provenance


@pytest.fixture
def folder(retina, tmp_path: Path) -> Path:
    """The folder that the issue describes: two good images among bad ones."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(retina.pixels).save(folder / "good.jpg", quality=95)
    whole = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is not a picture\n" * 20)
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(folder / "black.png")
    tifffile.imwrite(folder / "deep.tif", retina.pixels.astype(np.uint16) * 257, photometric="rgb")
    Image.fromarray(retina.pixels[:20, :20]).save(folder / "small.png")
    return folder


BAD = {
    "truncated.jpg": "truncated",
    "text.png": "not an image",
    "black.png": "",
    "small.png": "20x20",
}


def assert_good_written_and_bad_named(output: Path, text: str) -> None:
    assert "Traceback" not in text
    for name, reason in BAD.items():
        (line,) = [line for line in text.splitlines() if name in line]
        assert reason in line
    assert {path.name for path in output.glob("*.csv")} == {"good.csv", "deep.csv", "summary.csv"}
    assert "2 written, 0 done before, 4 failed" in text


def test_good_images_are_written_and_bad_ones_named(run, folder: Path, tmp_path: Path) -> None:
    result = run("detect", folder, "-d", "glow", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert_good_written_and_bad_named(tmp_path / "out", result.stderr)
    assert result.stdout == ""
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert dict(summary["status"].value_counts()) == {"failed": 4, "written": 2}


def test_the_installed_command_does_the_same(folder: Path, tmp_path: Path) -> None:
    """The real program, in a process of its own, with the default detector."""
    command = [Path(sys.executable).with_name("napari-fundus"), "detect", folder]
    done = subprocess.run(
        [*command, "-o", tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert_good_written_and_bad_named(tmp_path / "out", done.stderr)


def test_the_second_run_finds_everything_done(run, folder: Path, tmp_path: Path) -> None:
    for name in BAD:
        (folder / name).unlink()
    words = ("detect", folder, "-d", "glow", "-o", tmp_path / "out")
    assert run(*words).exit_code == 0
    again = run(*words)
    assert again.exit_code == 0
    assert "0 written, 2 done before, 0 failed" in again.stderr
    assert "2 written" in run(*words, "--overwrite").stderr


def test_options_reach_the_detector(run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ("threshold=0.25", "plane=red", "min_area=7", "sizes=[3]")
    words = [word for setting in settings for word in ("--set", setting)]
    result = run("detect", folder / "good.jpg", "-d", "glow", "-o", out, *words)
    assert result.exit_code == 0, result.stderr
    options = read_provenance(out / "good.provenance.json").options
    assert options == {
        "threshold": 0.25,
        "min_area": 7,
        "gain": 1.0,
        "plane": "red",
        "sizes": [3],
    }


def test_the_command_gives_the_numbers_of_the_library(run, folder: Path, tmp_path: Path) -> None:
    from napari_fundus import api

    run("detect", folder / "good.jpg", "-d", "glow", "-o", tmp_path, "--threshold", "EX=0.3")
    direct = api.detect(folder / "good.jpg", "glow").threshold({"EX": 0.3})
    assert len(direct.instances) > 0
    pd.testing.assert_frame_equal(read_csv(tmp_path / "good.csv"), direct.instances)


def test_formats_are_chosen(run, folder: Path, tmp_path: Path) -> None:
    formats = "csv, coco,geojson,labels,probability,overlay"
    run("detect", folder / "good.jpg", "-d", "glow", "-o", tmp_path / "out", "--format", formats)
    assert {path.name.partition(".")[2] for path in (tmp_path / "out").glob("good.*")} == {
        "csv",
        "coco.json",
        "geojson",
        "labels.tif",
        "probability.tif",
        "overlay.jpg",
        "provenance.json",
    }


def test_json_goes_to_standard_output_alone(run, folder: Path, tmp_path: Path) -> None:
    result = run("detect", folder, "-d", "glow", "-o", tmp_path / "out", "--json")
    content = json.loads(result.stdout)
    by_name = {Path(image["path"]).name: image for image in content["images"]}
    assert by_name["good.jpg"]["status"] == "written"
    assert by_name["small.png"]["message"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "threshold=7"), "Option 'threshold' = '7': Input should be less than or equal"),
        (("--set", "colour=red"), "Unknown option 'colour'; there are threshold, min_area, gain"),
        (("--set", "threshold"), "--set takes FIELD=VALUE"),
        (("--set", "sizes=[1,"), "is not JSON"),
        (("--threshold", "EX"), "--threshold takes CLASS=VALUE"),
        (("--threshold", "MA=0.5"), "does not look for MA"),
        (("--detector", "nothing"), "No detector is called 'nothing'. Installed: glow"),
        (("--device", "abacus"), "Unknown device 'abacus'"),
        (("--device", "cuda"), "runs on cpu only"),
        (("--format", "xls"), "Unknown format xls"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    run, folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = run("detect", folder, "-d", "glow", "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("detect",), ("detect", "eye.jpg"), ("detect", "-o", "out")])
def test_missing_arguments_are_a_usage_error(run, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_a_surprise_is_told_without_a_traceback_unless_asked(
    run, folder: Path, tmp_path: Path
) -> None:
    (folder / "good.jpg").rename(folder / "surprise.jpg")
    words = ("detect", folder / "surprise.jpg", "-d", "glow", "-o", tmp_path / "out")
    quiet = run(*words)
    assert quiet.exit_code == 1
    assert "ZeroDivisionError: in the detector" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in run(*words, "--debug").stderr


def test_ctrl_c_ends_with_status_130(
    run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "detect", interrupted)
    result = run("detect", folder / "good.jpg", "-d", "glow", "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "the same command goes on from here" in result.stderr


def test_a_data_set_is_read_by_its_samples(run, tmp_path: Path) -> None:
    from napari_fundus.samples import sample_folder

    words = ("--format", "csv", "--json", "--set", "threshold=1")
    result = run("detect", sample_folder(), "-d", "glow", "-o", tmp_path / "out", *words)
    assert [Path(i["path"]).name for i in json.loads(result.stdout)["images"]] == ["IDRiD_13.jpg"]


def test_the_overlay_is_a_picture(run, folder: Path, tmp_path: Path) -> None:
    run("detect", folder / "good.jpg", "-d", "glow", "-o", tmp_path, "--format", "overlay")
    picture = imagecodecs.jpeg_decode((tmp_path / "good.overlay.jpg").read_bytes())
    assert picture.ndim == 3


def test_the_area_of_each_class_is_told(run, folder: Path, tmp_path: Path) -> None:
    words = ("-d", "glow", "-o", tmp_path / "out", "--format", "csv", "--json")
    result = run("detect", folder / "deep.tif", *words)
    table = read_csv(tmp_path / "out" / "deep.csv")
    share = 100 * table["area_px"].sum() / (240 * 320)
    assert f"(EX {len(table)} ({share:.2g} % of the field))" in result.stderr
    (image,) = json.loads(result.stdout)["images"]
    assert image["extent"]["classes"]["EX"]["area_percent"] == pytest.approx(share)
