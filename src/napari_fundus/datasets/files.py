"""Finding the files of a data set whatever their case, and reading its tables."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from napari_fundus.datasets.base import Problem
from napari_fundus.errors import DatasetError
from napari_fundus.image import IMAGE_SUFFIXES
from napari_fundus.runtime.files import check_is_file, read_bytes

_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_MAX_NAMED = 20
_SPLITS = (("train", "train"), ("valid", "valid"), ("val", "valid"), ("test", "test"))


def _is_junk(name: str) -> bool:
    """Tell what operating systems leave behind: hidden files, ``._*``, ``Thumbs.db``, …."""
    return name.startswith(".") or name.casefold() in _JUNK


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [e for e in found if not _is_junk(e.name) and _can_be_looked_at(e)]
            return sorted(entries, key=lambda e: e.name)
    except OSError:
        return []


def _can_be_looked_at(entry: os.DirEntry[str]) -> bool:
    """Tell what a link to itself is not."""
    try:
        entry.is_file()
    except OSError:
        return False
    return True


def _is_link_cycle(entry: os.DirEntry[str]) -> bool:
    """Tell a symbolic link to a folder that it lies in: following it would find all twice."""
    path = Path(entry.path)
    return entry.is_symlink() and path.resolve() in path.absolute().parents


def list_subfolders(folder: Path) -> list[Path]:
    """Return the sub-folders, sorted by name, without hidden ones."""
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir()]


def find_path(folder: Path, *names: str) -> Path | None:
    """Return the descendant ``folder/names[0]/names[1]/…`` without regard to case, or None."""
    for name in names:
        wanted = name.casefold()
        found = next((e for e in _entries(folder) if e.name.casefold() == wanted), None)
        if found is None:
            return None
        folder = Path(found.path)
    return folder


def find_subfolder(folder: Path, pattern: str) -> Path | None:
    """Return the first sub-folder in whose name the regular expression is found, in any case."""
    return next(
        (f for f in list_subfolders(folder) if re.search(pattern, f.name, re.IGNORECASE)), None
    )


def iter_files(folder: Path, *, depth: int = 4) -> Iterator[Path]:
    """Yield all files down to `depth` levels below `folder`, sorted, without junk."""
    for entry in _entries(folder):
        if entry.is_file():
            yield Path(entry.path)
        elif depth > 0 and entry.is_dir() and not _is_link_cycle(entry):
            yield from iter_files(Path(entry.path), depth=depth - 1)


def list_images(folder: Path, *, depth: int = 0) -> list[Path]:
    """Return the files below `folder` whose suffix is that of an image."""
    return [f for f in iter_files(folder, depth=depth) if f.suffix.casefold() in IMAGE_SUFFIXES]


def unique_ids(images: Iterable[Path], root: Path) -> list[tuple[str, Path]]:
    """Return a unique name for each image: its place without suffix, or with it where needed."""
    places = [(path.relative_to(root), path) for path in images]
    count: defaultdict[str, int] = defaultdict(int)
    for place, _ in places:
        count[place.with_suffix("").as_posix()] += 1
    return sorted(
        (bare if count[bare := place.with_suffix("").as_posix()] == 1 else place.as_posix(), path)
        for place, path in places
    )


def images_by_stem(folder: Path | None, *, depth: int = 0) -> dict[str, Path]:
    """Return the images below `folder` by lower-case stem; of equal stems, the first by path."""
    found: dict[str, Path] = {}
    for path in list_images(folder, depth=depth) if folder is not None else ():
        found.setdefault(path.stem.casefold(), path)
    return found


def find_root(
    folder: Path,
    is_root: Callable[[Path], bool],
    *,
    inner_folders: str,
    above: int = 4,
    below: int = 2,
) -> Path | None:
    """Return the nearest root of a data set: the folder itself, one around it, or one inside it.

    Parameters
    ----------
    folder
        What the user pointed at.
    is_root
        Tells a root by the names in it.
    inner_folders
        Regular expression of the names of folders inside a root. A folder around `folder` counts
        only if every step down from it matches, so that an unrelated folder that happens to lie
        in a data set is not taken for a part of it.
    above, below
        How many levels are searched.
    """
    if is_root(folder):
        return folder
    around = folder
    for _ in range(above):
        if not re.search(inner_folders, around.name, re.IGNORECASE) or around.parent == around:
            break
        around = around.parent
        if is_root(around):
            return around
    inside = find_folders(folder, is_root, depth=below)
    return inside[0] if inside else None


def find_folders(folder: Path, is_part: Callable[[Path], bool], *, depth: int = 2) -> list[Path]:
    """Return the folders that fulfil a condition, down to `depth` levels, none inside another."""
    if is_part(folder):
        return [folder]
    if depth == 0:
        return []
    return [
        part
        for sub in list_subfolders(folder)
        for part in find_folders(sub, is_part, depth=depth - 1)
    ]


def split_from_name(name: str) -> str | None:
    """Return the split that a folder or file name speaks of.

    Examples
    --------
    >>> [split_from_name(name) for name in ("a. Training Set", "b. Testing Set", "images")]
    ['train', 'test', None]
    """
    words = re.findall(r"[a-z]+", name.casefold())
    return next((s for stem, s in _SPLITS if any(word.startswith(stem) for word in words)), None)


def split_of_place(path: Path, root: Path) -> str | None:
    """Return the split that the folders from `path` up to `root` speak of, the nearest first."""
    folders = reversed(path.relative_to(root).parts[:-1])
    return next((split for name in folders if (split := split_from_name(name)) is not None), None)


def relative_to_root(path: Path, root: Path) -> str:
    """Return `path` as text, relative to `root` where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def missing_problems(names: Iterable[str], message: str) -> list[Problem]:
    """Return a problem for each name, or a single one where there are too many to read."""
    listed = sorted(names)
    if len(listed) <= _MAX_NAMED:
        return [Problem(name, message) for name in listed]
    shown = ", ".join(listed[:_MAX_NAMED])
    return [Problem(f"{len(listed)} files", f"{message} First: {shown}, …")]


def parse_number(text: str | None) -> float | None:
    """Return the finite number that `text` holds, or None."""
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def read_text(path: Path) -> str:
    """Read a text in UTF-8 or UTF-16, with or without a byte-order mark, or in Windows' 1252."""
    return _decode(read_bytes(path))


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_rows(text: str) -> Iterator[list[str]]:
    """Return the cells of each line of a table of commas, semicolons or tabs."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    # Exports with a polygon a cell exceed the module's default limit of 128 KiB a field.
    csv.field_size_limit(1 << 27)
    return csv.reader(text.splitlines(keepends=True), delimiter=delimiter)


def _clean_header(cells: Iterable[str]) -> list[str]:
    return [" ".join(cell.split()).casefold() for cell in cells]


def table_header(path: Path) -> list[str]:
    """Return the column names of a CSV as :func:`read_table` gives them; reads only its start."""
    check_is_file(path)
    with path.open("rb") as file:
        text = _decode(file.read(8192))
    return _clean_header(next(read_rows(text), []))


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV of commas, semicolons or tabs, with or without a byte-order mark.

    Column names come in lower case with single blanks; unnamed columns and empty rows, which
    spreadsheets leave behind, are dropped; cells come without surrounding blanks.

    Raises
    ------
    DatasetError
        The file is not a table.
    """
    rows: list[dict[str, str]] = []
    header: list[str] = []
    try:
        for cells in read_rows(read_text(path)):
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _clean_header(cells)
                continue
            rows.append({k: v.strip() for k, v in zip(header, cells, strict=False) if k})
    except csv.Error as error:
        raise DatasetError(f"{path} is not a table of comma-separated values: {error}.") from error
    return rows
