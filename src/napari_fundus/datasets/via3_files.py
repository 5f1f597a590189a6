"""Files of the VGG Image Annotator 3: projects as JSON, and their exports as CSV."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_fundus.datasets.files import parse_number, read_rows, read_text
from napari_fundus.datasets.json_files import parse_whole
from napari_fundus.datasets.recorded_names import Recorded
from napari_fundus.datasets.via_region import ViaRegion
from napari_fundus.errors import DatasetError
from napari_fundus.runtime.files import check_is_file

_WORDS = (b'"project"', b'"fid_list"', b'"vid_list"', b'"anchor_id"', b'"metadata"')
_COLUMNS = (
    "metadata_id",
    "file_list",
    "flags",
    "temporal_coordinates",
    "spatial_coordinates",
    "metadata",
)
_HEADER = re.compile(r"#\s*CSV_HEADER\s*=(?P<columns>.*)")
_ATTRIBUTES = re.compile(r"#\s*ATTRIBUTES?\s*=\s*(?P<content>\{.*\})")
_START = 1 << 16

_POINT, _RECTANGLE, _CIRCLE, _ELLIPSE, _LINE, _POLYLINE, _POLYGON, _FOUR_POINTS, _THREE_POINTS = (
    range(1, 10)
)
_NUMBERS: Mapping[int, tuple[str, tuple[str, ...]]] = {
    _POINT: ("point", ("cx", "cy")),
    _RECTANGLE: ("rect", ("x", "y", "width", "height")),
    _CIRCLE: ("circle", ("cx", "cy", "r")),
    _ELLIPSE: ("ellipse", ("cx", "cy", "rx", "ry")),
}
_VERTICES = {_LINE: "polyline", _POLYLINE: "polyline", _POLYGON: "polygon"}

_TYPED, _CHECK_BOXES = 1, 2
_BY_ADDRESS = (2, 3)
_DELETED = 1


def is_project(ends: bytes) -> bool:
    """Tell a project by the first and last bytes of a JSON."""
    return sum(word in ends for word in _WORDS) >= 3


def is_export(path: Path) -> bool:
    """Tell a CSV by the comment that names its columns, which have no header line."""
    check_is_file(path)
    with path.open("rb") as file:
        start = file.read(_START).decode("utf-8", errors="ignore")
    found = _HEADER.search(start)
    return found is not None and found["columns"].strip().startswith(",".join(_COLUMNS))


def regions_of_project(path: Path, project: Any) -> Iterator[ViaRegion]:
    """Yield the regions of a project, and each file of it once without one.

    Raises
    ------
    DatasetError
        It lacks the lists of files, views and regions.
    """
    names = ("file", "view", "metadata")
    content = project if isinstance(project, dict) else {}
    if lacking := [name for name in names if not isinstance(content.get(name), dict)]:
        raise DatasetError(
            f"{path} is no project of the VGG Image Annotator 3: it lacks {', '.join(lacking)}. "
            "Save the project again."
        )
    files = {str(key): _recorded(file) for key, file in content["file"].items()}
    views = {
        str(key): [files.get(str(fid)) for fid in _listed(view, "fid_list")]
        for key, view in content["view"].items()
    }
    for recorded in files.values():
        yield ViaRegion(recorded, "no region", None, None)
    attributes = content.get("attribute")
    for number, (key, region) in enumerate(content["metadata"].items(), start=1):
        place = f"region {number} ({key})"
        parts = region if isinstance(region, dict) else {}
        shown = views.get(str(parts.get("vid")), [])
        yield _region(place, shown, parts.get("flg"), parts.get("xy"), parts.get("av"), attributes)


def regions_of_export(path: Path) -> Iterator[ViaRegion]:
    """Yield the regions of an export as CSV."""
    lines = read_text(path).splitlines(keepends=True)
    comments = [line for line in lines if line.lstrip().startswith("#")]
    found = next((m for line in comments if (m := _ATTRIBUTES.search(line))), None)
    attributes = _json(found["content"]) if found else None
    rows = "".join(line for line in lines if not line.lstrip().startswith("#"))
    for number, cells in enumerate(read_rows(rows), start=1):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(_COLUMNS, cells, strict=False))
        names = _json(row.get("file_list"))
        listed = names if isinstance(names, list) else []
        shown = [Recorded(name) if isinstance(name, str) else None for name in listed]
        xy, av = _json(row.get("spatial_coordinates")), _json(row.get("metadata"))
        yield _region(f"row {number}", shown, row.get("flags"), xy, av, attributes)


def _region(
    place: str, shown: Sequence[Recorded | None], flag: Any, xy: Any, av: Any, attributes: Any
) -> ViaRegion:
    """Return a region of a view; what is wrong with it stands in place of its shape."""
    if len(shown) != 1 or shown[0] is None:
        message = f"its view shows {len(shown)} files, so that its photograph is not known."
        return ViaRegion(None, place, None, None, message)
    if (parse_whole(flag) or 0) & _DELETED:
        return ViaRegion(shown[0], place, None, None, "it is marked as deleted.")
    if xy not in (None, []) and not isinstance(xy, list):
        return ViaRegion(shown[0], place, None, None, "its coordinates are no list.")
    return ViaRegion(shown[0], place, _shape(xy or []), _values(av, attributes))


def _recorded(file: Any) -> Recorded:
    """Return a file as the project records it: where it was fetched from, else its bare name."""
    parts = file if isinstance(file, dict) else {}
    name, source = (str(parts.get(key) or "") for key in ("fname", "src"))
    if parse_whole(parts.get("loc")) in _BY_ADDRESS and source:
        return Recorded(source, also=name)
    return Recorded(name or source or "(no name)")


def _listed(view: Any, key: str) -> list[Any]:
    listed = view.get(key) if isinstance(view, dict) else None
    return listed if isinstance(listed, list) else []


def _shape(xy: list[Any]) -> dict[str, Any]:
    """Return the shape as versions 1 and 2 describe it; of nothing, nothing."""
    if not xy:
        return {}
    kind, numbers = parse_whole(xy[0]), xy[1:]
    if kind is not None and kind in _NUMBERS:
        name, keys = _NUMBERS[kind]
        return {"name": name, **dict(zip(keys, numbers, strict=False))}
    if kind is not None and kind in _VERTICES:
        return {
            "name": _VERTICES[kind],
            "all_points_x": numbers[::2],
            "all_points_y": numbers[1::2],
        }
    known = [n for value in numbers if (n := parse_number(str(value))) is not None]
    points = list(zip(known[::2], known[1::2], strict=False))
    if kind == _FOUR_POINTS and points:
        left, top = (min(point[axis] for point in points) for axis in (0, 1))
        right, bottom = (max(point[axis] for point in points) for axis in (0, 1))
        return {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top}
    if kind == _THREE_POINTS and (circle := _circle_through(points)) is not None:
        return {"name": "circle", **dict(zip(("cx", "cy", "r"), circle, strict=True))}
    return {"name": f"number {xy[0]!r} of version 3"}


def _circle_through(points: Sequence[tuple[float, float]]) -> tuple[float, float, float] | None:
    """Return centre and radius of the circle through three points, or None on a line."""
    if len(points) != 3:
        return None
    (x0, y0), (x1, y1), (x2, y2) = points
    ax, ay, bx, by = x1 - x0, y1 - y0, x2 - x0, y2 - y0
    twice = 2 * (ax * by - ay * bx)
    if twice == 0:
        return None
    a, b = ax * ax + ay * ay, bx * bx + by * by
    dx, dy = (by * a - ay * b) / twice, (ax * b - bx * a) / twice
    return x0 + dx, y0 + dy, math.hypot(dx, dy)


def _values(av: Any, attributes: Any) -> dict[str, Any]:
    """Return attributes by name; a choice is stored by the number of its option."""
    known = attributes if isinstance(attributes, dict) else {}
    values: dict[str, Any] = {}
    for key, value in av.items() if isinstance(av, dict) else ():
        attribute = known.get(str(key))
        if isinstance(attribute, str):
            attribute = {"aname": attribute}
        attribute = attribute if isinstance(attribute, dict) else {}
        name = str(attribute.get("aname") or key)
        options = attribute.get("options")
        options = options if isinstance(options, dict) else {}
        kind = parse_whole(attribute.get("type"))
        if kind == _CHECK_BOXES:
            ticked = str(value).split(",")
            values[name] = {str(options.get(o.strip(), o.strip())): True for o in ticked if o}
        elif kind == _TYPED:
            values[name] = value
        else:
            values[name] = options.get(str(value), value)
    return values


def _json(text: str | None) -> Any:
    """Return what a cell holds, or its text where it is no JSON."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return text
