"""Rooms import only from floors below, nothing imports in circles, only gui/ uses napari and Qt."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import napari_fundus

PACKAGE = Path(napari_fundus.__file__).parent

FLOORS: list[set[str]] = [
    {"_version", "defaults", "errors", "image_identity", "landmarks", "samples"},
    {"runtime"},
    {"image", "plugin_hooks"},
    {"checkpoints", "lesions", "preprocessing"},
    {"results"},
    {"datasets", "detector", "inference", "metrics"},
    {"export", "network_detector", "plugins"},
    {"evaluation", "review", "training"},
    {"api", "backends", "batch", "snippets"},
    {"gui"},
    {"demo"},
    {"cli"},
]
"""From the ground up; docs/architecture.md draws the same."""

DESKTOP = {
    "napari",
    "magicgui",
    "qtpy",
    "superqt",
    "PyQt6",
    "PySide6",
    "vispy",
    "npe2",
    "pyqtgraph",
}


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module: one a backend, else the top-level name."""
    return ".".join(parts[:2]) if parts[0] == "backends" and len(parts) > 1 else parts[0]


def floor_of(room: str) -> int:
    top = room.partition(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if top in rooms)


def imports_of(path: Path) -> list[str]:
    """Return the full names of all modules that a file imports, those inside functions too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    here = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
    for name in imports_of(path):
        parts = tuple(name.split("."))
        if parts[0] != "napari_fundus" or len(parts) < 2 or parts[1].startswith("__"):
            continue
        there = room_of(parts[1:])
        if not (PACKAGE / parts[1]).exists() and not (PACKAGE / f"{parts[1]}.py").exists():
            continue
        assert there == here or floor_of(there) < floor_of(here), f"{here} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_only_the_gui_imports_napari_and_qt(path: Path) -> None:
    if path.is_relative_to(PACKAGE / "gui"):
        return
    assert not {name.partition(".")[0] for name in imports_of(path)} & DESKTOP


def test_every_room_stands_on_a_floor() -> None:
    rooms = {room_of(p.relative_to(PACKAGE).with_suffix("").parts) for p in MODULES}
    for room in rooms:
        floor_of(room)


@pytest.fixture(scope="module")
def graph() -> ModuleType:
    """The script that reads the imports."""
    path = PACKAGE.parents[1] / "scripts" / "import_graph.py"
    spec = importlib.util.spec_from_file_location("import_graph", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_two_rooms_import_each_other(graph: ModuleType) -> None:
    """Folders within a room count as rooms of their own."""
    assert graph.circles(graph.room_imports(PACKAGE)) == []


def test_no_two_modules_import_each_other(graph: ModuleType) -> None:
    imports = graph.module_imports(PACKAGE)
    root = PACKAGE.name  # its names are loaded when they are asked for
    modules = {name: found - {root} for name, found in imports.items() if name != root}
    assert graph.circles(modules) == []


@pytest.mark.parametrize("inside", ["function", "module"])
def test_circles_are_found(graph: ModuleType, tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "napari_fundus"
    for room in ("first", "second"):
        (folder / room).mkdir(parents=True)
        (folder / room / "__init__.py").touch()
    indent = "def late():\n    " if inside == "function" else ""
    (folder / "first" / "a.py").write_text("import napari_fundus.second.b\n", encoding="utf-8")
    (folder / "second" / "b.py").write_text(
        f"{indent}from napari_fundus.first import a\n", encoding="utf-8"
    )
    assert graph.circles(graph.room_imports(folder)) == [["first", "second"]]
    assert graph.circles(graph.module_imports(folder)) == [
        ["napari_fundus.first.a", "napari_fundus.second.b"]
    ]


def test_importing_the_package_imports_nothing_heavy() -> None:
    """How long it takes is measured by ``make bench``."""
    code = (
        "import sys, napari_fundus\n"
        "heavy = {'numpy', 'pandas', 'torch', 'napari', 'qtpy', 'PyQt6', 'cv2', 'skimage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "own = [name for name in sys.modules if name.startswith('napari_fundus')]\n"
        "assert len(own) <= 3, own\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_headless_core_works_where_napari_is_not_installed() -> None:
    """Blocks napari and Qt and finds lesions all the same."""
    code = (
        "import sys\n"
        f"for name in {sorted(DESKTOP)!r}: sys.modules[name] = None\n"
        "import napari_fundus as nf\n"
        "from napari_fundus import batch, cli, demo, export, samples\n"
        "assert nf.detect(samples.normal_image_path()).probability\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
