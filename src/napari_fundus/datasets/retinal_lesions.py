"""Retinal-Lesions: 1593 photographs of EyePACS with masks of eight classes and new grades.

The layout is that of the authors' page, and of readers that others have published; this reader has
not been tried on the set itself.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from napari_fundus.datasets.annotations import LevelTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.class_folders import name_unsupported
from napari_fundus.datasets.files import (
    find_path,
    find_root,
    find_subfolder,
    images_by_stem,
    list_subfolders,
    missing_problems,
    parse_number,
    read_table,
    relative_to_root,
)
from napari_fundus.datasets.grades import image_stem
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import DR_LESIONS, Lesion, parse_lesion

_CLASSES = frozenset((*DR_LESIONS, Lesion.NV))
_UNSUPPORTED = {
    "vitreous_hemorrhage": "vitreous haemorrhages",
    "preretinal_hemorrhage": "preretinal haemorrhages",
    "fibrous_proliferation": "fibrous proliferations",
}
_IMAGES, _MASKS = r"^images_\d+x\d+$", r"^lesion_segs_\d+x\d+$"
_TABLE = "dr_grades.csv"
_LESION, _KNOWN = 255, frozenset({0, 127, 255})


def _is_root(folder: Path) -> bool:
    return None not in (find_subfolder(folder, _IMAGES), find_subfolder(folder, _MASKS))


class RetinalLesions(Dataset):
    """Retinal-Lesions, with the grades that its experts gave.

    A class without a mask was looked for and not found. What the authors left out of their
    experiments, since it contradicts the grade, has the grey value 127 and does not count.
    Vitreous and preretinal haemorrhages are no HE here. Both eyes of a person form a group.
    """

    name = "retinal_lesions"
    title = "Retinal-Lesions"
    reference = "Wei et al., ICPR 2020, arXiv:1912.11619"
    licence = "upon request to the authors; the photographs: Kaggle's rules"
    layout = "'images_896x896', 'lesion_segs_896x896/10_left/microaneurysm.png', 'dr_grades.csv'"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        inner = rf"{_IMAGES}|{_MASKS}|_(left|right)$"
        return find_root(folder, _is_root, inner_folders=inner)

    @classmethod
    def open(cls, root: Path) -> RetinalLesions:
        """Read the lists and annotations below `root`, but no image."""
        if not _is_root(root):
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        images = images_by_stem(find_subfolder(root, _IMAGES))
        masks = find_subfolder(root, _MASKS) or root
        truths, problems = _read_masks(masks, images, root)
        grades, odd = _read_grades(root, images)
        samples = [
            Sample(
                image.stem,
                image,
                annotated=_CLASSES,
                truths=truths.get(stem, {}),
                grades=grades.get(stem, {}),
                group=_person(image.stem),
            )
            for stem, image in sorted(images.items())
        ]
        return cls(root, samples, [*problems, *odd])


def _person(stem: str) -> str | None:
    """Return the group of both eyes of a person, which EyePACS's reader names so as well."""
    person = re.fullmatch(r"(.+)_(left|right)", stem, re.IGNORECASE)
    return f"eyepacs:{person[1]}" if person else None


def _read_masks(
    folder: Path, images: dict[str, Path], root: Path
) -> tuple[dict[str, dict[str, Truth]], list[Problem]]:
    truths: dict[str, dict[str, Truth]] = {}
    left_out: Counter[str] = Counter()
    lost: list[str] = []
    for sub in list_subfolders(folder):
        stem = sub.name.casefold()
        if stem not in images:
            lost.append(relative_to_root(sub, root))
            continue
        for name, path in images_by_stem(sub).items():
            lesion = parse_lesion(name.removeprefix("retinal_"))
            if name in _UNSUPPORTED or lesion not in _CLASSES:
                left_out[_UNSUPPORTED.get(name, repr(name))] += 1
            else:
                truths.setdefault(stem, {})[lesion] = LevelTruth(path, _LESION, _KNOWN)
    problems = missing_problems(lost, "The image of these masks is missing.")
    return truths, [*problems, *name_unsupported(left_out, relative_to_root(folder, root))]


def _read_grades(
    root: Path, images: dict[str, Path]
) -> tuple[dict[str, dict[str, int]], list[Problem]]:
    """Read the column ``our label``; Kaggle's own grades stand beside it."""
    table = find_path(root, _TABLE)
    if table is None:
        return {}, [Problem(_TABLE, "The table is missing: no photograph has a grade.")]
    grades: dict[str, dict[str, int]] = {}
    for row in read_table(table):
        stem = image_stem(row.get("image id", row.get("image", "")))
        grade = parse_number(row.get("our label"))
        if stem in images and grade in (0, 1, 2, 3, 4):
            grades[stem] = {"dr": int(grade)}
    no_row = (relative_to_root(images[stem], root) for stem in images.keys() - grades.keys())
    return grades, missing_problems(no_row, f"{_TABLE} has no grade of this photograph.")
