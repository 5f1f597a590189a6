"""What a folder holds: images, sub-folders, what can't be read, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_fundus.export import is_export
from napari_fundus.image import IMAGE_SUFFIXES
from napari_fundus.runtime.text import describe_error, printable

_SUFFIXES_OF_RESULTS = frozenset({".csv", ".json", ".geojson", ".log", ".parquet"})

HIDDEN, LINKS, NO_SUFFIX = "hidden", "links to folders", "without suffix"
"""Kinds of what is passed over, beside the suffixes."""


@dataclass(frozen=True)
class FolderListing:
    """The entries of one folder.

    Attributes
    ----------
    images
        Files with the suffix of an image, in order.
    folders
        Sub-folders, in order; no links and no hidden ones.
    unreadable
        What cannot be looked at though it may hold an image, with the reason.
    others
        How many of the other entries there are, by suffix or kind.
    """

    images: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    unreadable: dict[Path, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


def list_folder(folder: Path) -> FolderListing:
    """Return the entries of a folder; one that can't be looked at hides none of the others."""
    images: list[Path] = []
    folders: list[Path] = []
    unreadable: dict[Path, str] = {}
    others: Counter[str] = Counter()
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return FolderListing()  # it was taken away meanwhile
    except OSError as error:
        return FolderListing(unreadable={folder: f"It cannot be searched: {_reason(error)}."})
    for entry in entries:
        path = Path(entry.path)
        suffix = path.suffix.casefold()
        try:
            if entry.name.startswith("."):
                others[HIDDEN] += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_dir():
                others[LINKS] += 1
            elif suffix not in IMAGE_SUFFIXES:
                others[suffix or NO_SUFFIX] += 1
            elif entry.is_file():
                images.append(path)
            else:
                kind = "a link to nothing" if entry.is_symlink() else "a pipe or device"
                unreadable[path] = f"It is {kind}, not a file."
        except OSError as error:
            unreadable[path] = f"It cannot be looked at: {_reason(error)}."
    return FolderListing(tuple(images), tuple(folders), unreadable, others)


def list_below(folder: Path, *, leave: Path | None = None) -> Iterator[FolderListing]:
    """Yield the entries of a folder, then those of each folder below it, but for `leave`."""
    waiting = [folder]
    while waiting:
        listing = list_folder(waiting.pop())
        yield listing
        waiting += [path for path in reversed(listing.folders) if path != leave]


def find_unreadable(folder: Path, *, leave: Path) -> dict[Path, str]:
    """Return what cannot be looked at in a folder and below, with the reason; but for `leave`."""
    found: dict[Path, str] = {}
    for listing in list_below(folder, leave=leave):
        found |= listing.unreadable
    return found


def count_passed_over(
    sources: Iterable[str | Path], taken: Iterable[Path], *, leave: Path
) -> Counter[str]:
    """Return what folders hold beside the images that are taken: suffix or kind to number.

    Parameters
    ----------
    sources
        Files and folders; folders are searched with all folders below them.
    taken
        The images.
    leave
        A folder that is not looked into, the output.
    """
    own = set(taken)
    passed: Counter[str] = Counter()
    folders = [Path(source).expanduser().absolute() for source in sources]
    roots = {Path(os.path.realpath(folder)) for folder in folders if folder.is_dir()}
    for root in roots:
        if any(other != root and root.is_relative_to(other) for other in roots):
            continue  # it is counted with the other
        for listing in list_below(root, leave=leave):
            passed += passed_over_in(listing, own, among_results=root.is_relative_to(leave))
    return passed


def passed_over_in(
    listing: FolderListing, taken: Collection[Path], *, among_results: bool = False
) -> Counter[str]:
    """Return what one folder holds beside the images that are taken.

    Pictures that this package has written are not counted, nor its tables and records where
    images and results share a folder.
    """
    passed = Counter(listing.others)
    if among_results:
        for suffix in _SUFFIXES_OF_RESULTS:
            passed.pop(suffix, None)
    left = (p for p in listing.images if p not in taken and not is_export(p.name))
    passed.update(path.suffix.casefold() for path in left)
    return passed


def describe_passed_over(passed: Mapping[str, int]) -> str:
    """Return numbers by suffix, the largest first.

    Examples
    --------
    >>> describe_passed_over({".tif": 3, "hidden": 1, ".csv": 12})
    '12 .csv, 3 .tif, 1 hidden'
    """
    ordered = sorted(passed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {printable(kind)}" for kind, count in ordered)


def _reason(error: OSError) -> str:
    return error.strerror or describe_error(error)
