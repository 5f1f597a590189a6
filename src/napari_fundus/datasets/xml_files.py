"""Reading the XML of a data set safely: nothing is fetched, declared, or nested without end."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeElementTree

from napari_fundus.errors import DatasetError
from napari_fundus.runtime.files import check_is_file

_DEEPEST = 32
"""Levels of elements in an XML, where DIARETDB1 has 6: what looks for something below each element
would take hours over a file of nothing but nesting."""

_MOST_XML = 16 << 20


def read_xml(path: Path) -> ET.Element:
    """Parse an XML file; a document type may be named, but nothing declared or fetched.

    Raises
    ------
    DatasetError
        The file is broken, declares entities, or is nested too deeply.
    """
    if path.stat().st_size > _MOST_XML:
        raise DatasetError(
            f"{path.name} is refused: it has {path.stat().st_size >> 20} MB, and annotations have "
            f"no more than {_MOST_XML >> 20}."
        )
    try:
        return _parse(path)
    except ET.ParseError as error:
        raise DatasetError(f"{path.name} is not well-formed XML: {error}.") from error
    except DefusedXmlException as error:
        raise DatasetError(
            f"{path.name} is refused: it declares entities or refers to outside files, which no "
            f"annotation needs ({type(error).__name__})."
        ) from error
    except (ValueError, LookupError) as error:
        raise DatasetError(f"{path.name} has an encoding that cannot be read: {error}.") from error


def _parse(path: Path) -> ET.Element:
    """Parse step by step, so that deep nesting is refused before a tree is built of it."""
    root: ET.Element | None = None
    depth = 0
    check_is_file(path)
    events = SafeElementTree.iterparse(path, events=("start", "end"), forbid_dtd=False)
    for event, element in events:
        if event == "end":
            depth -= 1
            continue
        root = element if root is None else root
        depth += 1
        if depth > _DEEPEST:
            raise DatasetError(
                f"{path.name} is refused: its elements are nested more than {_DEEPEST} deep, which "
                "no annotation is."
            )
    if root is None:
        raise ET.ParseError("no element found")
    return root
