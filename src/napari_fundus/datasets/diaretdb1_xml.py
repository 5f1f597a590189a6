"""The XML of DIARETDB1 v2.1: one expert's drawing of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from napari_fundus.datasets.annotations import CONFIDENCE_WEIGHTS, Confidence, Marking
from napari_fundus.datasets.files import parse_number
from napari_fundus.datasets.shapes import Circle, Ellipse, Polygon, Shape
from napari_fundus.datasets.xml_files import read_xml
from napari_fundus.lesions import parse_lesion


@dataclass
class Drawing:
    """What one expert drew in one image.

    Attributes
    ----------
    markings
        The data set's own name of the type (``"Hard_exudates"``) to what was drawn of it.
    problems
        What could not be understood, for people.
    """

    markings: dict[str, list[Marking]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def markings_of(self, code: str) -> tuple[Marking, ...]:
        """Return all markings whose type stands for a class."""
        return tuple(
            marking
            for name, markings in self.markings.items()
            if parse_lesion(name) == code
            for marking in markings
        )


def read_drawing(path: Path) -> Drawing:
    """Read a file; markings that cannot be understood are left out and named in `odd`.

    Raises
    ------
    DatasetError
        The file is not XML, or declares entities.
    """
    drawing = Drawing()
    for number, node in enumerate(read_xml(path).iter("marking"), start=1):
        kind = (node.findtext(".//markingtype") or "").strip()
        shape = _shape(node)
        if shape is None:
            drawing.problems.append(
                f"Marking {number} ({kind or 'no type'}) has no readable region."
            )
            continue
        marking = Marking(shape, _confidence(node, drawing, number), _point(node))
        drawing.markings.setdefault(kind, []).append(marking)
    return drawing


def _confidence(node: ET.Element, drawing: Drawing, number: int) -> Confidence:
    text = (node.findtext(".//confidencelevel") or "").strip().capitalize()
    if text == "High":
        return "High"
    if text == "Medium":
        return "Medium"
    if text != "Low":
        known = ", ".join(CONFIDENCE_WEIGHTS)
        drawing.problems.append(
            f"Marking {number} has confidence {text!r}, not one of {known}; Low is taken."
        )
    return "Low"


def _coordinates(node: ET.Element) -> tuple[float, float] | None:
    parts = (node.text or "").replace(",", " ").split()
    if len(parts) != 2:
        return None
    x, y = parse_number(parts[0]), parse_number(parts[1])
    return None if x is None or y is None else (x, y)


def _point(node: ET.Element) -> tuple[float, float] | None:
    found = node.find(".//representativepoint//coords2d")
    return None if found is None else _coordinates(found)


def _shape(node: ET.Element) -> Shape | None:
    circle, ellipse, polygon = (
        node.find(f".//{name}") for name in ("circleregion", "ellipseregion", "polygonregion")
    )
    if polygon is not None:
        # A centroid, where a writer adds one, is no corner.
        middle = set(polygon.findall(".//centroid//coords2d"))
        corners = [item for item in polygon.iter("coords2d") if item not in middle]
        points = [_coordinates(item) for item in corners]
        known = tuple(point for point in points if point is not None)
        return Polygon(known) if known and len(known) == len(points) else None
    region = ellipse if ellipse is not None else circle
    if region is None:
        return None
    centre_node = region.find(".//centroid//coords2d")
    centre = None if centre_node is None else _coordinates(centre_node)
    radii = _radii(region)
    if centre is None or radii is None:
        return None
    if radii[0] == radii[1]:
        return Circle(*centre, radii[0])
    return Ellipse(*centre, *radii, angle=parse_number(region.findtext(".//angle")) or 0.0)


def _radii(region: ET.Element) -> tuple[float, float] | None:
    """Return the radii along x and y; they may be one or two, with a direction or without."""
    named: dict[str, float] = {}
    for node in region.iter("radius"):
        value = parse_number(node.text)
        if value is None or value < 0:
            return None
        direction = (node.get("direction") or "").strip().casefold()
        named[direction or ("y" if "x" in named else "x")] = value
    x, y = named.get("x"), named.get("y")
    if x is None or y is None:
        only = x if x is not None else y
        return None if only is None else (only, only)
    return x, y


def resolve_angle_sign(drawings: Sequence[Drawing]) -> None:
    """Decide which way the angles of ellipses turn, by the points that experts set in them.

    The documentation leaves it open. Counter-clockwise on the screen is taken, unless more of the
    representative points lie inside their ellipse when all are turned the other way.
    """
    ellipses = [
        (marking.shape, marking.point)
        for drawing in drawings
        for markings in drawing.markings.values()
        for marking in markings
        if isinstance(marking.shape, Ellipse) and marking.point is not None
    ]
    left = sum(shape.contains(*point) for shape, point in ellipses)
    right = sum(replace(shape, angle=-shape.angle).contains(*point) for shape, point in ellipses)
    if right <= left:
        return
    for drawing in drawings:
        for kind, markings in drawing.markings.items():
            drawing.markings[kind] = [_turned(marking) for marking in markings]


def _turned(marking: Marking) -> Marking:
    if not isinstance(marking.shape, Ellipse):
        return marking
    return replace(marking, shape=replace(marking.shape, angle=-marking.shape.angle))
