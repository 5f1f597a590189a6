"""Masks that lie in a folder for each class, named as their images: shared by several readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Problem, Truth
from napari_fundus.datasets.files import (
    images_by_stem,
    list_subfolders,
    missing_problems,
    relative_to_root,
)
from napari_fundus.datasets.mask_names import class_of_folder
from napari_fundus.lesions import Lesion

Truths = dict[str, dict[str, Truth]]
"""Lower-case stem of an image to class code to what was drawn."""


def read_class_folders(
    folder: Path,
    images: Mapping[str, Path],
    root: Path,
    *,
    unsupported: Mapping[str, str],
    truth: Callable[[Path], Truth] = MaskTruth,
    complete: frozenset[Lesion] = frozenset(),
) -> tuple[Truths, list[Problem]]:
    """Return the masks in the sub-folders of `folder` that are named after a class.

    Parameters
    ----------
    folder
        Holds the sub-folders.
    images
        Lower-case stem to photograph.
    root
        The data set's folder, to name files by.
    unsupported
        Lower-case names of further sub-folders, and what they hold: named among the problems.
    truth
        Makes the truth of a mask file.
    complete
        Classes of which each photograph should have a mask: what lacks one is named.
    """
    truths: Truths = {stem: {} for stem in images}
    problems: list[Problem] = []
    found: set[Lesion] = set()
    for sub in list_subfolders(folder):
        if sub.name.casefold() in unsupported:
            number = len(images_by_stem(sub))
            what = unsupported[sub.name.casefold()]
            message = f"{number} masks of {what} are left out: no class of lesion here."
            problems.append(Problem(relative_to_root(sub, root), message))
            continue
        lesion = class_of_folder(sub.name)
        if lesion is None:
            continue
        found.add(lesion)
        masks = images_by_stem(sub)
        for stem in masks.keys() & images.keys():
            truths[stem][lesion] = truth(masks[stem])
        lost = (relative_to_root(masks[stem], root) for stem in masks.keys() - images.keys())
        problems += missing_problems(lost, "The image of this mask is missing.")
        if lesion in complete:
            lacking = images.keys() - masks.keys()
            names = (relative_to_root(images[stem], root) for stem in lacking)
            message = f"The {lesion} mask is missing: {lesion} is not annotated in it."
            problems += missing_problems(names, message)
    for lesion in sorted(complete - found):
        message = f"The folder of {lesion} masks is missing: {lesion} is not annotated."
        problems.append(Problem(relative_to_root(folder, root), message))
    return truths, problems


def name_unsupported(counts: Counter[str], where: str) -> list[Problem]:
    """Return a problem for each kind of mask that has no class here, with its number."""
    return [
        Problem(where, f"{number} masks of {what} are left out: no class of lesion here.")
        for what, number in sorted(counts.items())
    ]
