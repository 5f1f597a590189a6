"""Files of the VGG Image Annotator 1 and 2: exports as CSV or JSON, and projects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_fundus.datasets.files import iter_files, read_table, table_header
from napari_fundus.datasets.json_files import read_annotations, read_head_and_tail
from napari_fundus.errors import DatasetError

_SHAPE_COLUMN = "region_shape_attributes"
_CLASS_COLUMN = "region_attributes"
_NAME_COLUMNS = ("filename", "#filename")
_PROJECT = "_via_img_metadata"


@dataclass(frozen=True)
class ViaRegion:
    """One region as it stands in a file, or an image without any.

    Attributes
    ----------
    image
        Name of the image's file, as the annotator wrote it.
    place
        Where in the file it stands, for messages: ``"row 3"``.
    shape, attributes
        What describes its outline and its class: JSON objects, in a CSV still as text; empty for
        an image without regions.
    """

    image: str
    place: str
    shape: Any
    attributes: Any


def via_files(folder: Path) -> list[Path]:
    """Return the exports and projects that lie directly in a folder."""
    return [path for path in iter_files(folder, depth=0) if _is_table(path) or _is_json(path)]


def _is_table(path: Path) -> bool:
    return path.suffix.casefold() == ".csv" and _SHAPE_COLUMN in table_header(path)


def _is_json(path: Path) -> bool:
    """Tell by the words of a project, or of an export: an object of images with their regions."""
    ends = read_head_and_tail(path)
    export = (b'"filename"', b'"regions"', b'"file_attributes"')
    return f'"{_PROJECT}"'.encode() in ends or all(word in ends for word in export)


def read_via(path: Path) -> Iterator[ViaRegion]:
    """Yield the regions of a file, and each image that has none.

    Raises
    ------
    DatasetError
        The file is no table, no JSON, or no such export.
    """
    return _of_table(path) if path.suffix.casefold() == ".csv" else _of_json(path)


def _of_table(path: Path) -> Iterator[ViaRegion]:
    for number, row in enumerate(read_table(path), start=2):
        if name := next((row[c] for c in _NAME_COLUMNS if row.get(c)), ""):
            shape, attributes = row.get(_SHAPE_COLUMN, ""), row.get(_CLASS_COLUMN, "")
            yield ViaRegion(name, f"row {number}", shape, attributes)


def _of_json(path: Path) -> Iterator[ViaRegion]:
    content = read_annotations(path, "a file of the VGG Image Annotator")
    images = content.get(_PROJECT, content) if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise DatasetError(
            f"{path} is no file of the VGG Image Annotator: its images are not a JSON object. "
            "Save the project, or export the annotations, again."
        )
    for entry in images.values():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            continue
        empty = True
        for number, region in enumerate(_regions(entry.get("regions")), start=1):
            empty = False
            parts = region if isinstance(region, Mapping) else {}
            shape, attributes = parts.get("shape_attributes"), parts.get("region_attributes")
            yield ViaRegion(name, f"region {number}", shape, attributes)
        if empty:
            yield ViaRegion(name, "no region", None, None)


def _regions(listed: Any) -> Iterable[Any]:
    """Return the regions of an image: version 2 lists them, version 1 numbers them."""
    if isinstance(listed, Mapping):
        return listed.values()
    return listed if isinstance(listed, list) else ()
