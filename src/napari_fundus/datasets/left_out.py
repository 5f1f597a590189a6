"""What lies in the folder of a data set and is not read, by name, whatever the data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    iter_files,
    list_images,
    missing_problems,
    relative_to_root,
    table_header,
)
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.datasets.grades import NAME_COLUMNS, find_column
from napari_fundus.datasets.several_roots import Recognize, roots_below
from napari_fundus.runtime.files import check_is_file

_DEPTH = 4
"""Levels around a data set that are looked through for images that are no part of it."""

_OURS = b"napari-fundus"
_OUR_COLUMN = "centroid_row"


def unread_roots(dataset: Dataset, recognize: Recognize, roots: Collection[Path]) -> list[Problem]:
    """Return the roots inside a data set that are none of its `roots` and were not read."""
    if type(dataset).reads_parts:
        return []
    inside = (root for part in dataset.parts for root in roots_below(part, recognize))
    message = f"Another {dataset.title}, which is not read. Open it by itself."
    return [
        Problem(relative_to_root(root, dataset.root), message)
        for root in inside
        if root not in roots
        and not any(sample.image_path.is_relative_to(root) for sample in dataset)
    ]


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
    message = "outside of the data set, not read. Open their folder by itself."
    return [
        Problem(name, f"{count} image file{'s' * (count > 1)} {message}")
        for name, count in sorted(outside.items())
    ]


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


def unread_annotations(dataset: Dataset) -> list[Problem]:
    """Return the files beside a plain folder's images that may be annotations of another format."""
    if not isinstance(dataset, FolderDataset):
        return []
    strange = [
        relative_to_root(path, dataset.root)
        for path in iter_files(dataset.root, depth=_DEPTH)
        if _may_be_annotation(path)
    ]
    message = (
        "Not read: it is no file of annotations in the format of COCO or of the VGG Image "
        "Annotator, and no table of a known data set."
    )
    return missing_problems(strange, message)


def _may_be_annotation(path: Path) -> bool:
    """Tell by name and start; what we write ourselves is none."""
    suffix = path.suffix.casefold()
    if suffix == ".csv":
        header = table_header(path)
        return find_column(header, NAME_COLUMNS) is not None and _OUR_COLUMN not in header
    if suffix not in (".json", ".xml"):
        return False
    check_is_file(path)
    with path.open("rb") as file:
        return _OURS not in file.read(1 << 16)
