"""The command as a whole: quick help, version, errors as one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import napari_fundus
from napari_fundus.cli import common
from napari_fundus.errors import OptionsError

COMMANDS = ("demo", "detectors", "datasets", "preprocess", "detect", "train", "models")


def test_the_version_is_that_of_the_package(run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"napari-fundus {napari_fundus.__version__}\n"


def test_help_names_every_command(run) -> None:
    text = run("--help").stdout
    assert all(command in text for command in COMMANDS)
    assert "not a medical device" in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--debug" in result.stdout


def test_the_help_of_detect_says_where_the_fields_are(run) -> None:
    text = " ".join(run("detect", "--help").stdout.replace("│", " ").split())
    assert "--set threshold=0.9" in text
    assert "napari-fundus detectors NAME" in text


def test_help_loads_nothing_heavy() -> None:
    """How long it takes is measured by ``make bench``."""
    code = (
        "import sys\n"
        "from napari_fundus.cli import main\n"
        "sys.argv = ['napari-fundus', 'detect', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'napari', 'cv2', 'numpy', 'pandas', 'skimage'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--set" in done.stdout


def test_the_installed_program_answers() -> None:
    program = Path(sys.executable).with_name("napari-fundus")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("napari-fundus ")


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe without reader ends otherwise there")
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "napari_fundus.cli", "--help"],
        ["-m", "napari_fundus.cli", "models"],
        ["-m", "napari_fundus.cli", "models", "--json"],
        ["-m", "napari_fundus.cli", "detectors", "unet"],
        [
            "-c",
            "import sys; from napari_fundus.cli import app, main\n"
            "app.command('say')(lambda: sys.stdout.write('this waits in the buffer') and None)\n"
            "sys.argv = ['napari-fundus', 'say']; main()",
        ],
    ],
    ids=["help", "table", "json", "text", "unflushed"],
)
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            [sys.executable, *words], stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_another_pipe_that_breaks_is_told(capsys) -> None:
    @common.handle_errors
    def fail() -> None:
        raise BrokenPipeError("the worker died")

    with pytest.raises(typer.Exit):
        fail()
    assert "the worker died" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error(run) -> None:
    assert run("dtect").exit_code == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a=1", "1"),
        ("a = b=c ", "b=c"),
        ("a=", ""),
        ("a=null", None),
        ('a="5"', "5"),
        ('a={"b": 1}', {"b": 1}),
    ],
)
def test_settings_are_read(setting: str, value: object) -> None:
    assert common.parse_settings([setting]) == {"a": value}


@pytest.mark.parametrize("setting", ["a", "=1", "a=[", ""])
def test_broken_settings_are_told(setting: str) -> None:
    with pytest.raises(OptionsError, match="--set"):
        common.parse_settings([setting])


def test_a_mistake_of_ours_is_told_in_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("napari_fundus.datasets.open_dataset", broken)
    result = run("datasets", ".")
    assert result.exit_code == 1
    assert "Unexpected ZeroDivisionError: oops" in result.stderr
    assert isinstance(run("datasets", ".", "--debug").exception, ZeroDivisionError)


def test_the_help_names_the_formats_there_are(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_fundus.export import DEFAULT_FORMATS, FORMATS

    monkeypatch.setenv("COLUMNS", "300")
    text = " ".join(run("detect", "--help").stdout.replace("│", " ").split())
    assert ", ".join(FORMATS) in text
    assert f"[default: {','.join(DEFAULT_FORMATS)}]" in text


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes the output")
@pytest.mark.parametrize("words", ["--version", "models", "models --json"])
def test_an_output_that_is_closed_from_the_start_is_no_error(words: str) -> None:
    command = f"exec '{sys.executable}' -m napari_fundus.cli {words} >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
