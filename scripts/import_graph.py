"""Print the floors, rooms and circles of the package, read from its imports.

Run ``python scripts/import_graph.py [FOLDER]``. A room is a folder of modules, or a module at the
top level. Imports inside functions and under ``TYPE_CHECKING`` count like all others.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGE = "napari_fundus"

Graph = Mapping[str, set[str]]
"""Name to the names that it imports."""


def module_imports(folder: Path) -> dict[str, set[str]]:
    """Return each module of the package at `folder` with the modules of it that it imports."""
    paths = {_name(path, folder): path for path in sorted(folder.rglob("*.py"))}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {_known(alias.name, paths) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {_known(f"{node.module}.{alias.name}", paths) for alias in node.names}
        graph[name] = imported - {"", name}
    return graph


def room_of(module: str, folder: Path) -> str:
    """Return the room of a module: its folder below the package, or itself at the top level."""
    parts = module.split(".")[1:]
    if not (folder.joinpath(*parts)).is_dir():
        parts = parts[:-1] or parts
    return "/".join(parts)


def room_imports(folder: Path) -> dict[str, set[str]]:
    """Return each room of the package at `folder` with the rooms that its modules import."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, imported in module_imports(folder).items():
        if module == PACKAGE:
            continue  # its names are loaded when they are asked for
        room = room_of(module, folder)
        rooms[room] |= {room_of(other, folder) for other in imported if other != PACKAGE} - {room}
    return dict(rooms)


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of names that import each other, directly or through others."""
    reached = {name: _reached_from(name, graph) for name in graph}
    groups = {
        tuple(sorted({name, *(other for other in reached[name] if name in reached[other])}))
        for name in graph
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def floors(graph: Graph) -> list[list[str]]:
    """Return the names in floors, the ground first: each imports from floors below its own alone.

    Raises
    ------
    ValueError
        There are circles.
    """
    left, built = dict(graph), list[list[str]]()
    while left:
        free = sorted(name for name, imported in left.items() if not imported & set(left))
        if not free:
            raise ValueError(f"circles: {circles(graph)}")
        built.append(free)
        for name in free:
            del left[name]
    return built


def _reached_from(name: str, graph: Graph) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for other in graph.get(waiting.pop(), set()) - reached:
            reached.add(other)
            waiting.append(other)
    return reached


def _name(path: Path, folder: Path) -> str:
    parts = [PACKAGE, *path.relative_to(folder).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _known(name: str, modules: Iterable[str]) -> str:
    """Return the module that `name`, of a module or of something in one, is found in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def main() -> None:
    """Print what the imports tell."""
    default = Path(__file__).parents[1] / "src" / PACKAGE
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    rooms = room_imports(folder)
    found = circles(rooms)
    print(f"{len(rooms)} rooms, {len(found)} circles of rooms")
    for circle in found:
        print("  circle:", ", ".join(circle))
        for room in circle:
            print(f"    {room} imports {', '.join(sorted(rooms[room] & set(circle)))}")
    modules = module_imports(folder)
    modules = {name: imported - {PACKAGE} for name, imported in modules.items() if name != PACKAGE}
    print(f"{len(modules)} modules, {len(circles(modules))} circles of modules")
    for circle in circles(modules):
        print("  circle:", ", ".join(circle))
    if not found:
        for number, names in reversed(list(enumerate(floors(rooms), 1))):
            print(f"floor {number:2}  {'  '.join(names)}")


if __name__ == "__main__":
    main()
