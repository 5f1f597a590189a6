"""Which images a batch takes from files, folders and data sets, and how their results are named."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_fundus.batch.listing import find_unreadable
from napari_fundus.datasets import open_dataset
from napari_fundus.datasets.base import Sample
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.errors import DatasetError
from napari_fundus.export import is_export, safe_stem
from napari_fundus.runtime.text import describe_error

SUMMARY_NAME = "summary.csv"
"""Name of the table of all images, in the output folder."""


@dataclass(frozen=True)
class BatchItem:
    """One image to be worked on.

    Attributes
    ----------
    path
        The image's file, or a source that is none.
    output_stem
        Where its results go in the output folder: sub-folders and stem, without suffix.
    error
        Why it cannot be worked on; empty if it can.
    sample
        The image's sample in its data set, where it is part of one.
    """

    path: Path
    output_stem: Path
    error: str = ""
    sample: Sample | None = field(default=None, compare=False)


Naming = Callable[[BatchItem], Path]


def find_items(
    sources: Iterable[str | Path], output: str | Path, *, summary: str = SUMMARY_NAME
) -> list[BatchItem]:
    """Return the images of files, folders and data sets, each once, in a stable order.

    Folders are searched with all their sub-folders (links to folders are not followed). Masks of
    the data sets that `napari_fundus.datasets` knows, hidden files, and results of earlier runs
    are left out, and so is the output folder. Sources without an image, folders that cannot be
    searched and entries that are no files become items with an error.

    Parameters
    ----------
    sources
        Files and folders.
    output
        Where results will be written.
    summary
        Name of the table of all images, which no result may take.

    Returns
    -------
    list of BatchItem
        Output stems are unique, also where file systems do not tell upper from lower case. An image
        keeps its sub-folder below the folder given; where stems would be equal, the folders from
        the sources' common parent on are kept, and after that the file's suffix.
    """
    forbidden = Path(output).resolve()
    items: dict[Path, BatchItem] = {}
    for source in sources:
        for item in _items_of(Path(source), forbidden):
            # What cannot be worked on may not even be a path.
            known = item.path if item.error else Path(os.path.realpath(item.path))
            items.setdefault(known, item)
    return _make_stems_unique(list(items.values()), summary)


def _items_of(source: Path, forbidden: Path) -> Iterator[BatchItem]:
    path = source.expanduser().absolute()
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        yield _failed_item(source, "There is no such file or folder.")
        return
    except (OSError, ValueError) as error:
        yield _failed_item(source, f"It cannot be looked at: {describe_error(error)}.")
        return
    if not is_folder:
        yield BatchItem(path, Path(safe_stem(path.stem)))
        return
    path = Path(os.path.realpath(path))
    unreadable = find_unreadable(path, leave=forbidden)
    try:
        found = _images_of(path, forbidden)
    except (DatasetError, OSError) as error:
        found = {}
        if not unreadable:
            yield _failed_item(source, describe_error(error))
            return
    if not found and not unreadable:
        yield _failed_item(source, "There is no photograph in this folder.")
    for image, sample in found.items():
        if image not in unreadable:
            yield BatchItem(image, _stem_below(image, path), sample=sample)
    for entry, reason in unreadable.items():
        yield BatchItem(entry, _stem_below(entry, path), reason)


def _stem_below(image: Path, folder: Path) -> Path:
    return image.relative_to(folder).parent / safe_stem(image.stem)


def _images_of(folder: Path, forbidden: Path) -> dict[Path, Sample]:
    """Return the photographs below `folder`, or in it as part of a data set; no masks."""
    inside_out = folder.is_relative_to(forbidden)
    dataset = open_dataset(folder)
    found = {sample.image_path: sample for sample in dataset}
    if not any(folder.is_relative_to(part) for part in dataset.parts):
        # A data set somewhere below: what lies outside it are photographs all the same.
        around = open_dataset(folder, FolderDataset.name)
        found |= {
            sample.image_path: sample
            for sample in around
            if not any(sample.image_path.is_relative_to(part) for part in dataset.parts)
        }
    return {
        image: found[image]
        for image in sorted(found)
        if image.is_relative_to(folder)
        and not is_export(image.name)
        # Where images lie in the output folder itself, only names tell results from sources.
        and (inside_out or not image.is_relative_to(forbidden))
    }


def _failed_item(source: Path, error: str) -> BatchItem:
    return BatchItem(source, Path(safe_stem(source.stem)), error)


def _make_stems_unique(items: list[BatchItem], summary: str) -> list[BatchItem]:
    good = [item.path for item in items if not item.error]
    base = _common_parent(good)

    def from_common_parent(item: BatchItem) -> Path:
        inside = item.path.relative_to(base) if base else Path(item.path.name)
        return inside.parent / item.output_stem.name

    def with_suffix(item: BatchItem) -> Path:
        return from_common_parent(item).parent / safe_stem(item.path.name)

    namings = (from_common_parent, with_suffix, hashed_output_stem)
    return rename_colliding(items, namings, reserved={SUMMARY_NAME, summary})


def rename_colliding(
    items: list[BatchItem], namings: Iterable[Naming], *, reserved: Iterable[str]
) -> list[BatchItem]:
    """Return the items with unique output stems; equal ones are renamed.

    Parameters
    ----------
    items
        The images; those with an error keep their stem.
    namings
        Functions from an item to its next stem, the last of which is unique.
    reserved
        Names of tables in the output folder, which the table of an image must not take.
    """
    for naming in namings:
        taken = Counter(_key(item.output_stem) for item in items if not item.error)
        taken.update({_key(Path(name).with_suffix("")): 1 for name in reserved})
        items = [
            replace(item, output_stem=naming(item))
            if not item.error and taken[_key(item.output_stem)] > 1
            else item
            for item in items
        ]
    return items


def hashed_output_stem(item: BatchItem) -> Path:
    """Return the item's output stem with a name that no other image has."""
    digest = hashlib.sha256(str(item.path).encode("utf-8", "surrogateescape")).hexdigest()
    return item.output_stem.with_name(f"{item.output_stem.name}-{digest[:8]}")


def _key(stem: Path) -> str:
    return stem.as_posix().casefold()


def _common_parent(paths: list[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # none at all, or on several Windows drives
        return None
