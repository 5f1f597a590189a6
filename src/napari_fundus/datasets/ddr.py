"""DDR: lesion segmentation in training, validation and testing sets."""

from __future__ import annotations

from pathlib import Path

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_folders,
    find_root,
    find_subfolder,
    images_by_stem,
    list_subfolders,
    missing_problems,
    relative_to_root,
    split_from_name,
)
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import DR_LESIONS, Lesion, parse_lesion

_DEPTH = 4
"""Levels between the sets and a folder around them; each may be unpacked into one of its own."""


def _labels(split: Path) -> Path | None:
    return find_subfolder(split, r"^(segmentation[ _]?)?labels?$")


def _is_split(folder: Path) -> bool:
    labels = _labels(folder)
    return (
        split_from_name(folder.name) is not None
        and labels is not None
        and find_subfolder(folder, r"^images?$") is not None
        and any(parse_lesion(sub.name) in DR_LESIONS for sub in list_subfolders(labels))
    )


def _is_root(folder: Path) -> bool:
    return any(_is_split(sub) for sub in list_subfolders(folder))


class Ddr(Dataset):
    """DDR, its part of lesion segmentation.

    Every image has a mask of every class, all black where there is none: a class whose file is
    missing is not annotated in that image.
    """

    name = "ddr"
    title = "DDR, lesion segmentation"
    reference = "Li et al., Information Sciences 501:511-522, 2019, doi:10.1016/j.ins.2019.06.011"
    licence = "for research, see the authors' repository"
    reads_parts = True
    layout = "'train', 'valid' and 'test', each with 'image' and 'label/EX', 'label/HE', …"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(
            folder,
            _is_root,
            inner_folders=r"^(train|valid|test|images?|.*labels?|EX|HE|MA|SE)$",
        )

    @classmethod
    def open(cls, root: Path) -> Ddr:
        """Read the lists and annotations below `root`, but no image."""
        samples: list[Sample] = []
        problems: list[Problem] = []
        splits: dict[str | None, Path] = {}
        for folder in find_folders(root, _is_split, depth=_DEPTH):
            if splits.setdefault(split := split_from_name(folder.name), folder) != folder:
                message = f"A second copy of the {split} set; it is left out."
                problems.append(Problem(relative_to_root(folder, root), message))
        if not splits:
            raise DatasetError(f"{root} is not DDR; looked for {cls.layout}.")
        for split in ("train", "valid", "test"):
            if split not in splits:
                problems.append(Problem(split, "The folder is missing."))
                continue
            found, odd = _read_split(splits[split], split, root)
            samples += found
            problems += odd
        dataset = cls(root, samples, problems)
        dataset.parts = tuple(splits.values())
        return dataset


def _read_split(folder: Path, split: str, root: Path) -> tuple[list[Sample], list[Problem]]:
    problems: list[Problem] = []
    images = images_by_stem(find_subfolder(folder, r"^images?$"))
    labels = _labels(folder) or folder
    masks: dict[Lesion, dict[str, Path]] = {}
    for sub in list_subfolders(labels):
        code = parse_lesion(sub.name)
        if code is not None:
            masks[code] = images_by_stem(sub)
    for code in DR_LESIONS:
        if code not in masks:
            message = f"The folder is missing: {code} is not annotated."
            problems.append(Problem(relative_to_root(labels / code, root), message))
    for code, files in masks.items():
        lacking = (relative_to_root(images[stem], root) for stem in images.keys() - files.keys())
        problems += missing_problems(
            lacking, f"The {code} mask is missing: {code} is not annotated in it."
        )
        lost = (relative_to_root(files[stem], root) for stem in files.keys() - images.keys())
        problems += missing_problems(lost, "The image of this mask is missing.")
    samples = []
    for stem, image in sorted(images.items()):
        truths: dict[str, Truth] = {
            code: MaskTruth(files[stem]) for code, files in masks.items() if stem in files
        }
        identity = f"{split}/{image.stem}"
        samples.append(
            Sample(identity, image, split=split, annotated=frozenset(truths), truths=truths)
        )
    return samples, problems
