"""TJDR: 561 photographs of two cameras with masks of MA, HE, EX and SE.

The layout and the numbers in the masks are those of the paper, and of a survey of the files that
others have published; this reader has not been tried on the set itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from napari_fundus.datasets.annotations import LevelTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_root,
    find_subfolder,
    images_by_stem,
    list_subfolders,
    missing_problems,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.groups import find_duplicate_files
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import Lesion

_LEVELS: Mapping[Lesion, int] = {Lesion.EX: 1, Lesion.HE: 2, Lesion.MA: 3, Lesion.SE: 4}
_KNOWN = frozenset({0, *_LEVELS.values()})
_IMAGES, _MASKS = r"^images?$", r"^annotations?$"


def _is_part(folder: Path) -> bool:
    images = images_by_stem(find_subfolder(folder, _IMAGES))
    return (
        split_from_name(folder.name) is not None
        and find_subfolder(folder, _MASKS) is not None
        and any(re.fullmatch(r"(train|test)_\d+", stem) for stem in images)
    )


def _is_root(folder: Path) -> bool:
    return any(_is_part(sub) for sub in list_subfolders(folder))


class Tjdr(Dataset):
    """TJDR: each mask tells all four classes by numbers, 0 being none of them.

    Some photographs are in it twice, with drawings of their own: they form groups.
    """

    name = "tjdr"
    title = "TJDR, Tongji diabetic retinopathy"
    reference = "Mao et al., arXiv:2312.15389, 2023"
    licence = "Apache 2.0, as in the authors' repository; the paper is CC BY-NC-ND 4.0"
    layout = "'train' and 'test', each with 'image/train_001.png', … and 'annotation'"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_root, inner_folders=r"^(train|test|images?|annotations?)$")

    @classmethod
    def open(cls, root: Path) -> Tjdr:
        """Read the lists and annotations below `root`, but no image."""
        parts = {split_from_name(s.name): s for s in list_subfolders(root) if _is_part(s)}
        if not parts:
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        images: dict[Path, str] = {}
        masks: dict[str, Path] = {}
        problems: list[Problem] = []
        for split in ("train", "test"):
            if split not in parts:
                problems.append(Problem(split, "The folder is missing."))
                continue
            own = images_by_stem(find_subfolder(parts[split], _IMAGES))
            drawn = images_by_stem(find_subfolder(parts[split], _MASKS))
            images |= dict.fromkeys(own.values(), split)
            masks |= drawn
            lacking = (relative_to_root(own[stem], root) for stem in own.keys() - drawn.keys())
            problems += missing_problems(lacking, "The mask is missing: nothing is annotated.")
            lost = (relative_to_root(drawn[stem], root) for stem in drawn.keys() - own.keys())
            problems += missing_problems(lost, "The image of this mask is missing.")
        group_of: dict[Path, str] = {}
        for copies in find_duplicate_files(images):
            group_of |= dict.fromkeys(copies, f"tjdr:{copies[0].stem}")
            names = " and ".join(path.stem for path in copies)
            message = f"{names} are the same photograph, drawn more than once."
            problems.append(Problem(relative_to_root(copies[0], root), message))
        samples = [
            _sample(image, split, masks.get(image.stem.casefold()), group_of.get(image))
            for image, split in images.items()
        ]
        return cls(root, sorted(samples, key=lambda sample: sample.id), problems)


def _sample(image: Path, split: str, mask: Path | None, group: str | None) -> Sample:
    truths: dict[str, Truth] = {
        code: LevelTruth(mask, level, _KNOWN) for code, level in _LEVELS.items() if mask
    }
    return Sample(
        image.stem, image, split=split, annotated=frozenset(truths), truths=truths, group=group
    )
