"""Reading of files in COCO's format: whose lesions they hold, and what is odd in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_fundus.datasets.annotation_files import RepeatedAnnotations
from napari_fundus.datasets.base import Problem
from napari_fundus.datasets.coco_ids import ById, identity_of
from napari_fundus.datasets.coco_shapes import CocoLesion, Size, parse_lesion_shape, parse_size
from napari_fundus.datasets.files import (
    missing_problems,
    relative_to_root,
    split_from_name,
    split_of_place,
)
from napari_fundus.datasets.json_files import read_annotations, read_head_and_tail
from napari_fundus.datasets.recorded_names import PhotographFinder, Recorded
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import parse_lesion

_MOST_NAMED = 3
_FOUND_BY_US = b"Lesions found by napari-fundus"
"""What our own exports say of themselves: a detector's findings are nobody's truth."""

_NO_LESION = ("background", "lesion", "lesions", "object", "objects", "none")
"""Category names that stand for no class; some tools write one above all others."""


def is_found_by_us(ends: bytes) -> bool:
    """Tell by the two ends of a file whether a detector found what it holds."""
    return _FOUND_BY_US in ends


@dataclass(frozen=True)
class _Listed:
    """An image of a file's list: its file, and its height and width where they are given."""

    path: Path
    size: Size | None


class CocoReader:
    """Collects the annotations of all files of a data set, and what is odd in them.

    Parameters
    ----------
    root
        The data set's folder.
    images
        The images below it.

    Attributes
    ----------
    annotated
        The classes that count as looked for, by image that a file lists.
    lesions
        What is drawn, by image and class.
    splits
        The part that an image belongs to, where that is known.
    problems
        What is odd in the files.
    left_out
        Image and class of each lesion that could not be read.
    repeated
        What each file says of each image.
    """

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self.root = root
        self.annotated: dict[Path, set[str]] = {}
        self.lesions: defaultdict[Path, defaultdict[str, list[CocoLesion]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.splits: dict[Path, str] = {}
        self.left_out: list[tuple[Path, str]] = []
        self.repeated = RepeatedAnnotations(root)
        self.problems: list[Problem] = []
        self._finder = PhotographFinder(root, images)

    def read(self, file: Path) -> None:
        """Read one file; what cannot be understood in it is listed."""
        content = _load(file)
        where = relative_to_root(file, self.root)
        if is_found_by_us(read_head_and_tail(file)):
            message = "Found by a detector and exported by napari-fundus: no expert drew this."
            self.problems.append(Problem(where, message))
        images = self._images(file, content["images"])
        classes = self._classes(file, content["categories"])
        annotations = list(_objects(content["annotations"]))
        used = {classes.get(identity_of(a.get("category_id"))) for a in annotations}
        # Of the categories that nobody used, only those that are lesions were surely looked for.
        known = {code for code in classes if code and (parse_lesion(code) or code in used)}
        for listed in images:
            if listed is not None:
                self.annotated.setdefault(listed.path, set()).update(known)
                self.repeated.add_photograph(listed.path, file)
        self.problems += self._take_all(annotations, images, classes, file)
        if strange := len(content["annotations"]) - len(annotations):
            message = f"{strange} annotations are no JSON objects and are left out."
            self.problems.append(Problem(where, message))

    def _take_all(
        self,
        annotations: Iterable[Mapping[str, Any]],
        images: ById[_Listed | None],
        classes: ById[str],
        file: Path,
    ) -> list[Problem]:
        """Take the annotations of a file, and return what a person should know of them."""
        odd: defaultdict[str, list[str]] = defaultdict(list)
        for annotation in annotations:
            listed = images.get(identity_of(annotation.get("image_id")))
            if listed is None:
                message = "an annotation is of no image that is listed once and found; left out"
                odd[message].append("")
                continue
            for remark in self._take(annotation, listed, classes, file):
                odd[remark].append(relative_to_root(listed.path, self.root))
        where = relative_to_root(file, self.root)
        return [_summed(where, message, names) for message, names in odd.items()]

    def _take(
        self, annotation: Mapping[str, Any], listed: _Listed, classes: ById[str], file: Path
    ) -> Iterable[str]:
        """Take an annotation, and return what a person should know of it."""
        code = classes.get(identity_of(annotation.get("category_id")))
        if code is None:
            return ("an annotation is of no category that is listed once; left out",)
        if not code:
            return ("an annotation is of a category that names no class; left out",)
        try:
            lesion, remarks = parse_lesion_shape(annotation, size=listed.size)
        except DatasetError as error:
            self.left_out.append((listed.path, code))
            return (f"an annotation is left out: {error}",)
        if self.repeated.add(listed.path, file, (code, lesion)):
            self.lesions[listed.path][code].append(lesion)
        return remarks

    def _images(self, file: Path, listed: Any) -> ById[_Listed | None]:
        """Return the images by id, None for those that are lost."""
        where = relative_to_root(file, self.root)
        entries = [(_recorded(entry), entry) for entry in _objects(listed)]
        places, lost = self._finder.find(file, (recorded for recorded, _ in entries))
        self.problems += lost
        found: ById[_Listed | None] = ById()
        times: Counter[Path] = Counter()
        for recorded, entry in entries:
            identity = identity_of(entry.get("id"))
            place = places.get(recorded)
            size = parse_size(entry.get("height"), entry.get("width"))
            found.add(identity, None if place is None else _Listed(place, size))
            if place is None:
                continue
            times[place] += 1
            if not identity.is_known:
                message = f"{recorded.name} is listed without an id: nothing is known of it."
                self.problems.append(Problem(where, message))
            self._set_split(place, file)
        for identity_text in found.ambiguous():
            message = f"The image id {identity_text!r} stands for several images: no annotation "
            self.problems.append(Problem(where, f"{message}of it can be used."))
        twice = (relative_to_root(path, self.root) for path, count in times.items() if count > 1)
        self.problems += missing_problems(
            twice, f"Listed several times in {where}: the annotations of all are used."
        )
        return found

    def _set_split(self, image: Path, file: Path) -> None:
        split = (
            split_of_place(image, self.root)
            or split_from_name(file.stem)
            or split_of_place(file, self.root)
        )
        if split is not None and self.splits.setdefault(image, split) != split:
            message = f"Listed in the {split} part too; it counts as of {self.splits[image]}."
            self.problems.append(Problem(relative_to_root(image, self.root), message))

    def _classes(self, file: Path, categories: Any) -> ById[str]:
        """Return the classes by id: a known lesion, else our own code, else the name, or ``""``."""
        classes: ById[str] = ById()
        for entry in _objects(categories):
            name, code = entry.get("name"), entry.get("code")
            title = name.strip() if isinstance(name, str) else ""
            own = code.strip() if isinstance(code, str) else ""
            found = str(parse_lesion(title) or parse_lesion(own) or own or title)
            classes.add(
                identity_of(entry.get("id")), "" if found.casefold() in _NO_LESION else found
            )
        for identity_text in classes.ambiguous():
            message = f"The category id {identity_text!r} stands for several classes: no "
            self.problems.append(
                Problem(relative_to_root(file, self.root), f"{message}annotation of it is used.")
            )
        return classes


def _summed(where: str, message: str, images: list[str]) -> Problem:
    """Return one problem for all annotations of which the same is to be said."""
    named = sorted(set(filter(None, images)))
    shown = ", ".join(named[:_MOST_NAMED]) + (", …" if len(named) > _MOST_NAMED else "")
    times = f"{len(images)} times: " if len(images) > 1 else ""
    return Problem(where, f"{times}{message}{f' ({shown})' if shown else ''}")


def _recorded(entry: Mapping[str, Any]) -> Recorded:
    """Return what a file lists as an image; some programs give a path or an address beside it."""
    keys = ("file_name", "path", "coco_url", "flickr_url")
    names = [name for key in keys if isinstance(name := entry.get(key), str) and name.strip()]
    return Recorded(names[0] if names else "(no name)", also=names[1] if len(names) > 1 else "")


def _load(file: Path) -> dict[str, Any]:
    content = read_annotations(file, "COCO annotations")
    names = ("images", "annotations", "categories")
    lacking = [
        name
        for name in names
        if not isinstance(content, dict) or not isinstance(content.get(name), list)
    ]
    if lacking:
        raise DatasetError(
            f"{file} is no COCO data set: it lacks the list {', '.join(lacking)}. Export images, "
            "annotations and categories together, not results alone."
        )
    whole: dict[str, Any] = content
    return whole


def _objects(listed: Any) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in listed if isinstance(entry, dict))
