"""Data sets of which several roots lie below one folder: all are read as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    list_subfolders,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.groups import find_duplicate_files, merge_groups
from napari_fundus.errors import DatasetError

Recognize = Callable[[Path], Path | None]


def all_roots(folder: Path, recognize: Recognize) -> list[Path]:
    """Return every root of a data set that `folder` is, lies in, or has below it.

    Parameters
    ----------
    folder
        What the user pointed at.
    recognize
        Returns one root of a folder, be it around or below; see `Dataset.recognize`.
    """
    root = recognize(folder)
    if root is None or folder.is_relative_to(root):
        return [] if root is None else [root]
    places = [root, *roots_below(folder, recognize)]
    # What is found by a link as well counts where it lies.
    places.sort(key=lambda place: place == place.resolve())
    return sorted({place.resolve(): place for place in places}.values())


def roots_below(folder: Path, recognize: Recognize) -> Iterator[Path]:
    """Yield every root of a data set below a folder; none lies in another."""
    for sub in list_subfolders(folder):
        if sub.is_symlink() and _overlap(sub.resolve(), folder):
            continue  # Its content is found where it lies.
        root = recognize(sub)
        if root == sub:
            yield root
        elif root is not None and root.is_relative_to(sub):
            yield from roots_below(sub, recognize)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def open_roots(
    reader: type[Dataset], folder: Path, roots: Sequence[Path], read: Callable[[Path], Dataset]
) -> Dataset:
    """Open a data set of one root or several.

    Parameters
    ----------
    reader
        Its class.
    folder
        What the user pointed at.
    roots
        All its roots; none lies in another.
    read
        Opens one root, as `Dataset.open`.

    Raises
    ------
    DatasetError
        None of the roots can be read; the error is that of the first.
    """
    common = Path(os.path.commonpath(roots))
    if len(roots) > 1 and not reader.reads_parts:
        dataset = _put_together(reader, common, roots, read)
    else:
        dataset = read(common)
        if len(roots) > 1 and dataset.parts == (common,):
            dataset.parts = tuple(roots)
    return dataset if _says_something(dataset) else _with_images_around(dataset, folder, read)


def _says_something(dataset: Dataset) -> bool:
    return any(sample.annotated or sample.grades for sample in dataset)


def _with_images_around(dataset: Dataset, folder: Path, read: Callable[[Path], Dataset]) -> Dataset:
    """Return a data set as read from a folder around it, where its images are found there.

    Annotations and tables may lie in a folder of their own, the images beside it.
    """
    for around in (dataset.root, *dataset.root.parents):
        if not around.is_relative_to(folder):
            break
        try:
            found = read(around)
        except DatasetError:
            continue
        if _says_something(found):
            return found
    return dataset


def _put_together(
    reader: type[Dataset], common: Path, roots: Sequence[Path], read: Callable[[Path], Dataset]
) -> Dataset:
    """Return a data set of the samples of several roots, each named after its root."""
    samples: list[Sample] = []
    problems: list[Problem] = []
    failed: list[DatasetError] = []
    for root in sorted(roots):
        name = relative_to_root(root, common)
        try:
            part = read(root)
        except DatasetError as error:
            failed.append(error)
            problems.append(Problem(name, f"It is left out: {error}"))
            continue
        split = split_from_name(root.name)
        samples += (
            replace(sample, id=f"{name}/{sample.id}", split=sample.split or split)
            for sample in part.samples
        )
        problems += (Problem(f"{name}/{odd.path}", odd.message) for odd in part.problems)
    if len(failed) == len(roots):
        raise failed[0]
    samples, copies = _group_copies(samples, reader.name)
    if copies:
        message = (
            f"{copies} images stand in several of the folders, byte for byte. All are read; they "
            "form groups that no split separates. Open one folder alone to have each once."
        )
        problems.append(Problem(", ".join(relative_to_root(r, common) for r in roots), message))
    dataset = reader(common, samples, problems)
    dataset.parts = tuple(roots)
    return dataset


def _group_copies(samples: Sequence[Sample], name: str) -> tuple[list[Sample], int]:
    """Put samples of equal files into one group; return how many have an equal."""
    there = {sample.image_path for sample in samples if sample.image_path.is_file()}
    copies = [[str(path) for path in group] for group in find_duplicate_files(sorted(there))]
    known = [
        [str(sample.image_path), f"group {sample.group}"]
        for sample in samples
        if sample.group is not None
    ]
    if not copies:
        return list(samples), 0
    merged = merge_groups([*copies, *known])
    copied = {path for group in copies for path in group}
    groups = {merged[path] for path in copied}
    return [
        replace(sample, group=f"{name}:copy {found}")
        if (found := merged.get(str(sample.image_path))) in groups
        else sample
        for sample in samples
    ], len(copied)
