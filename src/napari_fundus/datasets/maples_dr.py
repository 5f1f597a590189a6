"""MAPLES-DR: masks of ten structures, and grades, for 198 photographs of MESSIDOR.

The layout is that of the authors' documentation, and of readers that others have published; this
reader has not been tried on the set itself. The photographs are MESSIDOR's, and not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.class_folders import read_class_folders
from napari_fundus.datasets.files import (
    find_path,
    find_root,
    list_images,
    list_subfolders,
    missing_problems,
    read_table,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.grades import image_stem
from napari_fundus.datasets.mask_names import class_of_folder, is_mask_place
from napari_fundus.errors import DatasetError

_UNSUPPORTED: Mapping[str, str] = {
    "opticcup": "optic cups",
    "vessels": "vessels",
    "drusens": "drusen",
    "brightuncertains": "uncertain bright lesions",
    "reduncertains": "uncertain red lesions",
}
_TABLE = "diagnosis.csv"
_DR: Mapping[str, Mapping[str, int]] = {
    **{f"R{n}": {"dr": n} for n in range(4)},
    "R4A": {"dr": 4},
    "R4S": {"dr": 4},
    "R6": {"gradable": 0},
}
_ME: Mapping[str, Mapping[str, int]] = {f"M{n}": {"dme": n} for n in range(3)} | {"M6": {}}
_PLACES = r"^(train|test|images?|microaneurysms|h(a)?emorrhages|exudates|cottonwoolspots|vessels)$"


def _is_part(folder: Path) -> bool:
    names = {sub.name.casefold() for sub in list_subfolders(folder)}
    return (
        split_from_name(folder.name) is not None
        and find_path(folder, _TABLE) is not None
        and {"microaneurysms", "cottonwoolspots"} <= names
    )


def _is_root(folder: Path) -> bool:
    return any(_is_part(sub) for sub in list_subfolders(folder))


class MaplesDr(Dataset):
    """MAPLES-DR, its main archive.

    A class is annotated in a photograph that has a mask of it. NV holds intraretinal microvascular
    abnormalities as well, which its experts did not tell apart; the macula is read as FOVEA.
    Retinopathy is graded R0 to R4 (stable after treatment, R4S, is 4), macular oedema M0 to M2 as
    in Canadian screening; R6 stands for not gradable.
    """

    name = "maples_dr"
    title = "MAPLES-DR, on photographs of MESSIDOR"
    reference = "Lepetit-Aimon et al., Sci Data 11:914, 2024, doi:10.1038/s41597-024-03739-6"
    licence = "CC0 1.0; the photographs: for research, see the ADCIS website"
    layout = (
        "'train' and 'test', each with 'diagnosis.csv', 'Microaneurysms', 'CottonWoolSpots', …, "
        "and MESSIDOR's photographs in a folder beside them"
    )

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_root, inner_folders=_PLACES)

    @classmethod
    def open(cls, root: Path) -> MaplesDr:
        """Read the lists and annotations below `root`, but no image."""
        parts = [sub for sub in list_subfolders(root) if _is_part(sub)]
        if not parts:
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        photographs = _photographs(root)
        samples: list[Sample] = []
        problems: list[Problem] = []
        if not photographs:
            message = "MESSIDOR's photographs are no part of the set: put them in a folder here."
            problems.append(Problem(".", message))
        for part in parts:
            rows, odd = _read_grades(part, root)
            images = {stem: photographs[stem] for stem in rows.keys() & photographs.keys()}
            lacking = rows.keys() - images.keys() if photographs else ()
            names = (f"{part.name}/{_TABLE}: {stem}" for stem in lacking)
            problems += [*odd, *missing_problems(names, "The photograph is missing.")]
            truths, odd = read_class_folders(part, images, root, unsupported=_UNSUPPORTED)
            problems += odd if photographs else []
            samples += [
                Sample(
                    f"{part.name}/{image.stem}",
                    image,
                    split=split_from_name(part.name),
                    annotated=frozenset(truths[stem]),
                    truths=truths[stem],
                    grades=rows[stem],
                )
                for stem, image in images.items()
            ]
        return cls(root, sorted(samples, key=lambda sample: sample.id), problems)


def _photographs(root: Path) -> dict[str, Path]:
    """Return the images that lie in no folder of masks, by lower-case stem."""
    found: dict[str, Path] = {}
    for path in list_images(root, depth=4):
        folders = path.relative_to(root).parts[:-1]
        of_masks = any(class_of_folder(f) or f.casefold() in _UNSUPPORTED for f in folders)
        if not of_masks and not is_mask_place(folders):
            found.setdefault(path.stem.casefold(), path)
    return found


def _read_grades(part: Path, root: Path) -> tuple[dict[str, dict[str, int]], list[Problem]]:
    """Read the names and grades of one part: columns ``name``, ``DR``, ``ME``."""
    table = find_path(part, _TABLE) or part / _TABLE
    where = relative_to_root(table, root)
    rows: dict[str, dict[str, int]] = {}
    problems: list[Problem] = []
    for row in read_table(table):
        stem = image_stem(row.get("name", ""))
        if not stem:
            continue
        rows[stem] = {}
        for column, meaning in (("dr", _DR), ("me", _ME)):
            text = row.get(column, "").upper()
            if text in meaning:
                rows[stem].update(meaning[text])
            elif text:
                message = f"{stem}: {column.upper()} is {text!r}, which is no grade; left out."
                problems.append(Problem(where, message))
    return rows, problems
