"""``napari-fundus preprocess`` writes pictures, and with each the way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_fundus.image import read_image
from napari_fundus.preprocessing import Recipe, preset_descriptions


@pytest.fixture
def folder(retina, tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(retina.pixels).save(folder / "eye.png")
    return folder


def test_pictures_are_those_of_the_recipe(run, folder: Path, tmp_path: Path) -> None:
    result = run("preprocess", folder, "-r", "graham", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    written = np.asarray(Image.open(tmp_path / "out" / "eye.preprocessed.png"))
    prepared = Recipe.preset("graham").apply(read_image(folder / "eye.png"))
    np.testing.assert_array_equal(written, prepared.pixels)
    about = json.loads((tmp_path / "out" / "eye.preprocessed.json").read_text())
    assert Recipe.model_validate(about["recipe"]) == Recipe.preset("graham")
    assert type(prepared.geometry).model_validate(about["geometry"]) == prepared.geometry


def test_fields_are_changed(run, folder: Path, tmp_path: Path) -> None:
    settings = ("--set", "resize=side", "--set", "side=100", "--set", "channel=green")
    run("preprocess", folder, "-r", "clahe", *settings, "-o", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "eye.preprocessed.png").size == (100, 75)


def test_standardized_pictures_keep_their_numbers(run, folder: Path, tmp_path: Path) -> None:
    run("preprocess", folder, "-r", "none", "--set", "standardize=true", "-o", tmp_path / "out")
    written = tifffile.imread(tmp_path / "out" / "eye.preprocessed.tif")
    prepared = Recipe(standardize=True).apply(read_image(folder / "eye.png"))
    np.testing.assert_array_equal(written, prepared.pixels)


def test_bad_files_are_named_and_the_rest_is_written(run, folder: Path, tmp_path: Path) -> None:
    (folder / "text.png").write_text("not an image")
    Image.fromarray(np.zeros((99, 99, 3), np.uint8)).save(folder / "black.png")
    result = run("preprocess", folder, folder / "missing", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert all(name in result.stderr for name in ("text.png", "black.png", "missing"))
    assert "1 written" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "eye.preprocessed.png",
        "eye.preprocessed.json",
    }


def test_what_is_done_is_skipped_and_the_rest_goes_on(
    run, folder: Path, tmp_path: Path, draw
) -> None:
    output = tmp_path / ("a-name-longer-than-a-line-" * 4)
    words = ("preprocess", folder, "-o", output)
    assert run(*words).exit_code == 0
    before = (output / "eye.preprocessed.png").stat().st_mtime_ns
    Image.fromarray(draw(seed=1).pixels).save(folder / "other.png")
    again = run(*words)
    assert again.exit_code == 0
    assert f"1 written to {output}, 1 done before, 0 failed." in again.stderr.splitlines()
    assert (output / "eye.preprocessed.png").stat().st_mtime_ns == before


def test_a_run_killed_before_its_picture_was_written_goes_on(
    run, folder: Path, tmp_path: Path
) -> None:
    words = ("preprocess", folder, "-o", tmp_path / "out")
    assert run(*words).exit_code == 0
    (tmp_path / "out" / "eye.preprocessed.png").unlink()
    again = run(*words)
    assert again.exit_code == 0, again.stderr
    assert "1 written" in again.stderr


@pytest.mark.parametrize("change", ["recipe", "picture", "record"])
def test_nothing_else_is_overwritten_unless_asked(
    run, folder: Path, tmp_path: Path, draw, change
) -> None:
    words = ["preprocess", folder, "-o", tmp_path / "out"]
    assert run(*words).exit_code == 0
    if change == "recipe":
        words += ["--set", "sigma=20"]
    elif change == "picture":
        Image.fromarray(draw(seed=5).pixels).save(folder / "eye.png")
    else:
        (tmp_path / "out" / "eye.preprocessed.json").write_text("[1]")
    again = run(*words)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert run(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-r", "nothing"), "No recipe is called 'nothing'"),
        (("--set", "colour=1"), "A recipe has no field colour"),
        (("--set", "sigma=-1"), "sigma = '-1'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    run, folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = run("preprocess", folder, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_recipes_and_fields_are_listed(run) -> None:
    result = run("preprocess", "--list")
    assert result.exit_code == 0
    assert all(f"{name}: " in result.stdout for name in preset_descriptions())
    assert all(name in result.stdout for name in Recipe.model_fields)
