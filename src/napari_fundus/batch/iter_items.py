"""The images of an archive one after another, so that a million of them need no more memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_fundus.batch.items import (
    SUMMARY_NAME,
    BatchItem,
    find_items,
    hashed_output_stem,
    rename_colliding,
)
from napari_fundus.batch.listing import count_passed_over, list_folder, passed_over_in
from napari_fundus.datasets.base import Sample
from napari_fundus.datasets.discovery import recognized
from napari_fundus.datasets.folder import samples_from_files
from napari_fundus.datasets.mask_names import is_mask_place
from napari_fundus.export import is_export, safe_stem
from napari_fundus.lesions import parse_lesion


def iter_items(
    sources: Iterable[str | Path], output: str | Path, passed: Counter[str] | None = None
) -> Iterator[BatchItem]:
    """Yield the images of files, folders and data sets, each once.

    One plain folder is walked while its images are worked on: nothing is remembered but the names
    in the folder at hand. Several sources, and data sets with annotations, are listed first (see
    `napari_fundus.batch.find_items`), since their names have to be compared.

    Masks are known by names like ``<image>_MA.png`` beside the image, and by folders named like
    ``MA`` that lie beside images or other folders, or like ``masks``, ``vessel`` or ``GT``. Hidden
    files, results of earlier runs and the output folder are left out; links to folders are not
    followed.

    Parameters
    ----------
    sources
        Files and folders.
    output
        Where results will be written.
    passed
        Gets the numbers of what is passed over, by suffix or kind.

    Yields
    ------
    BatchItem
        Output stems are unique. They are those that `find_items` gives, except where folders
        differ in upper and lower case alone.
    """
    given = [Path(source) for source in sources]
    passed = Counter() if passed is None else passed
    folder = Path(os.path.realpath(given[0].expanduser())) if len(given) == 1 else None
    if folder is None or not folder.is_dir() or _is_dataset(folder):
        items = find_items(given, output)
        leave = Path(output).expanduser().resolve()
        passed.update(count_passed_over(given, (item.path for item in items), leave=leave))
        yield from items
        return
    empty = True
    for item in _walk(folder, folder, Path(output).expanduser().resolve(), passed):
        empty = False
        yield item
    if empty:
        yield BatchItem(
            given[0], Path(safe_stem(folder.name)), "There is no photograph in this folder."
        )


def _is_dataset(folder: Path) -> bool:
    return next(recognized(folder), None) is not None


def _walk(
    folder: Path,
    root: Path,
    output: Path,
    passed: Counter[str],
    *,
    masks: Sequence[Path] = (),
    hashed: bool = False,
) -> Iterator[BatchItem]:
    """Yield the items of a folder, then those of its sub-folders.

    Parameters
    ----------
    folder, root, output, passed
        The folder at hand, the archive, where results go, and what gets the numbers of the rest.
    masks
        Images in folders named by a class, beside the folders on the way to this one.
    hashed
        Whether results of another folder may have the same names, but for upper and lower case.
    """
    if not root.is_relative_to(output) and folder.is_relative_to(output):
        return
    listing = list_folder(folder)
    files, inner = list(listing.images), list(listing.folders)
    for path, reason in listing.unreadable.items():
        parents = path.relative_to(root).parent
        yield BatchItem(path, parents / safe_stem(path.stem), reason)
    sorting = _mask_folders(inner, beside=bool(files))
    of_masks = [list_folder(inside) for inside in sorting]
    masks = [*masks, *(path for inside in of_masks for path in inside.images)]
    beside = [path for path in inner if path not in sorting]
    masks = list(dict.fromkeys([*masks, *_files_of_masks(beside, root)]))
    own = set(files)
    samples = [
        sample
        for sample in samples_from_files([*files, *masks], root)
        if sample.image_path in own and not is_export(sample.image_path.name)
    ]
    taken = {sample.image_path for sample in samples}
    for one in (listing, *of_masks):
        passed.update(passed_over_in(one, taken, among_results=root.is_relative_to(output)))
    yield from _with_output_stems(samples, root, hashed=hashed)
    keys: set[str] = set()
    for path in inner:
        if path not in sorting:
            key = path.name.casefold()
            yield from _walk(path, root, output, passed, masks=masks, hashed=hashed or key in keys)
            keys.add(key)


def _mask_folders(folders: list[Path], *, beside: bool) -> list[Path]:
    """Return the folders named by a class, unless they are what sorts the images.

    OD is the right eye where there is a left one, OS.
    """
    names = {path.name.casefold() for path in folders}
    found = [
        path
        for path in folders
        if parse_lesion(path.name) is not None
        and not (path.name.casefold() == "od" and "os" in names)
    ]
    return found if beside or len(found) < len(folders) else []


def _files_of_masks(folders: Iterable[Path], root: Path) -> Iterator[Path]:
    """Yield the images in and below those folders that hold masks by their names."""
    for folder in folders:
        if is_mask_place(folder.relative_to(root).parts):
            listing = list_folder(folder)
            yield from listing.images
            yield from _files_of_masks(listing.folders, root)


def _with_output_stems(samples: list[Sample], root: Path, *, hashed: bool) -> Iterator[BatchItem]:
    """Name the results of one folder's images as `find_items` does."""
    items = [
        BatchItem(
            sample.image_path,
            sample.image_path.relative_to(root).parent / safe_stem(sample.image_path.stem),
            sample=sample,
        )
        for sample in samples
    ]
    namings = (
        lambda item: item.output_stem.with_name(safe_stem(item.path.name)),
        hashed_output_stem,
    )
    for item in rename_colliding(items, namings, reserved={SUMMARY_NAME}):
        yield replace(item, output_stem=hashed_output_stem(item)) if hashed else item
