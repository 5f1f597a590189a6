"""A plain folder of images, with masks named by a suffix or lying in folders named by class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    iter_files,
    list_images,
    missing_problems,
    relative_to_root,
    split_from_name,
    unique_ids,
)
from napari_fundus.datasets.mask_names import (
    class_endings,
    class_of_folder,
    is_mask_place,
    without_mask_ending,
)
from napari_fundus.errors import DatasetError
from napari_fundus.image import IMAGE_SUFFIXES
from napari_fundus.lesions import Lesion

_DEPTH = 6


@dataclass(frozen=True)
class _Mask:
    """A mask: its file, its class, and the names in lower case that its image may have."""

    path: Path
    lesion: Lesion
    stems: tuple[str, ...]


@dataclass(frozen=True)
class _Sorted:
    """Image files by what their names and folders say of them."""

    photographs: list[Path] = field(default_factory=list)
    masks: list[_Mask] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)
    """Masks that name no class, or none that is known."""


class FolderDataset(Dataset):
    """Any folder that holds images.

    Masks are files ``<stem>_MA.png``, or files of the image's name (with or without such an ending)
    in a folder named after a class, ``MA/<stem>.png``. A class counts as annotated in an image only
    if it has a mask of it, be it an empty one. Other masks (``masks/<stem>.png``,
    ``<stem>_mask.png``, vessels, …) are no photographs; they are told, and left out.
    """

    name = "folder"
    title = "Folder of images"
    reads_parts = True
    layout = "images, with masks named like '<image>_MA.png' or in folders named like 'MA'"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return `folder` itself if there is an image in it or below."""
        files = (f.suffix.casefold() for f in iter_files(folder, depth=_DEPTH))
        return folder if any(suffix in IMAGE_SUFFIXES for suffix in files) else None

    @classmethod
    def open(cls, root: Path) -> FolderDataset:
        """Read the lists and annotations below `root`, but no image."""
        files = list_images(root, depth=_DEPTH)
        if not files:
            raise DatasetError(f"{root} holds no image.")
        found = _sort(files, root)
        images, masks = found.photographs, found.masks
        if not images:
            raise DatasetError(
                f"{root} holds {len(files)} masks by their names, and no photograph. If they are "
                "photographs, name the files themselves or the folder that they lie in."
            )
        problems = _unknown_masks(found.unknown, root)
        truths = _assign(images, masks, root, problems)
        classes = {mask.lesion for mask in masks}
        for lesion in sorted(classes):
            lacking = (
                relative_to_root(path, root) for path in images if lesion not in truths[path]
            )
            problems += missing_problems(
                lacking, f"No {lesion} mask: {lesion} counts as not annotated in this image."
            )
        samples = [
            Sample(
                identity,
                path,
                split=_split(path, root),
                annotated=frozenset(truths[path]),
                truths=truths[path],
            )
            for identity, path in unique_ids(images, root)
        ]
        return cls(root, samples, problems)


def samples_from_files(files: Iterable[Path], root: Path) -> list[Sample]:
    """Return the photographs among image files below `root`, each with the masks among them."""
    found = _sort(files, root)
    truths = _assign(found.photographs, found.masks, root, [])
    return [
        Sample(path.stem, path, annotated=frozenset(truths[path]), truths=truths[path])
        for path in found.photographs
    ]


def photographs_among(files: Iterable[Path], root: Path) -> list[Path]:
    """Return the image files below `root` that are no masks by their names and folders."""
    return _sort(files, root).photographs


def _sort(files: Iterable[Path], root: Path) -> _Sorted:
    """Tell photographs from masks by their names and those of their folders."""
    listed = list(files)
    stems = {path.stem.casefold() for path in listed}
    sides = _names_sides(listed, root)
    found = _Sorted()
    sorting: list[Path] = []
    for path in listed:
        folders = path.relative_to(root).parts[:-1]
        inside = [class_of_folder(part) for part in folders if not (sides and _is_od(part))]
        of_folder = next((lesion for lesion in reversed(inside) if lesion is not None), None)
        bare = without_mask_ending(path.stem, stems)
        by_name = is_mask_place(folders) or bare is not None
        endings = [
            (stem, lesion)
            for name in ([path.stem] if bare is None else [bare, path.stem])
            for stem, lesion in class_endings(name)
            if stem in stems and not (sides and lesion is Lesion.OD)
        ]
        own = [path.stem.casefold()] if bare is None else [bare.casefold(), path.stem.casefold()]
        if of_folder is not None:
            named = [stem for stem, lesion in endings if lesion == of_folder]
            found.masks.append(_Mask(path, of_folder, (*named, *own)))
            if not by_name:
                sorting.append(path)
        elif endings:
            found.masks.append(_Mask(path, endings[0][1], (endings[0][0],)))
        elif by_name:
            found.unknown.append(path)
        else:
            found.photographs.append(path)
    if not found.photographs:
        # Folders named by class without images beside them sort images, they hold no masks.
        masks = [mask for mask in found.masks if mask.path not in set(sorting)]
        return _Sorted(sorting, masks, found.unknown)
    return found


def _unknown_masks(paths: Iterable[Path], root: Path) -> list[Problem]:
    by_folder = Counter(relative_to_root(path.parent, root) for path in paths)
    return [
        Problem(
            folder,
            f"{count} masks are left out: neither their names nor their folders name a class that "
            "is known.",
        )
        for folder, count in sorted(by_folder.items())
    ]


def _names_sides(files: Iterable[Path], root: Path) -> bool:
    """Tell whether OD means the right eye here (oculus dexter), since OS, the left, occurs too."""
    return any(
        re.search(r"(?:^|[ _.-])os$", part, re.IGNORECASE)
        for path in files
        for part in (*path.relative_to(root).parts[:-1], path.stem)
    )


def _is_od(part: str) -> bool:
    return part.casefold() == "od"


def _assign(
    images: Iterable[Path], masks: Iterable[_Mask], root: Path, problems: list[Problem]
) -> Mapping[Path, dict[str, Truth]]:
    """Give each mask to the image of its name that lies nearest to it."""
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    truths: dict[Path, dict[str, Truth]] = {}
    for path in images:
        by_stem[path.stem.casefold()].append(path)
        truths[path] = {}
    lost: list[str] = []
    for mask in masks:
        candidates = next((by_stem[stem] for stem in mask.stems if stem in by_stem), [])
        if not candidates:
            lost.append(relative_to_root(mask.path, root))
            continue
        image = max(candidates, key=lambda path: _common(path, mask.path))
        if mask.lesion in truths[image]:
            message = f"A second {mask.lesion} mask of {image.name}; it is left out."
            problems.append(Problem(relative_to_root(mask.path, root), message))
            continue
        truths[image][mask.lesion] = MaskTruth(mask.path)
    problems += missing_problems(lost, "The image of this mask is missing.")
    return truths


def _common(first: Path, second: Path) -> int:
    """Return how many folders two paths share from the top."""
    pairs = zip(first.parts[:-1], second.parts[:-1], strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(first.parts))


def _split(path: Path, root: Path) -> str | None:
    parts = path.relative_to(root).parts[:-1]
    return next((split for part in parts if (split := split_from_name(part)) is not None), None)
