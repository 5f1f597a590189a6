"""Data sets that grade whole images in a table: EyePACS (Kaggle), APTOS 2019, Messidor-2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    find_root,
    iter_files,
    list_images,
    relative_to_root,
    split_from_name,
    table_header,
)
from napari_fundus.datasets.grades import read_grades
from napari_fundus.errors import DatasetError

_DEPTH = 3


class GradedDataset(Dataset):
    """A folder with a table of grades and images somewhere below it.

    Attributes
    ----------
    columns
        What a table must have in its header to be of this data set.
    excluded
        What it must not have.
    """

    required_columns: ClassVar[frozenset[str]]
    excluded_columns: ClassVar[frozenset[str]] = frozenset()
    inner_folders: ClassVar[str]

    @classmethod
    def tables(cls, folder: Path) -> list[Path]:
        """Return the tables of grades directly in a folder."""
        return [
            path
            for path in iter_files(folder, depth=0)
            if path.suffix.casefold() == ".csv" and cls._is_table(table_header(path))
        ]

    @classmethod
    def _is_table(cls, header: Iterable[str]) -> bool:
        names = set(header)
        return cls.required_columns <= names and not cls.excluded_columns & names

    @classmethod
    def group(cls, stem: str) -> str | None:  # noqa: ARG003
        """Return the group of an image, where its name shows it."""
        return None

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; reads only headers."""
        return find_root(folder, lambda f: bool(cls.tables(f)), inner_folders=cls.inner_folders)

    @classmethod
    def open(cls, root: Path) -> GradedDataset:
        """Read the lists and annotations below `root`, but no image."""
        tables = cls.tables(root)
        if not tables:
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        everything = list_images(root, depth=_DEPTH)
        problems: list[Problem] = []
        samples: dict[str, Sample] = {}
        taken: set[Path] = set()
        for table in tables:
            split = split_from_name(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", table.stem))
            images = _images_of(everything, split, alone=len(tables) == 1)
            if not images:
                problems.append(
                    Problem(relative_to_root(table, root), "None of the images it lists is there.")
                )
                continue
            taken |= set(images.values())
            grades, odd = read_grades(table, images, root)
            problems += odd
            for stem, image in images.items():
                known = image.stem if len(tables) == 1 or split is None else f"{split}/{image.stem}"
                group = cls.group(image.stem)
                samples[known] = Sample(
                    known,
                    image,
                    split=split,
                    grades=grades.get(stem, {}),
                    group=None if group is None else f"{cls.name}:{group}",
                )
        problems += _unused(everything, taken, root)
        return cls(root, sorted(samples.values(), key=lambda sample: sample.id), problems)


def _images_of(everything: list[Path], split: str | None, *, alone: bool) -> dict[str, Path]:
    """Return the images that a table may speak of, by lower-case stem.

    Images in folders named after another split belong to another table. With a single table, all
    images that are not in such a folder are its own.
    """
    found: dict[str, Path] = {}
    for path in everything:
        of_folder = split_from_name(path.parent.name)
        undivided = of_folder is None and split in (None, "train")
        if of_folder == split or undivided or (alone and None in (of_folder, split)):
            found.setdefault(path.stem.casefold(), path)
    return found


def _unused(everything: list[Path], taken: set[Path], root: Path) -> list[Problem]:
    by_folder = Counter(
        relative_to_root(path.parent, root) for path in everything if path not in taken
    )
    return [
        Problem(folder, f"{count} images that no table speaks of are left out.")
        for folder, count in sorted(by_folder.items())
    ]


class EyePacs(GradedDataset):
    """EyePACS as on Kaggle; left and right eye of one person form a group."""

    name = "eyepacs"
    title = "EyePACS (Kaggle Diabetic Retinopathy Detection, 2015)"
    reference = "kaggle.com/c/diabetic-retinopathy-detection"
    licence = "the competition's rules"
    layout = "'trainLabels.csv' with the columns image, level"
    required_columns = frozenset({"image", "level"})
    inner_folders = r"train|test|images|sample"

    @classmethod
    def group(cls, stem: str) -> str | None:
        """Return the person, whose left and right eye must stay together."""
        person = re.fullmatch(r"(.+)_(left|right)", stem, re.IGNORECASE)
        return person[1] if person else None


class Aptos2019(GradedDataset):
    """APTOS 2019 Blindness Detection."""

    name = "aptos2019"
    title = "APTOS 2019 Blindness Detection"
    reference = "kaggle.com/c/aptos2019-blindness-detection"
    licence = "the competition's rules"
    layout = "'train.csv' with the columns id_code, diagnosis, and 'train_images'"
    required_columns = frozenset({"id_code", "diagnosis"})
    excluded_columns = frozenset({"adjudicated_dme", "adjudicated_gradable"})
    inner_folders = r"(train|test|val)(id)?[ _]images|^images$"


class Messidor2(GradedDataset):
    """Messidor-2 with the adjudicated grades; ungradable images have no grade of retinopathy."""

    name = "messidor2"
    title = "Messidor-2, adjudicated grades"
    reference = "Decencière et al. 2014, doi:10.5566/ias.1155; grades: Krause et al. 2018"
    licence = "for research, see the ADCIS website"
    layout = "'messidor_data.csv' with the columns image_id, adjudicated_dr_grade, … and 'IMAGES'"
    required_columns = frozenset({"adjudicated_gradable"})
    inner_folders = r"images"
