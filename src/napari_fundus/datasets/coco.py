"""Any folder of images with annotations in COCO's JSON, one file for all or one a part."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.coco_shapes import CocoLesion, CocoTruth, Size, parse_lesion_shape
from napari_fundus.datasets.files import (
    find_root,
    iter_files,
    list_images,
    list_subfolders,
    missing_problems,
    relative_to_root,
    split_from_name,
    unique_ids,
)
from napari_fundus.datasets.json_files import read_annotations, read_head_and_tail
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import parse_lesion

_DEPTH = 3
_FOUND_BY_US = b"Lesions found by napari-fundus"
"""What our own exports say of themselves: a detector's findings are nobody's truth."""

_NO_LESION = ("background", "lesion", "lesions", "object", "objects", "none")
"""Category names that stand for no class; some tools write one above all others."""


class CocoDataset(Dataset):
    """Images annotated in COCO's format: polygons, run lengths or boxes.

    Every known lesion class among the categories counts as annotated in every image listed, with or
    without an annotation; so does every other category that occurs. Images that no file lists are
    not annotated. What napari-fundus itself exports is read where it is asked for by name
    (``open_dataset(folder, "coco")``), and never taken for an expert's work.
    """

    name = "coco"
    title = "COCO annotations"
    reference = "Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48"
    layout = "a JSON with the lists images, annotations and categories, beside or above the images"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the folder of annotations around or inside `folder`, or None."""
        return _root(folder, exports=False)

    @classmethod
    def recognize_by_name(cls, folder: Path) -> Path | None:
        """Return the root as :meth:`recognize`, also where it holds our own exports alone."""
        return _root(folder, exports=False) or _root(folder, exports=True)

    @classmethod
    def open(cls, root: Path) -> CocoDataset:
        """Read the annotations in `root`, in ``annotations/`` and in the folders of its parts.

        Raises
        ------
        DatasetError
            There is none, or one cannot be read as COCO.
        """
        files = list(_files(root, exports=False)) or list(_files(root, exports=True))
        if not files:
            raise DatasetError(f"{root} has no COCO annotations; looked for {cls.layout}.")
        images = list_images(root, depth=_DEPTH)
        reader = _Reader(root, images)
        for file in files:
            reader.read(file)
        unlisted = (relative_to_root(path, root) for path in images if path not in reader.annotated)
        reader.problems += missing_problems(
            unlisted, "Not in the annotations: nothing is known of it."
        )
        samples = [
            Sample(
                identity,
                path,
                split=reader.splits.get(path),
                annotated=frozenset(reader.annotated.get(path, ())),
                truths={
                    code: CocoTruth(tuple(drawn)) for code, drawn in reader.lesions[path].items()
                },
            )
            for identity, path in unique_ids(images, root)
        ]
        return cls(root, samples, reader.problems)


class _Reader:
    """Collects the annotations of all files, and what is odd in them."""

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self.root = root
        self.annotated: dict[Path, set[str]] = {}
        self.lesions: defaultdict[Path, defaultdict[str, list[CocoLesion]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.splits: dict[Path, str] = {}
        self.problems: list[Problem] = []
        self._by_place: dict[str, Path] = {}
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        for path in images:
            self._by_place[path.relative_to(root).as_posix().casefold()] = path
            self._by_name[path.name.casefold()].append(path)

    def read(self, file: Path) -> None:
        """Read one file; what cannot be understood in it is listed."""
        content = _load(file)
        where = relative_to_root(file, self.root)
        if _FOUND_BY_US in read_head_and_tail(file):
            message = "Found by a detector and exported by napari-fundus: no expert drew this."
            self.problems.append(Problem(where, message))
        images = self._images(file, content["images"])
        classes = _classes(content["categories"])
        used = {classes.get(_key(a.get("category_id"))) for a in _objects(content["annotations"])}
        # Of the categories that nobody used, only those that are lesions were surely looked for.
        known = {code for code in classes.values() if parse_lesion(code) or code in used}
        for path, _ in images.values():
            self.annotated.setdefault(path, set()).update(known)
        odd: Counter[str] = Counter()
        for annotation in _objects(content["annotations"]):
            image = images.get(_key(annotation.get("image_id")))
            code = classes.get(_key(annotation.get("category_id")))
            if image is None or code is None:
                odd["an annotation of an image or category that is not there; left out"] += 1
                continue
            try:
                lesion, boxed = parse_lesion_shape(annotation, size=image[1])
            except DatasetError as error:
                odd[f"an annotation is left out: {error}"] += 1
                continue
            odd["an annotation has a box and no outline: the whole box counts"] += boxed
            self.lesions[image[0]][code].append(lesion)
        self.problems += [
            Problem(where, message if count == 1 else f"{count} times: {message}")
            for message, count in odd.items()
            if count
        ]

    def _images(self, file: Path, listed: Any) -> dict[str, tuple[Path, Size | None]]:
        """Return the image of each id and its size, only ever one that was found below the root."""
        found: dict[str, tuple[Path, Size | None]] = {}
        lost = []
        for entry in _objects(listed):
            name = entry.get("file_name")
            place = self._find(name, file) if isinstance(name, str) else None
            if place is None:
                lost.append(f"{relative_to_root(file, self.root)}: {name}")
                continue
            key = _key(entry.get("id"))
            if key in found:
                message = f"The image id {key!r} stands twice: its annotations go to the last."
                self.problems.append(Problem(relative_to_root(file, self.root), message))
            sides = entry.get("height"), entry.get("width")
            sound = all(type(side) is int and side > 0 for side in sides)
            found[key] = place, cast("Size", sides) if sound else None
            split = split_from_name(place.parent.name) if place.parent != self.root else None
            if split := split or split_from_name(file.stem) or _split_of_folder(file, self.root):
                self.splits[place] = split
        self.problems += missing_problems(lost, "Listed, but no such image lies in the folder.")
        return found

    def _find(self, name: str, file: Path) -> Path | None:
        """Return an image by its place from the root or the file; else by its bare name.

        Of several with that name, the one beside the file, or in the part that the file's name
        speaks of.
        """
        place = PurePosixPath(name.replace("\\", "/"))
        beside = PurePosixPath(file.parent.relative_to(self.root).as_posix())
        for candidate in (beside / place, place):
            if (known := self._by_place.get(candidate.as_posix().casefold())) is not None:
                return known
        named = self._by_name.get(place.name.casefold(), [])
        part = split_from_name(file.stem)
        fitting = [path for path in named if part and split_from_name(path.parent.name) == part]
        for choice in (fitting, named):
            if len(choice) == 1:
                return choice[0]
        return None


def _root(folder: Path, *, exports: bool) -> Path | None:
    return find_root(
        folder,
        lambda f: next(_files(f, exports=exports), None) is not None,
        inner_folders=r"^(images?|annotations?|(train|val|valid|test)(ing|idation|ation)?[0-9]*)$",
        above=1,
    )


def _files(root: Path, *, exports: bool) -> Iterator[Path]:
    """Yield the files of annotations of a root; those that we export, or all others."""
    parts = (
        f
        for f in list_subfolders(root)
        if f.name.casefold().startswith("annotation") or split_from_name(f.name)
    )
    for folder in (root, *parts):
        for path in iter_files(folder, depth=0):
            ends = read_head_and_tail(path)
            if _looks_like_coco(ends) and (_FOUND_BY_US in ends) == exports:
                yield path


def _looks_like_coco(ends: bytes) -> bool:
    """Tell by the two ends of a file, which may be long."""
    words = (b'"images"', b'"annotations"', b'"categories"', b'"image_id"', b'"category_id"')
    return sum(word in ends for word in words) >= 2


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


def _key(identity: Any) -> str:
    """Return an id as text: some tools write numbers, some text; 1 and "1" are the same."""
    return str(identity) if isinstance(identity, int | str) else ""


def _classes(categories: Any) -> dict[str, str]:
    """Return the class of each category id: a known lesion, else our own code, else its name."""
    classes: dict[str, str] = {}
    for entry in _objects(categories):
        name, code = entry.get("name"), entry.get("code")
        title = name.strip() if isinstance(name, str) else ""
        own = code.strip() if isinstance(code, str) else ""
        found = parse_lesion(title) or parse_lesion(own) or own or title
        if found and found.casefold() not in _NO_LESION:
            classes[_key(entry.get("id"))] = str(found)
    return classes


def _split_of_folder(file: Path, root: Path) -> str | None:
    return split_from_name(file.parent.name) if file.parent != root else None
