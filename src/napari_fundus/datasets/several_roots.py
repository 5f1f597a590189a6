"""Data sets of which several roots lie below one folder: all are read, or what is not is named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    list_images,
    list_subfolders,
    missing_problems,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.groups import find_duplicate_files, merge_groups
from napari_fundus.errors import DatasetError

_DEPTH = 4
"""Levels around a data set that are looked through for images that are no part of it."""

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
    return list(dict.fromkeys([root, *_roots_below(folder, recognize)]))


def _roots_below(folder: Path, recognize: Recognize) -> Iterator[Path]:
    for sub in list_subfolders(folder):
        root = recognize(sub)
        if root == sub:
            yield root
        elif root is not None and root.is_relative_to(sub):
            yield from _roots_below(sub, recognize)


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
        return _put_together(reader, common, roots, read)
    dataset = read(common)
    while reader.reads_parts and not dataset.samples and folder in common.parents:
        # Annotations in a folder of their own: the images lie beside it.
        common = common.parent
        dataset = read(common)
    if len(roots) > 1 and dataset.samples and dataset.parts == (common,):
        dataset.parts = tuple(roots)
    return dataset


def _put_together(
    reader: type[Dataset], common: Path, roots: Sequence[Path], read: Callable[[Path], Dataset]
) -> Dataset:
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


def unread_roots(dataset: Dataset, recognize: Recognize) -> list[Problem]:
    """Return the roots of the same data set inside one that was read, where they were not."""
    if type(dataset).reads_parts:
        return []
    found = []
    for part in dataset.parts:
        for root in _roots_below(part, recognize):
            if not any(sample.image_path.is_relative_to(root) for sample in dataset):
                message = f"Another {dataset.title}, which is not read. Open it by itself."
                found.append(Problem(relative_to_root(root, dataset.root), message))
    return found


def unread_datasets(
    dataset: Dataset, others: Iterable[tuple[type[Dataset], Path]]
) -> list[Problem]:
    """Return the data sets of other kinds in what was read."""
    return [
        Problem(
            relative_to_root(root, dataset.root),
            f"Here is a data set of another kind too, {reader.title}: it is not read. Open it by "
            f"the name {reader.name!r}.",
        )
        for reader, root in others
        if root.is_relative_to(dataset.root)
    ]


def unread_images(dataset: Dataset, folder: Path) -> list[Problem]:
    """Return, by folder, the images in `folder` that lie outside the parts of a data set."""
    if folder.is_relative_to(dataset.root) and dataset.parts == (dataset.root,):
        return []
    top = folder if dataset.root.is_relative_to(folder) else dataset.root
    read = {sample.image_path for sample in dataset}
    outside = Counter(
        path.relative_to(top).parts[0] if path.parent != top else top.name
        for path in list_images(top, depth=_DEPTH)
        if path not in read and not any(path.is_relative_to(part) for part in dataset.parts)
    )
    message = "image files lie outside the data set and are not read. Open their folder itself."
    return [Problem(name, f"{count} {message}") for name, count in sorted(outside.items())]


def unread_twins(dataset: Dataset) -> list[Problem]:
    """Return the images that are not read since another of their folder has the same stem."""
    used = {path for sample in dataset for path in _files_of(sample)}
    stems = {(sample.image_path.parent, sample.image_path.stem.casefold()) for sample in dataset}
    twins = (
        relative_to_root(path, dataset.root)
        for folder in {folder for folder, _ in stems}
        for path in list_images(folder)
        if path not in used and (folder, path.stem.casefold()) in stems
    )
    return missing_problems(twins, "Not read, since another image of that name is.")


def _files_of(sample: Sample) -> Iterator[Path]:
    of_truths = (vars(truth).values() for truth in sample.truths.values())
    given = (sample.image_path, sample.field_of_view_path, sample.region_path)
    return (value for value in (*given, *chain(*of_truths)) if isinstance(value, Path))
