"""FIVES and RETA: photographs with masks of vessels, of which the photographs are read.

The layouts are those of the papers, and of readers that others have published; these readers have
not been tried on the sets themselves.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    find_root,
    find_subfolder,
    images_by_stem,
    list_subfolders,
    relative_to_root,
    split_from_name,
)
from napari_fundus.errors import DatasetError


class VesselDataset(Dataset):
    """Folders ``train`` and ``test``, each with one of photographs and one of masks of vessels.

    No class of lesion is annotated.

    Attributes
    ----------
    images, masks
        Regular expressions of the names of the two folders.
    names
        Regular expression of the photographs' names, without suffix.
    """

    images: ClassVar[str]
    masks: ClassVar[str]
    names: ClassVar[str]

    @classmethod
    def _photographs(cls, folder: Path) -> dict[str, Path]:
        found = images_by_stem(find_subfolder(folder, cls.images))
        return {stem: path for stem, path in found.items() if re.fullmatch(cls.names, stem)}

    @classmethod
    def _parts(cls, root: Path) -> dict[str, Path]:
        found = {split_from_name(sub.name): sub for sub in list_subfolders(root)}
        return {split: sub for split, sub in found.items() if split and cls._photographs(sub)}

    @classmethod
    def _is_root(cls, folder: Path) -> bool:
        parts = cls._parts(folder).values()
        return any(find_subfolder(part, cls.masks) is not None for part in parts)

    @classmethod
    def grades(cls, stem: str) -> dict[str, int]:  # noqa: ARG003
        """Return what the name of a photograph tells of its grade."""
        return {}

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        inner = rf"^(train|test)|{cls.images}|{cls.masks}"
        return find_root(folder, cls._is_root, inner_folders=inner)

    @classmethod
    def open(cls, root: Path) -> VesselDataset:
        """Read the lists and annotations below `root`, but no image."""
        if not cls._is_root(root):
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        samples: list[Sample] = []
        problems: list[Problem] = []
        for split, part in cls._parts(root).items():
            for stem, image in cls._photographs(part).items():
                identity = f"{split}/{image.stem}"
                samples.append(Sample(identity, image, split=split, grades=cls.grades(stem)))
            masks = find_subfolder(part, cls.masks)
            if number := len(images_by_stem(masks)):
                message = f"{number} masks of vessels are left out: no class of lesion here."
                problems.append(Problem(relative_to_root(masks or part, root), message))
        return cls(root, sorted(samples, key=lambda sample: sample.id), problems)


class Fives(VesselDataset):
    """FIVES: eyes with macular degeneration, diabetic retinopathy, glaucoma, or none of them.

    The letter in a photograph's name tells which; N, normal, is grade 0 of retinopathy. The degree
    of retinopathy of the others is not known.
    """

    name = "fives"
    title = "FIVES, fundus images for vessel segmentation"
    reference = "Jin et al., Sci Data 9:475, 2022, doi:10.1038/s41597-022-01564-3"
    licence = "CC BY 4.0"
    layout = "'train' and 'test', each with 'Original/1_A.png', … and 'Ground truth'"
    images = r"^original$"
    masks = r"^ground[ _]?truths?$"
    names = r"\d+_[adgn]"

    @classmethod
    def grades(cls, stem: str) -> dict[str, int]:
        """Return grade 0 of what is normal."""
        return {"dr": 0} if stem.endswith("_n") else {}


class Reta(VesselDataset):
    """RETA: the photographs of IDRiD's part A, reduced to 1024x1024, with vessels of 54 of them."""

    name = "reta"
    title = "RETA, benchmark for retinal vascular tree analysis"
    reference = "Lyu et al., Sci Data 9:397, 2022, doi:10.1038/s41597-022-01507-y"
    licence = "CC BY 4.0"
    layout = "'train' and 'test', each with 'img/IDRiD_01.jpg', … and 'vessel'"
    images = r"^(img|images?)$"
    masks = r"^vessels?$"
    names = r"idrid_\d+"
