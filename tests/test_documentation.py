"""What the documentation tells people to type exists: commands, options, settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from napari_fundus.cli.app import app
from napari_fundus.cli.common import parse_settings
from napari_fundus.plugins import find_detectors, get_detector
from napari_fundus.preprocessing.recipe import Recipe
from napari_fundus.training.loop.settings import split_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(napari-fundus [^`]+)`(?!`)")

_PLACEHOLDERS = ("…", "...", "|", "[")
_OF_A_PAGE = ("dog",)
"""The detector that a reader writes along with the page."""


def commands() -> Iterator[Any]:
    """Yield each complete command of a page; one with something left out is no command."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = (block for _, _, block in FENCE.findall(text))
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        lines += [" ".join(found.split()) for found in INLINE.findall(FENCE.sub("", text))]
        for line in lines:
            bare = line.strip().removeprefix("$ ").removeprefix("time ")
            bare = bare.partition(" #")[0].partition(" &&")[0].partition(" > ")[0]
            if bare.startswith("napari-fundus "):
                words = shlex.split(bare)[1:]
                if not any(word.startswith(_PLACEHOLDERS) for word in words):
                    yield pytest.param(words, id=f"{page.stem}: {bare}")


def test_there_is_something_to_check() -> None:
    assert len(list(commands())) > 40


@pytest.mark.parametrize("words", [*commands()])
def test_documented_command_and_its_options_exist(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    name, *rest = words
    if not rest or "--help" in rest:
        assert name in {*group.commands, "COMMAND", "--version", "--help"}
        return
    command = group.commands[name]
    context = command.context_class(command, info_name=name)
    values, _, _ = command.make_parser(context).parse_args(rest)
    settings = parse_settings(values.get("settings"))
    if name == "preprocess":
        Recipe.model_validate(settings)
        return
    for detector in str(values.get("detector") or "unet").split(","):
        if detector in {*find_detectors().detectors, *_OF_A_PAGE}:
            _check(name, detector, settings)
        else:
            assert detector.startswith("NAME")


def _check(command: str, detector: str, settings: dict[str, Any]) -> None:
    """Let the detector's own models judge the settings."""
    if detector in _OF_A_PAGE:
        return
    if command in ("train", "search"):
        form = get_detector(detector).training_spec()
        assert form is not None
        split_settings(settings, form.options)
    else:
        plain = {n: v for n, v in settings.items() if "." not in n}
        own = {n.partition(".")[2]: v for n, v in settings.items() if n.startswith(f"{detector}.")}
        get_detector(detector).Options.model_validate({**plain, **own})
