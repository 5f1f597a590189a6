"""A region that the VGG Image Annotator drew, as its files hold it, and the shape that it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_fundus.datasets.files import parse_number
from napari_fundus.datasets.recorded_names import Recorded
from napari_fundus.datasets.shapes import Circle, Ellipse, Polygon, Polyline, Rectangle, Shape
from napari_fundus.errors import DatasetError


@dataclass(frozen=True)
class ViaRegion:
    """One region as it stands in a file, or an image without any.

    Attributes
    ----------
    image
        The photograph as the file records it, or None where it names none.
    place
        Where in the file it stands, for messages: ``"row 3"``.
    shape, attributes
        What describes its outline and its class: JSON objects, in a CSV still as text; empty for
        an image without regions.
    trouble
        Why it cannot be used, as the end of a sentence; ``""`` if it can.
    """

    image: Recorded | None
    place: str
    shape: Any
    attributes: Any
    trouble: str = ""

    def read(self) -> tuple[Shape | None, Mapping[str, Any]]:
        """Return its shape, None if there is none, and its attributes.

        Raises
        ------
        DatasetError
            It cannot be understood.
        """
        if self.trouble:
            raise DatasetError(self.trouble)
        return parse_region(_object(self.shape)), _object(self.attributes)

    def read_attributes(self) -> Mapping[str, Any]:
        """Return its attributes alone; none, where they cannot be understood."""
        try:
            return _object(self.attributes)
        except DatasetError:
            return {}


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
        x, y, width, height = (number(key) for key in ("x", "y", "width", "height"))
        return Rectangle(x + min(width, 0), y + min(height, 0), abs(width), abs(height))
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


def _array(value: Any) -> Any:
    """Return a list that is written as text as a list."""
    if not isinstance(value, str):
        return value
    return [cell for cell in value.strip("[] ").split(",") if cell.strip()]


def _vertices(attributes: Mapping[str, Any], kind: str) -> tuple[tuple[float, float], ...]:
    columns = [_array(attributes.get(f"all_points_{axis}")) for axis in "xy"]
    if not all(isinstance(column, list) for column in columns):
        raise DatasetError(f"a {kind} without all_points_x and all_points_y.")
    xs, ys = ([parse_number(str(value)) for value in column or ()] for column in columns)
    known = [(x, y) for x, y in zip(xs, ys, strict=False) if x is not None and y is not None]
    if not known or len(known) != len(xs) or len(xs) != len(ys):
        raise DatasetError(f"a {kind} whose points are not pairs of numbers.")
    return tuple(known)
