"""Finding the photographs that a file of annotations names, also by another machine's path."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from napari_fundus.datasets.base import Problem
from napari_fundus.datasets.files import (
    missing_problems,
    relative_to_root,
    split_from_name,
    split_of_place,
)

_GONE = "Recorded, but no such image lies in the folder: its annotations are left out."
_SEVERAL = (
    "Recorded, but several images have that name, and nothing tells which is meant: its "
    "annotations are left out."
)
_ANOTHER = (
    "Recorded, but the one image of that name is, or may be, another photograph that is recorded "
    "with the same name: its annotations are left out."
)
_LONGEST = 200
"""Characters of a recorded name that are shown; some hold the whole picture as text."""

_BY_NAME, _BY_PLACE, _BY_BYTES = range(3)
"""How surely an image is the one recorded: by its bare name, its place, or its size in bytes."""

_Parts = tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """A photograph as a file of annotations records it.

    Attributes
    ----------
    name
        Its bare name, a path of this or another machine, or an address.
    size
        Its size in bytes, where the file keeps it.
    also
        Another name of it, for where the first leads nowhere; ``""`` if there is none.
    """

    name: str
    size: int | None = None
    also: str = ""


class PhotographFinder:
    """Finds images below a folder by recorded names, and never anything else.

    Parameters
    ----------
    root
        The data set's folder.
    images
        The images below it; no name leads to another file.
    """

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self._root = root
        self._named: defaultdict[str, list[tuple[Path, _Parts]]] = defaultdict(list)
        for path in images:
            place = _compared(path.relative_to(root).parts)
            self._named[place[-1]].append((path, place))

    def find(
        self, file: Path, recorded: Iterable[Recorded]
    ) -> tuple[dict[Recorded, Path], list[Problem]]:
        """Return the images that a file of annotations records, and name those that are lost.

        Of several images of one bare name it is the one of the size recorded; else the one at that
        place, seen from the file or from the root; else the one whose path ends as the recorded
        one does; else the one in the file's own folder, or in the part (training, …) that the
        file's name speaks of. Where all this fits several, the photograph is lost. So it is where
        only one image has the name of several photographs that are recorded apart.
        """
        found: dict[Recorded, tuple[Path, int]] = {}
        lost: dict[str, list[str]] = {}
        of_image: defaultdict[Path, list[Recorded]] = defaultdict(list)
        for one in dict.fromkeys(recorded):
            candidates = self._candidates(one)
            chosen = self._choose(one, candidates, file)
            if chosen is None:
                lost.setdefault(_SEVERAL if candidates else _GONE, []).append(one.name)
            else:
                found[one] = chosen
                of_image[chosen[0]].append(one)
        for sharing in of_image.values():
            for one in _strangers(sharing, {one: found[one][1] for one in sharing}):
                del found[one]
                lost.setdefault(_ANOTHER, []).append(one.name)
        where = relative_to_root(file, self._root)
        problems = [
            problem
            for message, names in lost.items()
            for problem in missing_problems({f"{where}: {n[:_LONGEST]}" for n in names}, message)
        ]
        return {one: path for one, (path, _) in found.items()}, problems

    def _candidates(self, recorded: Recorded) -> list[tuple[Path, _Parts, _Parts]]:
        """Return the images of the bare name, each with its place and the name's parts."""
        for parts in _readings(recorded):
            if named := self._named.get(parts[-1]):
                return [(path, place, parts) for path, place in named]
        return []

    def _choose(
        self, recorded: Recorded, candidates: list[tuple[Path, _Parts, _Parts]], file: Path
    ) -> tuple[Path, int] | None:
        """Return the image that is meant and how surely it is, or None."""
        if not candidates:
            return None
        parts = candidates[0][2]
        places = {path: place for path, place, _ in candidates}
        beside = _compared(file.parent.relative_to(self._root).parts)
        tail = max(_common_tail(place, parts) for place in places.values())
        part = split_from_name(file.stem) or split_of_place(file, self._root)

        def in_bytes(path: Path) -> bool:
            return recorded.size is not None and path.stat().st_size == recorded.size

        tests: tuple[tuple[Callable[[Path], bool], int], ...] = (
            (in_bytes, _BY_BYTES),
            (lambda path: places[path] == _without_steps((*beside, *parts)), _BY_PLACE),
            (lambda path: places[path] == _without_steps(parts), _BY_PLACE),
            (lambda path: tail > 1 and _common_tail(places[path], parts) == tail, _BY_NAME),
            (lambda path: path.is_relative_to(file.parent), _BY_NAME),
            (lambda path: part is not None and split_of_place(path, self._root) == part, _BY_NAME),
            (lambda path: path.name == re.split(r"[/\\]", recorded.name)[-1], _BY_NAME),
        )
        left = list(places)
        sureness = _BY_NAME
        for fits, sure in tests:
            if fitting := [path for path in left if fits(path)]:
                left, sureness = fitting, max(sureness, sure)
        return (left[0], sureness) if len(left) == 1 else None


def _strangers(sharing: list[Recorded], sureness: dict[Recorded, int]) -> list[Recorded]:
    """Return those of the records that share an image but may be of another photograph."""
    if len(sharing) == 1:
        return []
    surest = max(sureness.values())
    kept = [one for one in sharing if sureness[one] == surest]
    sizes = {one.size for one in kept if one.size is not None}
    places = {next(_readings(one)) for one in kept}
    if len(sizes) > 1 or (surest == _BY_NAME and len(places) > 1):
        return sharing
    return [one for one in sharing if one not in kept and not _is_same(one, kept[0])]


def _is_same(one: Recorded, other: Recorded) -> bool:
    """Tell whether two records of one file mean the same photograph by what they say alone."""
    same_size = None in (one.size, other.size) or one.size == other.size
    return same_size and next(_readings(one)) == next(_readings(other))


def _readings(recorded: Recorded) -> Iterator[_Parts]:
    """Yield the ways to read what is recorded, as the parts of a path; none is empty."""
    for name in (recorded.name, recorded.also):
        text = name.strip()
        if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
            try:
                text = urlsplit(text).path
            except ValueError:
                continue
        for spelled in dict.fromkeys((text, unquote(text))):
            parts = [part for part in re.split(r"[/\\]", spelled) if part not in ("", ".")]
            if parts and parts[-1] != "..":
                yield _compared(parts)


def _compared(parts: Iterable[str]) -> _Parts:
    """Return parts of a path for comparison: in any case, accents composed or not."""
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def _without_steps(parts: Iterable[str]) -> _Parts:
    """Return a place without steps upwards; one that leads out of the root is no place."""
    place: list[str] = []
    for part in parts:
        if part != "..":
            place.append(part)
        elif place:
            place.pop()
        else:
            return ()
    return tuple(place)


def _common_tail(one: _Parts, other: _Parts) -> int:
    """Return how many parts two places share, counted from their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
