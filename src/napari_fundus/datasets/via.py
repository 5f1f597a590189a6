"""Any folder of images with annotations exported from the VGG Image Annotator as CSV."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_root,
    list_images,
    missing,
    parse_number,
    read_table,
    relative,
    split_of,
    table_header,
    walk,
)
from napari_fundus.datasets.shapes import Circle, Ellipse, Polygon, Polyline, Rectangle, Shape
from napari_fundus.datasets.truths import ShapesTruth
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import parse_lesion

__all__ = ["ViaDataset", "parse_region"]

_SHAPE_COLUMN = "region_shape_attributes"
_CLASS_COLUMN = "region_attributes"
_NAME_COLUMNS = ("filename", "#filename")
_UNNAMED = "lesion"
_DEPTH = 3


@dataclass(frozen=True)
class _Region:
    image: Path
    shape: Shape
    attributes: Mapping[str, Any]
    where: str


def _tables(folder: Path) -> list[Path]:
    return [
        path
        for path in walk(folder, depth=0)
        if path.suffix.casefold() == ".csv" and _SHAPE_COLUMN in table_header(path)
    ]


class ViaDataset(Dataset):
    """Images annotated with the VGG Image Annotator.

    Every class that occurs in the tables counts as annotated in every image that they list, with
    or without a region; images that they do not list are not annotated.
    """

    name = "via"
    title = "VGG Image Annotator export"
    reference = "Dutta and Zisserman 2019, doi:10.1145/3343031.3350535"
    layout = "a CSV with the columns filename, region_shape_attributes, region_attributes"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the folder of exported tables around or inside `folder`, or None."""
        return find_root(folder, lambda f: bool(_tables(f)), layout=r"images?", above=1)

    @classmethod
    def open(cls, root: Path, *, class_attribute: str | None = None) -> ViaDataset:
        """Read the exported tables directly in `root`.

        Parameters
        ----------
        root
            The folder of the tables; the images lie in it or below.
        class_attribute
            Name of the region attribute that holds the class, e.g. ``"Abnormality"``. Without it,
            the attribute is taken whose values are most often known lesion classes.

        Raises
        ------
        DatasetError
            There is no table, or no region has the attribute.
        """
        tables = _tables(root)
        if not tables:
            raise DatasetError(f"{root} has no VIA export; looked for {cls.layout}.")
        images = list_images(root, depth=_DEPTH)
        reader = _Reader(root, images)
        for table in tables:
            reader.read(table)
        attribute = _class_attribute(reader.regions, class_attribute)
        truths, classes = _by_class(reader, attribute)
        unlisted = (relative(path, root) for path in images if path not in reader.listed)
        reader.problems += missing(unlisted, "Not in the table: nothing is annotated in it.")
        samples = [
            Sample(
                path.relative_to(root).with_suffix("").as_posix(),
                path,
                split=split_of(path.parent.name) if path.parent != root else None,
                annotated=classes if path in reader.listed else frozenset(),
                truths=truths.get(path, {}),
            )
            for path in images
        ]
        return cls(root, samples, reader.problems)


class _Reader:
    """Collects the regions of all tables, and what is odd in them."""

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self.root = root
        self.regions: list[_Region] = []
        self.listed: set[Path] = set()
        self.problems: list[Problem] = []
        self._by_place: dict[str, Path] = {}
        self._by_name: dict[str, Path] = {}
        for path in images:
            self._by_place[path.relative_to(root).as_posix().casefold()] = path
            self._by_name.setdefault(path.name.casefold(), path)

    def find(self, name: str) -> Path | None:
        """Return the image of a name, only ever one that was found below the root."""
        place = PurePosixPath(name.replace("\\", "/"))
        known = self._by_place.get(place.as_posix().casefold())
        if known is not None:
            return known
        return self._by_name.get(name.casefold()) if place.name == name else None

    def read(self, table: Path) -> None:
        where = relative(table, self.root)
        rows = read_table(table)
        lost: set[str] = set()
        for number, row in enumerate(rows, start=2):
            name = next((row[c] for c in _NAME_COLUMNS if row.get(c)), "")
            if not name:
                continue
            image = self.find(name)
            if image is None:
                lost.add(f"{where}: {name}")
                continue
            self.listed.add(image)
            try:
                shape = parse_region(_json(row.get(_SHAPE_COLUMN, "")))
                attributes = _json(row.get(_CLASS_COLUMN, ""))
            except DatasetError as error:
                self.problems.append(Problem(where, f"Row {number} ({name}): {error}"))
                continue
            if shape is not None:
                self.regions.append(_Region(image, shape, attributes, f"{where}, row {number}"))
        self.problems += missing(lost, "Annotated, but no such image lies in the folder.")


def _json(cell: str) -> Mapping[str, Any]:
    if not cell.strip():
        return {}
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        raise DatasetError(f"{cell[:60]!r} is not JSON.") from None
    if not isinstance(value, dict):
        raise DatasetError(f"{cell[:60]!r} is not a JSON object.")
    return value


def parse_region(attributes: Mapping[str, Any]) -> Shape | None:
    """Return the shape that VIA's ``region_shape_attributes`` describe, or None if there is none.

    Raises
    ------
    DatasetError
        The kind of shape is unknown, or its numbers are missing.

    Examples
    --------
    >>> parse_region({"name": "rect", "x": 3, "y": 4, "width": 5, "height": 6})
    Rectangle(x=3.0, y=4.0, width=5.0, height=6.0)
    """
    if not attributes:
        return None
    kind = str(attributes.get("name", ""))

    def number(key: str, default: float | None = None) -> float:
        value = parse_number(str(attributes.get(key, "")))
        if value is None and default is None:
            raise DatasetError(f"a {kind} without the number {key!r}.")
        return value if value is not None else float(default or 0)

    if kind in ("rect", "rectangle"):
        return Rectangle(number("x"), number("y"), number("width"), number("height"))
    if kind == "circle":
        return Circle(number("cx"), number("cy"), number("r"))
    if kind == "ellipse":
        # VIA turns by `theta` radians on a canvas whose rows grow downwards: clockwise.
        turned = -math.degrees(number("theta", 0.0))
        return Ellipse(number("cx"), number("cy"), number("rx"), number("ry"), turned)
    if kind == "point":
        return Circle(number("cx"), number("cy"), 0.0)
    if kind in ("polygon", "polyline"):
        points = _vertices(attributes, kind)
        return Polygon(points) if kind == "polygon" else Polyline(points)
    raise DatasetError(f"shapes of the kind {kind!r} are not known.")


def _vertices(attributes: Mapping[str, Any], kind: str) -> tuple[tuple[float, float], ...]:
    columns = [attributes.get(f"all_points_{axis}") for axis in "xy"]
    if not all(isinstance(column, list) for column in columns):
        raise DatasetError(f"a {kind} without all_points_x and all_points_y.")
    xs, ys = ([parse_number(str(value)) for value in column or ()] for column in columns)
    known = [(x, y) for x, y in zip(xs, ys, strict=False) if x is not None and y is not None]
    if not known or len(known) != len(xs) or len(xs) != len(ys):
        raise DatasetError(f"a {kind} whose points are not pairs of numbers.")
    return tuple(known)


def _values(attributes: Mapping[str, Any], attribute: str) -> list[str]:
    """Return the classes of a region: one of text, radio or list, several of check boxes."""
    value = attributes.get(attribute)
    if isinstance(value, dict):
        return [str(name).strip() for name, ticked in value.items() if ticked]
    return [str(value).strip()] if value not in (None, "") else []


def _class_attribute(regions: list[_Region], wanted: str | None) -> str | None:
    """Return the attribute of the class: the one named, else that which most often is a lesion."""
    counts = Counter(key for region in regions for key in region.attributes)
    if wanted is not None:
        name = next((key for key in counts if key.casefold() == wanted.casefold()), None)
        if name is None and regions:
            raise DatasetError(
                f"No region has the attribute {wanted!r}; there are: "
                f"{', '.join(sorted(counts)) or 'none'}."
            )
        return name
    known = Counter(
        key
        for region in regions
        for key in region.attributes
        if any(parse_lesion(value) for value in _values(region.attributes, key))
    )
    best = (known or counts).most_common(1)
    return best[0][0] if best else None


def _by_class(
    reader: _Reader, attribute: str | None
) -> tuple[dict[Path, dict[str, Truth]], frozenset[str]]:
    shapes: dict[Path, dict[str, list[Shape]]] = {}
    for region in reader.regions:
        names = _values(region.attributes, attribute) if attribute is not None else [_UNNAMED]
        if not names:
            message = f"A region without {attribute!r} has no class; it is left out."
            reader.problems.append(Problem(region.where, message))
        for name in names:
            code = parse_lesion(name) or name
            shapes.setdefault(region.image, {}).setdefault(code, []).append(region.shape)
    truths: dict[Path, dict[str, Truth]] = {
        image: {code: ShapesTruth(tuple(drawn)) for code, drawn in of_class.items()}
        for image, of_class in shapes.items()
    }
    return truths, frozenset(code for of_class in shapes.values() for code in of_class)
