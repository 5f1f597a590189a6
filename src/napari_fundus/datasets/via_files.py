"""Files of the VGG Image Annotator: exports as CSV or JSON, and projects, of all its versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_fundus.datasets import via3_files
from napari_fundus.datasets.files import iter_files, read_table, table_header
from napari_fundus.datasets.json_files import parse_whole, read_annotations, read_head_and_tail
from napari_fundus.datasets.recorded_names import Recorded
from napari_fundus.datasets.via_region import ViaRegion
from napari_fundus.errors import DatasetError

_SHAPE_COLUMN = "region_shape_attributes"
_CLASS_COLUMN = "region_attributes"
_NAME_COLUMNS = ("filename", "#filename")
_PROJECT = "_via_img_metadata"
_NAMELESS = "it names no photograph, and is left out."


def via_files(folder: Path, *, depth: int) -> list[Path]:
    """Return the exports and projects down to `depth` levels below a folder."""
    return [path for path in iter_files(folder, depth=depth) if _is_table(path) or _is_json(path)]


def _is_table(path: Path) -> bool:
    if path.suffix.casefold() != ".csv":
        return False
    return _SHAPE_COLUMN in table_header(path) or via3_files.is_export(path)


def _is_json(path: Path) -> bool:
    """Tell by the words of a project, or of an export: an object of images with their regions."""
    ends = read_head_and_tail(path)
    export = b'"filename"' in ends and b'"regions"' in ends
    described = b'"file_attributes"' in ends or b'"shape_attributes"' in ends
    return f'"{_PROJECT}"'.encode() in ends or (export and described) or via3_files.is_project(ends)


def read_via(path: Path) -> Iterator[ViaRegion]:
    """Yield the regions of a file, and each image that has none.

    Raises
    ------
    DatasetError
        The file is no table, no JSON, or no such export.
    """
    if path.suffix.casefold() == ".csv":
        of_version_3 = _SHAPE_COLUMN not in table_header(path)
        return via3_files.regions_of_export(path) if of_version_3 else _of_table(path)
    content = read_annotations(path, "a file of the VGG Image Annotator")
    if isinstance(content, dict) and _PROJECT not in content and "metadata" in content:
        return via3_files.regions_of_project(path, content)
    return _of_json(path, content)


def _of_table(path: Path) -> Iterator[ViaRegion]:
    for number, row in enumerate(read_table(path), start=2):
        name = next((row[c] for c in _NAME_COLUMNS if row.get(c)), "")
        recorded = Recorded(name, _bytes(row.get("file_size"))) if name else None
        shape, attributes = row.get(_SHAPE_COLUMN, ""), row.get(_CLASS_COLUMN, "")
        trouble = "" if name else _NAMELESS
        yield ViaRegion(recorded, f"row {number}", shape, attributes, trouble)


def _of_json(path: Path, content: Any) -> Iterator[ViaRegion]:
    images = content.get(_PROJECT, content) if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise DatasetError(
            f"{path} is no file of the VGG Image Annotator: its images are not a JSON object. "
            "Save the project, or export the annotations, again."
        )
    for key, entry in images.items():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            yield ViaRegion(None, f"entry {key!r}", None, None, _NAMELESS)
            continue
        recorded = Recorded(name, _bytes(entry.get("size")))
        yield ViaRegion(recorded, "no region", None, None)
        for number, region in enumerate(_regions(entry.get("regions")), start=1):
            parts = region if isinstance(region, Mapping) else {}
            shape, attributes = parts.get("shape_attributes"), parts.get("region_attributes")
            trouble = "" if parts else "it is no JSON object."
            yield ViaRegion(recorded, f"region {number}", shape, attributes, trouble)


def _bytes(size: Any) -> int | None:
    """Return the size of a file; the annotator writes -1 for what it fetched from an address."""
    whole = parse_whole(size)
    return whole if whole is not None and whole > 0 else None


def _regions(listed: Any) -> Iterable[Any]:
    """Return the regions of an image: version 2 lists them, version 1 numbers them."""
    if isinstance(listed, Mapping):
        return listed.values()
    return listed if isinstance(listed, list) else ()
