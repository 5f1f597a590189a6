"""e-ophtha: microaneurysms (MA) and exudates (EX), two sets that share some of their images."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_folders,
    find_path,
    find_root,
    list_images,
    list_subfolders,
    missing_problems,
    relative_to_root,
)
from napari_fundus.datasets.groups import find_duplicate_files, merge_groups
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import Lesion

_CODES = (Lesion.EX, Lesion.MA)
_DEPTH = 3


def _code(folder: Path) -> Lesion | None:
    """Return which class a set's folder holds: that of its ``Annotation_…``; None if it is none."""
    for code in _CODES:
        images = find_path(folder, code) or find_path(folder, "healthy")
        if images is not None and find_path(folder, f"Annotation_{code}") is not None:
            return code
    return None


def _is_root(folder: Path) -> bool:
    return any(_code(sub) for sub in (folder, *list_subfolders(folder)))


@dataclass(frozen=True)
class _Entry:
    sample: Sample
    exam: str


class Eophtha(Dataset):
    """e-ophtha, one set or both.

    The images of a set say nothing of the other set's class. A file that stands in both sets, byte
    for byte, becomes one sample with both classes annotated. Images of one examination (``E0…``)
    are of one patient and form a group.
    """

    name = "eophtha"
    title = "e-ophtha (MA and EX)"
    reference = "Decencière et al., IRBM 34(2):196-203, 2013, doi:10.1016/j.irbm.2013.01.010"
    licence = "free for research, see the ADCIS website"
    reads_parts = True
    layout = (
        "'Annotation_MA' beside 'MA' and 'healthy', or 'Annotation_EX' beside 'EX' and 'healthy'"
    )

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        if _code(folder):
            return folder
        return find_root(
            folder,
            _is_root,
            inner_folders=r"^(E\d+|MA|EX|healthy|Annotation_(MA|EX))$",
            below=3,
        )

    @classmethod
    def open(cls, root: Path) -> Eophtha:
        """Read the lists and annotations below `root`, but no image."""
        problems: list[Problem] = []
        entries: list[_Entry] = []
        sets: dict[Lesion, Path] = {}
        for part in find_folders(root, lambda folder: _code(folder) is not None, depth=5):
            code = _code(part)
            if code is None or code in sets:
                message = f"A second copy of the {code} set; it is left out."
                problems.append(Problem(relative_to_root(part, root), message))
                continue
            sets[code] = part
            found, odd = _read_set(part, code, root)
            entries += found
            problems += odd
        if not sets:
            raise DatasetError(f"{root} holds no set of e-ophtha; looked for {cls.layout}.")
        samples = sorted(_merge(entries), key=lambda sample: sample.id)
        dataset = cls(root, samples, problems)
        dataset.parts = tuple(sets.values())
        return dataset


def _read_set(part: Path, code: Lesion, root: Path) -> tuple[list[_Entry], list[Problem]]:
    annotations = find_path(part, f"Annotation_{code}") or part
    masks = {_key(path, annotations, code): path for path in list_images(annotations, depth=_DEPTH)}
    entries: list[_Entry] = []
    no_mask: list[str] = []
    used: set[tuple[str, str]] = set()
    problems: list[Problem] = []
    for name, healthy in ((str(code), False), ("healthy", True)):
        folder = find_path(part, name)
        if folder is None:
            problems.append(Problem(relative_to_root(part / name, root), "The folder is missing."))
            continue
        for image in list_images(folder, depth=_DEPTH):
            key = _key(image, folder, code)
            mask = masks.get(key)
            used.add(key)
            annotated = frozenset({code}) if healthy or mask is not None else frozenset[str]()
            if not annotated:
                no_mask.append(relative_to_root(image, root))
            within = image.relative_to(folder).with_suffix("").as_posix()
            identity = f"{code}/healthy/{within}" if healthy else f"{code}/{within}"
            truths: dict[str, Truth] = {} if mask is None else {code: MaskTruth(mask)}
            sample = Sample(identity, image, annotated=annotated, truths=truths)
            entries.append(_Entry(sample, key[0] or identity))
    problems += missing_problems(
        no_mask, f"No mask in Annotation_{code}: {code} is not annotated in it."
    )
    lost = (relative_to_root(path, root) for key, path in masks.items() if key not in used)
    problems += missing_problems(lost, "The image of this mask is missing.")
    return entries, problems


def _key(path: Path, folder: Path, code: str) -> tuple[str, str]:
    """Return examination and stem, by which image and mask find each other."""
    exam = path.relative_to(folder).parent.as_posix().casefold()
    stem = re.sub(rf"_{code}$", "", path.stem, flags=re.IGNORECASE)
    return ("" if exam == "." else exam, stem.casefold())


def _merge(entries: Iterable[_Entry]) -> list[Sample]:
    """Make one sample of equal files, and groups of examinations and equal files."""
    listed = list(entries)
    by_path = {entry.sample.image_path: entry for entry in listed}
    copies = find_duplicate_files(by_path)
    exams = [[f"exam {by_path[path].exam}" for path in group] for group in copies]
    group_of = merge_groups([*exams, *([f"exam {entry.exam}"] for entry in listed)])
    dropped: set[Path] = set()
    samples = []
    twins = {path: group for group in copies for path in group}
    for entry in listed:
        path = entry.sample.image_path
        if path in dropped:
            continue
        sample = replace(entry.sample, group=f"eophtha:{group_of[f'exam {entry.exam}']}")
        for twin in twins.get(path, ()):
            other = by_path[twin].sample
            sample = replace(
                sample,
                annotated=sample.annotated | other.annotated,
                truths={**other.truths, **sample.truths},
            )
            dropped.add(twin)
        samples.append(sample)
    return samples
