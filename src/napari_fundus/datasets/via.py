"""Any folder of images with annotations of the VGG Image Annotator: exports or its project."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from napari_fundus.datasets.annotations import ShapesTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_root,
    list_images,
    missing_problems,
    parse_number,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.shapes import Circle, Ellipse, Polygon, Polyline, Rectangle, Shape
from napari_fundus.datasets.via_files import read_via, via_files
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import parse_lesion

_UNNAMED = "lesion"
_DEPTH = 3


@dataclass(frozen=True)
class _Region:
    image: Path
    shape: Shape
    attributes: Mapping[str, Any]
    where: str


class ViaDataset(Dataset):
    """Images annotated with the VGG Image Annotator, versions 1 and 2.

    Every class that occurs in the files counts as annotated in every image that they list, with
    or without a region; images that they do not list are not annotated.
    """

    name = "via"
    title = "VGG Image Annotator"
    reference = "Dutta and Zisserman 2019, doi:10.1145/3343031.3350535"
    layout = (
        "a CSV with the columns filename, region_shape_attributes, region_attributes, an export "
        "as JSON, or a saved project (via_project.json)"
    )

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the folder of exports or projects around or inside `folder`, or None."""
        return find_root(folder, lambda f: bool(via_files(f)), inner_folders=r"images?", above=1)

    @classmethod
    def open(cls, root: Path, *, class_attribute: str | None = None) -> ViaDataset:
        """Read the exports and projects that lie directly in `root`.

        Parameters
        ----------
        root
            Their folder; the images lie in it or below.
        class_attribute
            Name of the region attribute that holds the class, e.g. ``"Abnormality"``. Without it,
            the attribute is taken whose values are most often known lesion classes.

        Raises
        ------
        DatasetError
            There is none, one cannot be read, or no region has the attribute.
        """
        files = via_files(root)
        if not files:
            raise DatasetError(f"{root} has no VIA annotations; looked for {cls.layout}.")
        images = list_images(root, depth=_DEPTH)
        reader = _Reader(root, images)
        for file in files:
            reader.read(file)
        attribute = _class_attribute(reader.regions, class_attribute)
        truths, classes = _by_class(reader, attribute)
        unlisted = (relative_to_root(path, root) for path in images if path not in reader.listed)
        reader.problems += missing_problems(
            unlisted, "Not in the annotations: nothing is annotated in it."
        )
        samples = [
            Sample(
                path.relative_to(root).with_suffix("").as_posix(),
                path,
                split=split_from_name(path.parent.name) if path.parent != root else None,
                annotated=classes if path in reader.listed else frozenset(),
                truths=truths.get(path, {}),
            )
            for path in images
        ]
        return cls(root, samples, reader.problems)


class _Reader:
    """Collects the regions of all files, and what is odd in them."""

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self.root = root
        self.regions: list[_Region] = []
        self.listed: set[Path] = set()
        self.problems: list[Problem] = []
        self._known: set[tuple[Path, str]] = set()
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

    def read(self, file: Path) -> None:
        """Take all regions of one file; what cannot be understood of them is named.

        A region that a file read before has too is not taken again: a project often lies beside
        its own export.
        """
        where = relative_to_root(file, self.root)
        own: set[tuple[Path, str]] = set()
        lost: set[str] = set()
        for region in read_via(file):
            image = self.find(region.image)
            if image is None:
                lost.add(f"{where}: {region.image}")
                continue
            self.listed.add(image)
            try:
                shape = parse_region(_object(region.shape))
                attributes = _object(region.attributes)
            except DatasetError as error:
                message = f"{region.place.capitalize()} ({region.image}): {error}"
                self.problems.append(Problem(where, message))
                continue
            key = (image, f"{shape} {sorted(attributes.items(), key=str)}")
            own.add(key)
            if shape is not None and key not in self._known:
                self.regions.append(_Region(image, shape, attributes, f"{where}, {region.place}"))
        self._known |= own
        self.problems += missing_problems(lost, "Annotated, but no such image lies in the folder.")


def _object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, which in a table is still text; an empty one of nothing."""
    if isinstance(value, str):
        if not value.strip():
            return {}
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DatasetError(f"{value[:60]!r} is not JSON.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DatasetError(f"{str(value)[:60]!r} is not a JSON object.")
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
