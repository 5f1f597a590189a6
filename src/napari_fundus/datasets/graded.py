"""Data sets that grade whole images in a table: EyePACS (Kaggle), APTOS 2019, Messidor-2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    find_root,
    iter_files,
    list_images,
    read_table,
    relative_to_root,
    split_from_name,
    split_of_place,
    table_header,
)
from napari_fundus.datasets.folder import photographs_among
from napari_fundus.datasets.grades import NAME_COLUMNS, find_column, image_stem, read_grades
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
    def tables(cls, folder: Path, *, depth: int = 0) -> list[Path]:
        """Return the tables of grades down to `depth` levels below a folder."""
        return [
            path
            for path in iter_files(folder, depth=depth)
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
        # Each of Kaggle's zips may be unpacked into a folder of its own, those of the tables too.
        found = cls.tables(root) or cls.tables(root, depth=_DEPTH)
        tables = [_read_list(path) for path in found]
        if not tables:
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        # Grades come first: an image that a submission lists as well has those of an expert.
        tables.sort(key=lambda table: table.is_submission)
        files = list_images(root, depth=_DEPTH)
        photographs = photographs_among(files, root)
        images, problems = _divide(photographs, tables, root)
        if len(photographs) < len(files):
            number = len(files) - len(photographs)
            message = f"{number} masks are left out: grades are read alone. 'folder' reads masks."
            problems.append(Problem(".", message))
        named = {stem for table in tables for stem in images[table.path]}
        divided = sum(not table.is_submission for table in tables) > 1
        samples: dict[str, Sample] = {}
        for table in tables:
            own = images[table.path]
            grades: Mapping[str, Mapping[str, int]] = {}
            if table.is_submission:
                message = "A submission holds guesses or zeros: its grades are left out."
                problems.append(Problem(relative_to_root(table.path, root), message))
            elif not own:
                message = "None of the images it lists is there."
                if table.stems & named:
                    message = "Each image that it lists stands in another table; it is left out."
                problems.append(Problem(relative_to_root(table.path, root), message))
            else:
                grades, odd = read_grades(table.path, own, root, elsewhere=named - own.keys())
                problems += odd
            for stem, image in own.items():
                known = image.stem
                if table.split is not None and (divided or known in samples):
                    known = f"{table.split}/{known}"
                group = cls.group(image.stem)
                samples[known] = Sample(
                    known,
                    image,
                    split=table.split,
                    grades=grades.get(stem, {}),
                    group=None if group is None else f"{cls.name}:{group}",
                )
        return cls(root, sorted(samples.values(), key=lambda sample: sample.id), problems)


@dataclass(frozen=True)
class _List:
    """A table: its file, the split that it speaks of, and the lower-case stems that it lists."""

    path: Path
    split: str | None
    stems: frozenset[str]
    is_submission: bool


def _read_list(path: Path) -> _List:
    rows = read_table(path)
    header = list(rows[0]) if rows else []
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.stem)
    is_submission = "submission" in name.casefold()
    # Kaggle's solutions and submissions are of the testing part; "Usage" tells Public and Private.
    of_test = is_submission or "usage" in header
    column = find_column(header, NAME_COLUMNS)
    stems = frozenset(image_stem(row.get(column, "")) for row in rows) if column else frozenset()
    return _List(path, "test" if of_test else split_from_name(name), stems, is_submission)


def _divide(
    everything: Iterable[Path], tables: Sequence[_List], root: Path
) -> tuple[dict[Path, dict[str, Path]], list[Problem]]:
    """Give each image, once, to the table that speaks of it; return stem to image by table."""
    given: dict[Path, dict[str, Path]] = {table.path: {} for table in tables}
    left_out: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    unlisted: list[tuple[Path, _List]] = []
    listed: list[tuple[Path, _List]] = []
    split_of = {path: split_of_place(path, root) for path in everything}
    for path in split_of:
        table = _table_of(path, tables, split_of[path])
        if table is None:
            left_out[relative_to_root(path.parent, root)] += 1
        elif path.stem.casefold() in table.stems:
            listed.append((path, table))
        else:
            unlisted.append((path, table))
    # Of copies, that in the folder named after the split counts; then the first.
    listed.sort(key=lambda pair: split_of[pair[0]] != pair[1].split)
    named = {path.stem.casefold() for path, _ in listed}
    for path, table in [*listed, *unlisted]:
        stem = path.stem.casefold()
        if stem in given[table.path] or (stem not in table.stems and stem in named):
            copies[relative_to_root(path.parent, root)] += 1
        else:
            given[table.path][stem] = path
    messages = [
        (folder, f"{count} images that no table speaks of are left out.")
        for folder, count in left_out.items()
    ]
    messages += [
        (folder, f"{count} copies of images that lie elsewhere too are left out.")
        for folder, count in copies.items()
    ]
    return given, [Problem(folder, message) for folder, message in sorted(messages)]


def _table_of(path: Path, tables: Sequence[_List], of_folder: str | None) -> _List | None:
    """Return the table that an image belongs to.

    That is one that lists it, unless it lies in a folder named after another split; else the one of
    its folder's split, which lacks it. Where folders name no split, the training is meant.
    """
    fitting = [
        table for table in tables if None in (of_folder, table.split) or table.split == of_folder
    ]
    listing = [table for table in fitting if path.stem.casefold() in table.stems]
    if listing:
        return listing[0]
    for table in fitting:
        if len(tables) == 1 or table.split == of_folder or table.split in (None, "train"):
            return table
    return None


class EyePacs(GradedDataset):
    """EyePACS as on Kaggle; left and right eye of one person form a group."""

    name = "eyepacs"
    title = "EyePACS (Kaggle Diabetic Retinopathy Detection, 2015)"
    reference = "kaggle.com/c/diabetic-retinopathy-detection"
    licence = "the competition's rules"
    layout = "'trainLabels.csv' or 'retinopathy_solution.csv' with the columns image, level"
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
