"""What the documentation names exists: commands, options, settings, modules, imports, files."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
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
PACKAGE = ROOT / "src" / "napari_fundus"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(napari-fundus [^`]+)`(?!`)")

_PLACEHOLDERS = ("…", "...", "|", "[")
_OF_A_PAGE = ("dog", "tiny")
"""The detectors that a reader writes along with the page."""


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


DOTTED = re.compile(r"\bnapari_fundus(?:\.[A-Za-z_]\w*)+")
PATH = re.compile(
    r"(?<![\w./-])(?:src|tests|docs|scripts|benchmarks|examples|shared)/[\w/-]*(?:\.\w+)?"
)


def resolve(name: str) -> object:
    """Return the module, or what it holds, that a dotted name stands for."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if not error.name or not error.name.startswith("napari_fundus"):
                raise
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def imports(code: str) -> Iterator[str]:
    """Yield the full names that Python code imports from this package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names_of(page: Path) -> set[str]:
    """Return the dotted names of this package on a page, those that its code imports too."""
    text = page.read_text(encoding="utf-8")
    found = set(DOTTED.findall(text))
    for indent, language, block in FENCE.findall(text):
        if language == "python":
            found |= set(imports(re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)))
    return {name for name in found if name.partition(".")[0] == "napari_fundus"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_modules_and_imports_exist(page: Path) -> None:
    for name in sorted(names_of(page)):
        assert resolve(name) is not None, f"{page.name} names {name}"


def test_many_documented_names_are_checked() -> None:
    assert len(set().union(*map(names_of, PAGES))) > 60


def test_a_name_that_is_not_there_is_seen() -> None:
    with pytest.raises(AttributeError):
        resolve("napari_fundus.results.never")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_files_of_the_repository_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in PATH.findall(text) if not (ROOT / name).exists()]
    assert not missing, f"{page.name} names {missing}"


def test_the_tree_of_the_architecture_is_that_of_the_package() -> None:
    """Its floors and rooms are those that the imports are held to, and no room is missing."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = next(block for _, _, block in FENCE.findall(text) if "floor 1\n" in block)
    drawn: list[set[str]] = []
    for line in tree.splitlines():
        if line.startswith("floor "):
            drawn.append(set())
        else:
            name = line.split()[0]
            assert (PACKAGE / name).exists(), name
            drawn[-1].add(name.removesuffix("/").removesuffix(".py"))
    floors = runpy.run_path(str(ROOT / "tests" / "test_layering.py"))["FLOORS"]
    assert drawn == floors[::-1]
    assert [line for line in tree.splitlines() if line.startswith("floor ")] == [
        f"floor {number}" for number in range(len(floors), 0, -1)
    ]
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    assert set().union(*drawn) == rooms - {"__init__"}


def test_paths_in_the_prose_of_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", FENCE.sub("", text))
    assert len(named) > 5
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
