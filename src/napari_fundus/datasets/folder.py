"""A plain folder of images, with masks named by a suffix or lying in folders named by class."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from napari_fundus.errors import DatasetError
from napari_fundus.image import IMAGE_SUFFIXES
from napari_fundus.lesions import Lesion, parse_lesion

_DEPTH = 6


@dataclass(frozen=True)
class _Mask:
    path: Path
    lesion: Lesion
    stem: str


class FolderDataset(Dataset):
    """Any folder that holds images.

    Masks are files ``<stem>_MA.png``, or files of the image's name (with or without such an ending)
    in a folder named after a class, ``MA/<stem>.png``. A class counts as annotated in an image only
    if it has a mask of it, be it an empty one.
    """

    name = "folder"
    title = "Folder of images"
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
        images, masks = _separate_masks(files, root)
        problems: list[Problem] = []
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
    images, masks = _separate_masks(files, root)
    truths = _assign(images, masks, root, [])
    return [
        Sample(path.stem, path, annotated=frozenset(truths[path]), truths=truths[path])
        for path in images
    ]


def _endings(stem: str) -> Iterator[tuple[str, Lesion]]:
    """Yield each way to read a stem as the name of an image and that of a class."""
    for cut in re.finditer(r"[ _.-]+", stem):
        lesion = parse_lesion(stem[cut.end() :])
        if lesion is not None and cut.start() > 0:
            yield stem[: cut.start()].casefold(), lesion


def _separate_masks(files: Iterable[Path], root: Path) -> tuple[list[Path], list[_Mask]]:
    """Tell images from masks by their names."""
    listed = list(files)
    stems = {path.stem.casefold() for path in listed}
    sides = _names_sides(listed, root)
    images: list[Path] = []
    masks: list[_Mask] = []
    for path in listed:
        parts = path.relative_to(root).parts[:-1]
        inside = [parse_lesion(part) for part in parts if not (sides and _is_od(part))]
        of_folder = next((lesion for lesion in reversed(inside) if lesion is not None), None)
        ended = [
            (stem, lesion)
            for stem, lesion in _endings(path.stem)
            if stem in stems and not (sides and lesion is Lesion.OD)
        ]
        if of_folder is not None:
            named = [stem for stem, lesion in ended if lesion == of_folder]
            masks.append(_Mask(path, of_folder, named[0] if named else path.stem.casefold()))
        elif ended:
            masks.append(_Mask(path, ended[0][1], ended[0][0]))
        else:
            images.append(path)
    if not images:
        # Folders named by class without images beside them sort images, they hold no masks.
        return listed, []
    return images, masks


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
        candidates = by_stem.get(mask.stem, [])
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
