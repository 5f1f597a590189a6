"""IDRiD: segmentation (A), disease grading (B) and localization (C) as one data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_folders,
    find_path,
    find_root,
    find_subfolder,
    images_by_stem,
    iter_files,
    list_subfolders,
    missing_problems,
    parse_number,
    read_table,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.grades import read_grades
from napari_fundus.datasets.groups import read_groups
from napari_fundus.datasets.masks import image_shape
from napari_fundus.errors import DatasetError, ImageReadError
from napari_fundus.lesions import DR_LESIONS, Lesion, parse_lesion

_LAYOUT = (
    r"original images|groundtruths?|(training|testing) set|microaneurysms|h(a)?emorrhages"
    r"|(hard|soft) exudates|optic disc|fovea"
)
_DEPTH = 4
"""Levels between the parts and a folder around them; each may be unpacked into one of its own."""

_GROUPS_FILE = "same_eye_groups.txt"
_IMAGES = r"original images"
_SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")
_FOLDER_OF = {"train": "a. Training Set", "test": "b. Testing Set"}


def _truth_folder(part: Path) -> Path | None:
    return find_subfolder(part, r"ground\s*truths?")


def _kind(folder: Path) -> str | None:
    """Return which part of IDRiD a folder holds, by what is in it; None if it is none."""
    truths = _truth_folder(folder)
    if truths is not None:
        if "segmentation" in truths.name.casefold():
            return "segmentation"
        if find_subfolder(truths, r"(optic disc|fovea) cent"):
            return "localization"
        if any(
            re.search(r"grading.*\.csv$", f.name, re.IGNORECASE)
            for f in iter_files(truths, depth=0)
        ):
            return "grading"
    # A part that lost its truths, or their tables, is still known by its own name.
    named = re.fullmatch(
        r"[abc][. _-]*(segmentation|disease grading|localization)", folder.name, re.IGNORECASE
    )
    if named is None or (truths is None and find_subfolder(folder, _IMAGES) is None):
        return None
    return named[1].casefold().split()[-1]


def _is_root(folder: Path) -> bool:
    return any(_kind(sub) for sub in (folder, *list_subfolders(folder)))


@dataclass
class _ReaderState:
    """What has been read so far."""

    root: Path
    problems: list[Problem] = field(default_factory=list)
    samples: dict[str, Sample] = field(default_factory=dict)

    def add_problem(self, path: Path, message: str) -> None:
        self.problems.append(Problem(relative_to_root(path, self.root), message))


class Idrid(Dataset):
    """Indian Diabetic Retinopathy Image Dataset.

    Samples are named ``segmentation/IDRiD_01`` (part A), ``grading/IDRiD_001`` and, since numbers
    start again in the testing set, ``grading/testing/IDRiD_001`` (part B). The centres of part C
    are attached to the samples of part B, whose images it shares; without part B they are samples
    of their own, ``localization/IDRiD_001``. A missing mask file of part A means that the class
    was looked for and not found.
    """

    name = "idrid"
    title = "Indian Diabetic Retinopathy Image Dataset (IDRiD)"
    reference = "Porwal et al., Data 3(3):25, 2018, doi:10.3390/data3030025"
    licence = "CC-BY 4.0"
    reads_parts = True
    layout = (
        "'A. Segmentation', 'B. Disease Grading' or 'C. Localization', each with '1. Original "
        "Images' and '2. … Groundtruths'"
    )

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        if _kind(folder):
            return folder
        return find_root(folder, _is_root, inner_folders=_LAYOUT)

    @classmethod
    def open(cls, root: Path) -> Idrid:
        """Read the lists and annotations below `root`, but no image."""
        reading = _ReaderState(root)
        parts: dict[str, Path] = {}
        for part in find_folders(root, lambda folder: _kind(folder) is not None, depth=_DEPTH):
            kind = _kind(part) or ""
            if kind in parts:
                reading.add_problem(part, f"A second copy of the {kind} part; it is left out.")
            else:
                parts[kind] = part
        if not parts:
            raise DatasetError(f"{root} holds no part of IDRiD; looked for {cls.layout}.")
        if "segmentation" in parts:
            _read_segmentation(reading, parts["segmentation"])
        if "grading" in parts:
            _read_grading(reading, parts["grading"])
        if "localization" in parts:
            _read_localization(reading, parts["localization"], own="grading" not in parts)
        samples = _with_groups(reading.samples.values(), root)
        dataset = cls(root, sorted(samples, key=lambda sample: sample.id), reading.problems)
        dataset.parts = tuple(parts.values())
        return dataset


def _split_folders(
    reading: _ReaderState, parent: Path | None, part: Path, *, what: str
) -> dict[str, Path]:
    """Return the folders of the training and testing sets, and report which is missing."""
    if parent is None:
        reading.add_problem(part / what, f"The folder is missing: {part.name} has no images.")
        return {}
    found: dict[str, Path] = {}
    for sub in list_subfolders(parent):
        if found.setdefault(split_from_name(sub.name) or "", sub) != sub:
            reading.add_problem(sub, "A second folder of one set, or of none; it is left out.")
    for split in _SPLITS:
        if split not in found:
            reading.add_problem(parent / _FOLDER_OF[split], "The folder is missing.")
    return {split: found[split] for split in _SPLITS if split in found}


def _sample_id(kind: str, split: str, stem: str) -> str:
    return (
        f"{kind}/testing/{stem}" if split == "test" and kind != "segmentation" else f"{kind}/{stem}"
    )


def _read_segmentation(reading: _ReaderState, part: Path) -> None:
    images = _split_folders(reading, find_subfolder(part, _IMAGES), part, what="1. Original Images")
    truths = _truth_folder(part)
    for split in _SPLITS:
        truth = next(
            (f for f in list_subfolders(truths or part) if split_from_name(f.name) == split), None
        )
        if split not in images and truth is None:
            continue
        if truth is None:
            reading.add_problem(
                (truths or part) / _FOLDER_OF[split],
                "The folder of masks is missing: nothing counts as annotated in this set.",
            )
        masks = _class_masks(reading, truth) if truth is not None else {}
        _add_segmented(reading, images_by_stem(images.get(split)), masks, split)


def _class_masks(reading: _ReaderState, truth: Path) -> dict[Lesion, dict[str, Path]]:
    """Return, for each class with a folder, the stem of an image to its mask."""
    found: dict[Lesion, dict[str, Path]] = {}
    for sub in list_subfolders(truth):
        lesion = parse_lesion(sub.name)
        if lesion is not None:
            ending = f"_{lesion.casefold()}"
            found[lesion] = {
                stem.removesuffix(ending): path for stem, path in images_by_stem(sub).items()
            }
    for lesion in (*DR_LESIONS, Lesion.OD):
        if lesion not in found:
            reading.add_problem(
                truth,
                f"The folder of {lesion} masks is missing: {lesion} is not annotated.",
            )
    return found


def _add_segmented(
    reading: _ReaderState,
    images: Mapping[str, Path],
    masks: Mapping[Lesion, Mapping[str, Path]],
    split: str,
) -> None:
    for stem, image in images.items():
        truths: dict[str, Truth] = {
            lesion: MaskTruth(files[stem]) for lesion, files in masks.items() if stem in files
        }
        annotated = set(masks)
        if Lesion.OD in annotated and Lesion.OD not in truths:
            annotated.discard(Lesion.OD)
            reading.add_problem(
                image, "No optic disc mask: every eye has a disc, so OD is not annotated."
            )
        identity = f"segmentation/{image.stem}"
        reading.samples[identity] = Sample(
            identity, image, split=split, annotated=frozenset(annotated), truths=truths
        )
    for files in masks.values():
        lost = [
            relative_to_root(path, reading.root)
            for stem, path in files.items()
            if stem not in images
        ]
        reading.problems += missing_problems(lost, "The image of this mask is missing.")


def _tables_by_split(reading: _ReaderState, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for table in iter_files(folder, depth=1):
        split = split_from_name(table.stem)
        if table.suffix.casefold() != ".csv" or split is None:
            continue
        if found.setdefault(split, table) != table:
            reading.add_problem(table, f"A second table of the {split} set; it is left out.")
    return found


def _read_grading(reading: _ReaderState, part: Path) -> None:
    folders_of = _split_folders(
        reading, find_subfolder(part, _IMAGES), part, what="1. Original Images"
    )
    truths = _truth_folder(part) or part
    tables = _tables_by_split(reading, truths)
    for split in _SPLITS:
        images = images_by_stem(folders_of.get(split))
        table = tables.get(split)
        if table is None and not images:
            continue
        if table is None:
            reading.add_problem(truths, f"The table of {split} grades is missing.")
        if table is not None and split not in folders_of:
            continue
        grades, problems = read_grades(table, images, reading.root) if table else ({}, [])
        reading.problems += problems
        for stem, image in images.items():
            identity = _sample_id("grading", split, image.stem)
            reading.samples[identity] = Sample(
                identity, image, split=split, grades=grades.get(stem, {})
            )


def _read_localization(reading: _ReaderState, part: Path, *, own: bool) -> None:
    """Attach the centres of part C to part B's samples, or make samples of its `own` images."""
    kind = "localization" if own else "grading"
    parent = find_subfolder(part, _IMAGES)
    if own:
        folders_of = _split_folders(reading, parent, part, what="1. Original Images")
        for split, images in folders_of.items():
            for image in images_by_stem(images).values():
                identity = _sample_id(kind, split, image.stem)
                reading.samples[identity] = Sample(identity, image, split=split)
    truths = _truth_folder(part) or part
    for code, pattern in ((Lesion.OD, "optic disc"), (Lesion.FOVEA, "fovea")):
        folder = find_subfolder(truths, pattern)
        if folder is None:
            reading.add_problem(truths, f"The folder of {pattern} centres is missing.")
            continue
        for split, table in _tables_by_split(reading, folder).items():
            if any(sample.split == split for sample in _of_kind(reading, kind)):
                _attach_centres(reading, table, code, kind=kind, split=split)


def _of_kind(reading: _ReaderState, kind: str) -> Iterable[Sample]:
    return (s for s in reading.samples.values() if s.id.startswith(f"{kind}/"))


def _attach_centres(
    reading: _ReaderState, table: Path, code: Lesion, *, kind: str, split: str
) -> None:
    by_stem = {s.image_path.stem.casefold(): s for s in _of_kind(reading, kind) if s.split == split}
    centres: dict[str, tuple[float, float]] = {}
    lost = []
    for row in read_table(table):
        name = next((v for k, v in row.items() if "image" in k), "")
        x = parse_number(next((v for k, v in row.items() if k.startswith("x")), None))
        y = parse_number(next((v for k, v in row.items() if k.startswith("y")), None))
        if not name:
            continue
        stem = name.casefold().removesuffix(".jpg")
        if x is None or y is None:
            reading.add_problem(table, f"The centre of {name} is not a pair of numbers.")
        elif stem not in by_stem:
            lost.append(f"{relative_to_root(table, reading.root)}: {name}")
        else:
            centres[stem] = (y, x)
    reading.problems += missing_problems(lost, "A centre without an image.")
    scale = _scale_of(centres, by_stem)
    if scale != 1:
        reading.add_problem(
            table, f"The images are reduced: centres are multiplied by {scale:g} to fit."
        )
    for stem, (row_, col) in centres.items():
        sample = by_stem[stem]
        placed = (
            ((row_ + 0.5) * scale - 0.5, (col + 0.5) * scale - 0.5) if scale != 1 else (row_, col)
        )
        reading.samples[sample.id] = replace(sample, centres={**sample.centres, code: placed})


def _scale_of(centres: Mapping[str, tuple[float, float]], by_stem: Mapping[str, Sample]) -> float:
    """Return the factor from the published 4288x2848 px to the images' size, if they are reduced.

    Only where a centre lies outside its image: coordinates that fit are taken as they are.
    """
    if not centres:
        return 1.0
    try:
        height, width = image_shape(by_stem[next(iter(centres))].image_path)
    except ImageReadError:
        return 1.0
    fits = all(row < height and col < width for row, col in centres.values())
    scale = width / 4288
    return 1.0 if fits or abs(scale - height / 2848) > 0.01 * scale else scale


def _with_groups(samples: Iterable[Sample], root: Path) -> list[Sample]:
    """Set the group of each sample from the list of same eyes, where one lies beside the parts."""
    files = (find_path(folder, _GROUPS_FILE) for folder in (root, root.parent))
    path = next((file for file in files if file is not None), None)
    groups = read_groups(path) if path is not None else {}
    return [replace(s, group=f"idrid:{groups[s.id]}") if s.id in groups else s for s in samples]
