"""FGADR: masks of six classes and grades of retinopathy for 1842 photographs (its Seg-set).

The layout is that of readers that others have published for the set, among them the folder's
spelling ``Hemohedge_Masks``; this reader has not been tried on the set itself.
"""

from __future__ import annotations

import csv
from pathlib import Path

from napari_fundus.datasets.annotations import SmoothMaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.class_folders import read_class_folders
from napari_fundus.datasets.files import (
    find_path,
    find_root,
    find_subfolder,
    images_by_stem,
    list_subfolders,
    missing_problems,
    read_rows,
    read_text,
    relative_to_root,
)
from napari_fundus.datasets.grades import image_stem
from napari_fundus.datasets.mask_names import class_of_folder
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import DR_LESIONS

_IMAGES = r"^original[ _]?images?$"
_MASKS = r"_masks?$"
_TABLE = "DR_Seg_Grading_Label.csv"


def _is_root(folder: Path) -> bool:
    named = [sub.name for sub in list_subfolders(folder) if sub.name.casefold().endswith("_masks")]
    return find_subfolder(folder, _IMAGES) is not None and any(map(class_of_folder, named))


class Fgadr(Dataset):
    """FGADR, its part with masks.

    Every photograph has a mask of MA, HE, EX and SE. IRMA and NV count as annotated where there is
    a mask of them. Edges of the masks are smoothed, and count from the middle of their range.
    """

    name = "fgadr"
    title = "FGADR, fine-grained annotated diabetic retinopathy (Seg-set)"
    reference = "Zhou et al., IEEE TMI 40(3):818-828, 2021, doi:10.1109/TMI.2020.3037771"
    licence = "for research, not to be passed on"
    layout = "'Original_Images', 'Microaneurysms_Masks', 'Hemohedge_Masks', …"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_root, inner_folders=rf"{_IMAGES}|{_MASKS}")

    @classmethod
    def open(cls, root: Path) -> Fgadr:
        """Read the lists and annotations below `root`, but no image."""
        if not _is_root(root):
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        images = images_by_stem(find_subfolder(root, _IMAGES))
        truths, problems = read_class_folders(
            root,
            images,
            root,
            unsupported={},
            truth=SmoothMaskTruth,
            complete=frozenset(DR_LESIONS),
        )
        grades, odd = _read_grades(root, images)
        samples = [
            Sample(
                image.stem,
                image,
                annotated=frozenset(truths[stem]),
                truths=truths[stem],
                grades=grades.get(stem, {}),
            )
            for stem, image in sorted(images.items())
        ]
        return cls(root, samples, [*problems, *odd])


def _read_grades(
    root: Path, images: dict[str, Path]
) -> tuple[dict[str, dict[str, int]], list[Problem]]:
    """Read the table, which has no header: name of the image, grade."""
    table = find_path(root, _TABLE)
    if table is None:
        return {}, [Problem(_TABLE, "The table is missing: no photograph has a grade.")]
    grades: dict[str, dict[str, int]] = {}
    lost: list[str] = []
    problems: list[Problem] = []
    try:
        rows = list(read_rows(read_text(table)))
    except csv.Error as error:
        return {}, [Problem(_TABLE, f"It is no table: {error}. No photograph has a grade.")]
    for cells in rows:
        if len(cells) < 2 or not cells[0].strip():
            continue
        stem, grade = image_stem(cells[0].strip()), cells[1].strip()
        if stem not in images:
            lost.append(f"{_TABLE}: {cells[0].strip()}")
        elif grade not in ("0", "1", "2", "3", "4"):
            problems.append(Problem(_TABLE, f"{cells[0]}: the grade {grade!r} is left out."))
        else:
            grades[stem] = {"dr": int(grade)}
    problems += missing_problems(lost, "A row without an image.")
    no_row = (relative_to_root(images[stem], root) for stem in images.keys() - grades.keys())
    return grades, [*problems, *missing_problems(no_row, "The photograph has no grade.")]
