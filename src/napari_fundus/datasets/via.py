"""Any folder of images with annotations of the VGG Image Annotator: exports or its project."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_fundus.datasets.annotation_files import (
    INNER_FOLDERS,
    RepeatedAnnotations,
    annotation_folders,
    read_each,
    work_of,
)
from napari_fundus.datasets.annotations import ShapesTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_root,
    list_images,
    missing_problems,
    relative_to_root,
    split_from_name,
    split_of_place,
    unique_ids,
)
from napari_fundus.datasets.recorded_names import PhotographFinder
from napari_fundus.datasets.shapes import Shape
from napari_fundus.datasets.via_files import read_via, via_files
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import parse_lesion

_UNNAMED = "lesion"
_DEPTH = 6


@dataclass(frozen=True)
class _Region:
    """A region of a photograph: without a shape, where that cannot be read; new, or known."""

    image: Path
    shape: Shape | None
    attributes: Mapping[str, Any]
    where: str
    work: Path
    is_new: bool = True


class ViaDataset(Dataset):
    """Images annotated with the VGG Image Annotator, versions 1 to 3.

    Every class that occurs in the files of a folder and its parts (``train/``, ``val/``, …) counts
    as annotated in every image that these list, with or without a region; images that no file
    lists are not annotated.
    """

    name = "via"
    title = "VGG Image Annotator"
    reference = "Dutta and Zisserman 2019, doi:10.1145/3343031.3350535"
    reads_parts = True
    layout = (
        "a CSV with the columns filename, region_shape_attributes, region_attributes, an export "
        "as JSON, or a saved project (via_project.json, or one of version 3)"
    )

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the folder of exports or projects around or inside `folder`, or None."""
        return find_root(
            folder,
            lambda f: any(via_files(part, depth=0) for part in annotation_folders(f)),
            inner_folders=f"^{INNER_FOLDERS.pattern}",
            above=1,
        )

    @classmethod
    def open(cls, root: Path, *, class_attribute: str | None = None) -> ViaDataset:
        """Read all exports and projects in `root` and below it.

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
            There are none, none can be read, or no region has the attribute.
        """
        files = via_files(root, depth=_DEPTH)
        if not files:
            raise DatasetError(f"{root} has no VIA annotations; looked for {cls.layout}.")
        images = list_images(root, depth=_DEPTH)
        reader = _Reader(root, images)
        reader.problems += read_each(files, reader.read, root)
        reader.problems += reader.repeated.problems()
        attribute = _class_attribute(reader.regions, class_attribute)
        drawn = _by_class(reader, attribute)
        unlisted = (relative_to_root(path, root) for path in images if path not in reader.listed)
        reader.problems += missing_problems(
            unlisted, "Not in the annotations: nothing is annotated in it."
        )
        samples = [
            Sample(
                identity,
                path,
                split=reader.split_of(path),
                annotated=drawn.annotated(path, reader.works[path]),
                truths=drawn.truths.get(path, {}),
            )
            for identity, path in unique_ids(images, root)
        ]
        return cls(root, samples, reader.problems)


class _Reader:
    """Collects the regions of all files, and what is odd in them."""

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self.root = root
        self.regions: list[_Region] = []
        self.listed: dict[Path, Path] = {}
        self.works: defaultdict[Path, set[Path]] = defaultdict(set)
        self.repeated = RepeatedAnnotations(root)
        self.problems: list[Problem] = []
        self._finder = PhotographFinder(root, images)

    def read(self, file: Path) -> None:
        """Take all regions of one file; what cannot be understood of them is named.

        A region that a file read before has too is not taken again: a project often lies beside
        its own export.
        """
        where = relative_to_root(file, self.root)
        regions = list(read_via(file))
        recorded = (region.image for region in regions if region.image is not None)
        images, lost = self._finder.find(file, recorded)
        self.problems += lost
        for region in regions:
            image = images.get(region.image) if region.image is not None else None
            if image is None and region.image is not None:
                continue
            name = f" ({region.image.name})" if region.image is not None else ""
            try:
                shape, attributes = region.read()
            except DatasetError as error:
                message = f"{region.place.capitalize()}{name}: {error}"
                self.problems.append(Problem(where, message))
                shape, attributes = None, region.read_attributes()
                if image is not None and attributes:
                    self.regions.append(_Region(image, None, attributes, where, work_of(file)))
            if image is None:
                continue
            self.listed.setdefault(image, file)
            self.works[image].add(work_of(file))
            self.repeated.add_photograph(image, file)
            if shape is not None:
                key = f"{shape} {sorted(attributes.items(), key=str)}"
                is_new = self.repeated.add(image, file, key)
                place = f"{where}, {region.place}"
                self.regions.append(
                    _Region(image, shape, attributes, place, work_of(file), is_new=is_new)
                )

    def split_of(self, image: Path) -> str | None:
        """Return the part that an image belongs to by its folders, or by the file that lists it."""
        split = split_of_place(image, self.root)
        if split is not None or image not in self.listed:
            return split
        file = self.listed[image]
        return split_of_place(file, self.root) or split_from_name(file.stem)


def _values(attributes: Mapping[str, Any], attribute: str) -> list[str]:
    """Return the classes of a region: one of text, radio or list, several of check boxes."""
    value = attributes.get(attribute)
    if isinstance(value, dict):
        return [str(name).strip() for name, ticked in value.items() if _is_ticked(ticked)]
    return [str(value).strip()] if value not in (None, "") else []


def _is_ticked(value: Any) -> bool:
    return str(value).strip().casefold() not in ("", "false", "0", "none")


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


@dataclass(frozen=True)
class _Drawn:
    """What is drawn: shapes and classes that are not known by photograph, classes by folder."""

    truths: Mapping[Path, Mapping[str, Truth]]
    unknown: Mapping[Path, frozenset[str]]
    classes: Mapping[Path, frozenset[str]]

    def annotated(self, image: Path, works: Iterable[Path]) -> frozenset[str]:
        """Return the classes that count as looked for in a photograph that `works` list.

        A class is not among them where all that was drawn of it cannot be read.
        """
        drawn = self.truths.get(image, {})
        known = frozenset[str]().union(*(self.classes.get(work, ()) for work in works))
        return known - (self.unknown.get(image, frozenset()) - frozenset(drawn))


def _by_class(reader: _Reader, attribute: str | None) -> _Drawn:
    shapes: dict[Path, dict[str, list[Shape]]] = {}
    unknown: dict[Path, frozenset[str]] = {}
    classes: defaultdict[Path, set[str]] = defaultdict(set)
    for region in reader.regions:
        names = _values(region.attributes, attribute) if attribute is not None else [_UNNAMED]
        if not names and region.shape is not None and region.is_new:
            message = f"A region without {attribute!r} has no class; it is left out."
            reader.problems.append(Problem(region.where, message))
        for name in names:
            code = str(parse_lesion(name) or name)
            if region.shape is None:
                unknown[region.image] = unknown.get(region.image, frozenset()) | {code}
                continue
            classes[region.work].add(code)
            if not region.is_new:
                continue
            shapes.setdefault(region.image, {}).setdefault(code, []).append(region.shape)
    truths: dict[Path, dict[str, Truth]] = {
        image: {code: ShapesTruth(tuple(drawn)) for code, drawn in of_class.items()}
        for image, of_class in shapes.items()
    }
    return _Drawn(truths, unknown, {work: frozenset(found) for work, found in classes.items()})
