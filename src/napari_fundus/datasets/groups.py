"""Which images show the same eye: groups read from a list, or found by equal files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from napari_fundus.runtime.files import read_bytes, read_text

H = TypeVar("H", bound=Hashable)


def merge_groups(groups: Iterable[Sequence[H]]) -> dict[H, H]:
    """Merge groups that share a member; return each member's representative.

    Examples
    --------
    >>> merge_groups([["a", "b"], ["c", "d"], ["b", "e"]])
    {'a': 'a', 'b': 'a', 'c': 'c', 'd': 'c', 'e': 'a'}
    """
    parent: dict[H, H] = {}

    def find(member: H) -> H:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for group in groups:
        for member in group:
            first, second = find(group[0]), find(member)
            parent[second] = first
    return {member: find(member) for member in parent}


def read_groups(path: Path) -> dict[str, str]:
    """Read a list of groups, one a line, members separated by semicolons.

    Returns
    -------
    groups
        Member to the name of its group, which is that of its first member.
    """
    lines = read_text(path, encoding="utf-8-sig").splitlines()
    members = ([name.strip() for name in line.split(";") if name.strip()] for line in lines)
    return merge_groups(group for group in members if group)


def find_duplicate_files(paths: Iterable[Path]) -> list[list[Path]]:
    """Return the groups of files with the same content; only files of equal size are read."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    groups = []
    for same_size in by_size.values():
        if len(same_size) < 2:
            continue
        by_content: defaultdict[bytes, list[Path]] = defaultdict(list)
        for path in same_size:
            by_content[hashlib.sha256(read_bytes(path)).digest()].append(path)
        groups += [group for group in by_content.values() if len(group) > 1]
    return groups
