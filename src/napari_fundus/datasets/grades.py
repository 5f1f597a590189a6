"""Tables of grades: which column holds what, and what is odd in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from napari_fundus.datasets.base import Problem
from napari_fundus.datasets.files import (
    missing_problems,
    parse_number,
    read_table,
    relative_to_root,
)
from napari_fundus.image import IMAGE_SUFFIXES

GRADE_RANGES: Mapping[str, int] = {"dr": 4, "dme": 2, "gradable": 1}
"""Largest value of each grade; the least is 0."""

NAME_COLUMNS = ("image name", "image_id", "id_code", "image", "image id", "name", "filename")
"""Headers of the column that names an image, in lower case."""

_GRADE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "dr": ("retinopathy grade", "adjudicated_dr_grade", "diagnosis", "level", "dr_grade", "dr"),
    "dme": ("risk of macular edema", "risk of macular oedema", "adjudicated_dme", "dme"),
    "gradable": ("adjudicated_gradable", "gradable"),
}


def find_column(header: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of `names` that stands in the header."""
    present = set(header)
    return next((name for name in names if name in present), None)


def image_stem(name: str) -> str:
    """Return the lower-case stem of an image's name in a table; folder and suffix may be there."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.casefold() in IMAGE_SUFFIXES else path.name
    return stem.casefold()


def read_grades(
    table: Path, images: Mapping[str, Path], root: Path, *, elsewhere: Collection[str] = ()
) -> tuple[dict[str, dict[str, int]], list[Problem]]:
    """Read the grades of `images` from a CSV.

    Parameters
    ----------
    table
        The CSV; names of columns as in IDRiD, EyePACS, APTOS 2019 or Messidor-2.
    images
        Lower-case stem to file.
    root
        The data set's folder, to name files by.
    elsewhere
        Stems of images that another table has been used for.

    Returns
    -------
    grades
        Stem to ``"dr"``, ``"dme"``, ``"gradable"``; a grade that is blank is left out.
    problems
        Rows without an image, images without a row, doubled rows, values out of range.
    """
    where = relative_to_root(table, root)
    rows = read_table(table)
    header = list(rows[0]) if rows else []
    name_column = find_column(header, NAME_COLUMNS)
    if name_column is None:
        return {}, [Problem(where, f"No column names the images; columns: {', '.join(header)}.")]
    columns = {
        grade: column
        for grade, names in _GRADE_COLUMNS.items()
        if (column := find_column(header, names)) is not None
    }
    grades: dict[str, dict[str, int]] = {}
    problems: list[Problem] = []
    without_image: list[str] = []
    used_elsewhere: list[str] = []
    for row in rows:
        name = row.get(name_column, "")
        stem = image_stem(name)
        if not stem:
            continue
        values, odd = _parse(row, columns)
        problems += [Problem(where, f"{name}: {message}") for message in odd]
        if stem in elsewhere:
            used_elsewhere.append(f"{where}: {name}")
        elif stem not in images:
            without_image.append(f"{where}: {name}")
        elif stem not in grades:
            grades[stem] = values
        else:
            same = "the same" if grades[stem] == values else "another"
            problems.append(
                Problem(where, f"{name} stands twice, with {same} grade; the first row is used.")
            )
    problems += missing_problems(without_image, "A row without an image.")
    problems += missing_problems(
        used_elsewhere, "The image stands in another table, which is used."
    )
    no_row = [relative_to_root(path, root) for stem, path in images.items() if stem not in grades]
    problems += missing_problems(
        no_row, f"An image without a row in {table.name}: it has no grade."
    )
    return grades, problems


def _parse(row: Mapping[str, str], columns: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    values: dict[str, int] = {}
    odd: list[str] = []
    for grade, column in columns.items():
        text = row.get(column, "")
        if not text:
            continue
        number = parse_number(text)
        if number is None or number != int(number) or not 0 <= number <= GRADE_RANGES[grade]:
            odd.append(f"{column} is {text!r}, not 0 to {GRADE_RANGES[grade]}; it is left out.")
        else:
            values[grade] = int(number)
    return values, odd
