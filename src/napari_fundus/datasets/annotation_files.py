"""Several files of annotations in one data set: all are read, what stands in two counts once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

from napari_fundus.datasets.base import Problem
from napari_fundus.datasets.files import (
    list_subfolders,
    missing_problems,
    relative_to_root,
)
from napari_fundus.errors import DatasetError

INNER_FOLDERS = re.compile(
    r"(images?|annotations?([. _-].*)?|([a-z][. _-]+)?(train|valid|val|test)(ing|idation)?"
    r"([. _-]*(set|data|images?))?)[. _-]*[0-9]*$",
    re.IGNORECASE,
)
"""Names of the folders in a root that hold its images, its annotations, or a part of both."""


def annotation_folders(root: Path) -> list[Path]:
    """Return the folders in which the annotations of a root lie: itself, and those of its parts."""
    return [
        root,
        *(folder for folder in list_subfolders(root) if INNER_FOLDERS.match(folder.name)),
    ]


def work_of(file: Path) -> Path:
    """Return the folder whose annotations a file is of: its own, or that of which it is a part."""
    return file.parent.parent if INNER_FOLDERS.match(file.parent.name) else file.parent


def read_each(files: Iterable[Path], read: Callable[[Path], None], root: Path) -> list[Problem]:
    """Read each file; return those that cannot be read, unless that is all of them.

    Raises
    ------
    DatasetError
        None can be read; the error is that of the first.
    """
    listed = list(files)
    failed: dict[Path, DatasetError] = {}
    for file in listed:
        try:
            read(file)
        except DatasetError as error:
            failed[file] = error
    if failed and len(failed) == len(listed):
        raise next(iter(failed.values()))
    return [
        Problem(relative_to_root(file, root), f"It is left out: {error}")
        for file, error in failed.items()
    ]


class RepeatedAnnotations:
    """Keeps apart what each file says, since a project often lies beside its own export.

    Parameters
    ----------
    root
        The data set's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._said: defaultdict[Path, dict[Path, set[Hashable]]] = defaultdict(dict)

    def add_photograph(self, image: Path, file: Path) -> None:
        """Note that a file lists a photograph."""
        self._said[image].setdefault(file, set())

    def add(self, image: Path, file: Path, lesion: Hashable) -> bool:
        """Note a lesion; return whether no other file before has it too."""
        self.add_photograph(image, file)
        of_file = self._said[image]
        of_file[file].add(lesion)
        return not any(lesion in said for other, said in of_file.items() if other != file)

    def problems(self) -> list[Problem]:
        """Return the photographs of which files say different things."""
        differing: defaultdict[str, list[str]] = defaultdict(list)
        for image, of_file in self._said.items():
            if len({frozenset(said) for said in of_file.values()}) > 1:
                names = ", ".join(sorted(relative_to_root(file, self._root) for file in of_file))
                differing[names].append(relative_to_root(image, self._root))
        return [
            problem
            for names, images in sorted(differing.items())
            for problem in missing_problems(
                images,
                f"Several files of annotations differ in it ({names}): the lesions of all are "
                "used, what stands in several counts once.",
            )
        ]
