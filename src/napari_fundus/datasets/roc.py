"""ROC, the Retinopathy Online Challenge: microaneurysms given by their centres and radii."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from napari_fundus.datasets.annotations import Point, PointsTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.files import (
    find_folders,
    find_root,
    iter_files,
    list_images,
    missing_problems,
    parse_number,
    relative_to_root,
    split_from_name,
)
from napari_fundus.datasets.grades import image_stem
from napari_fundus.datasets.xml_files import read_xml
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import Lesion, parse_lesion

_XML = re.compile(r"annotations-consensus.*\.xml", re.IGNORECASE)
_IMAGE = re.compile(r"image\d+_(train|test)\w*\.\w+", re.IGNORECASE)
_SET = re.compile(r"^roc[ _-]*(train|test)", re.IGNORECASE)
_LAYOUT = r"^roc|training|test"

_DEPTH = 4

_Points = dict[str, dict[str, tuple[Point, ...]]]


def _is_set(folder: Path) -> bool:
    return any(
        _XML.fullmatch(f.name) or _IMAGE.fullmatch(f.name) for f in iter_files(folder, depth=0)
    )


def _is_root(folder: Path) -> bool:
    subs = [sub for sub in folder.iterdir() if sub.is_dir()] if folder.is_dir() else []
    return any(_SET.search(sub.name) and _is_set(sub) for sub in subs) or _is_set(folder)


class Roc(Dataset):
    """Retinopathy Online Challenge.

    Each mark is a point with a radius. Microaneurysms are annotated in the training images that the
    XML lists, even without a mark; where the longer ``annotations-consensus.xml`` marks
    haemorrhages too, these as well. The testing images have no public annotation.
    """

    name = "roc"
    title = "Retinopathy Online Challenge (ROC)"
    reference = "Niemeijer et al., IEEE TMI 29(1):185-195, 2010, doi:10.1109/TMI.2009.2033909"
    licence = "for research, see the challenge's rules"
    reads_parts = True
    layout = "'ROCtraining' with 'imageN_training.jpg' and 'annotations-consensus-ma-only.xml'"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_root, inner_folders=_LAYOUT)

    @classmethod
    def open(cls, root: Path) -> Roc:
        """Read the lists and annotations below `root`, but no image."""
        parts = find_folders(root, _is_set, depth=_DEPTH)
        points, problems = _read_annotations(root, parts)
        listed = {stem for of_class in points.values() for stem in of_class}
        samples: dict[str, Sample] = {}
        unlisted: list[str] = []
        strange: list[str] = []
        for image in (path for part in parts for path in list_images(part, depth=_DEPTH)):
            named = _IMAGE.fullmatch(image.name)
            stem = image.stem.casefold()
            if named is None and stem not in listed:
                strange.append(relative_to_root(image, root))
                continue
            split = split_from_name(image.stem) or split_from_name(image.parent.name)
            annotated = frozenset(code for code, of_class in points.items() if stem in of_class)
            if split == "train" and not annotated:
                unlisted.append(relative_to_root(image, root))
            truths = {
                code: PointsTruth(points[code][stem]) for code in annotated if points[code][stem]
            }
            if image.stem in samples:
                message = f"Another file of the name {image.stem}; it is left out."
                problems.append(Problem(relative_to_root(image, root), message))
                continue
            samples[image.stem] = Sample(
                image.stem, image, split=split, annotated=annotated, truths=truths
            )
        known = {stem.casefold() for stem in samples}
        problems += missing_problems(listed - known, "Annotations without an image.")
        problems += missing_problems(
            unlisted, "Not listed in the annotations: microaneurysms are not annotated in it."
        )
        problems += missing_problems(
            strange, "Neither named as the challenge's images nor listed: it is left out."
        )
        if not any(sample.split == "test" for sample in samples.values()):
            problems.append(Problem("ROCtesting", "The folder of testing images is missing."))
        dataset = cls(root, sorted(samples.values(), key=_number), problems)
        dataset.parts = tuple(parts)
        return dataset


def _number(sample: Sample) -> tuple[str, int, str]:
    digits = re.search(r"\d+", sample.id)
    return sample.split or "", int(digits[0]) if digits else -1, sample.id


def _read_annotations(root: Path, parts: list[Path]) -> tuple[_Points, list[Problem]]:
    """Return class to lower-case stem to points, from all annotation files of the `parts`."""
    below = (file for part in parts for file in iter_files(part, depth=_DEPTH))
    files = [file for file in below if _XML.fullmatch(file.name)]
    problems: list[Problem] = []
    found: _Points = {}
    if not files:
        message = "The annotations are missing: nothing counts as annotated."
        problems.append(Problem("annotations-consensus-ma-only.xml", message))
    # The file of microaneurysms alone comes first: it is the challenge's truth for them.
    for path in sorted(files, key=lambda f: "ma-only" not in f.name.casefold()):
        where = relative_to_root(path, root)
        try:
            tree = read_xml(path)
        except DatasetError as error:
            problems.append(Problem(where, str(error)))
            continue
        of_class, odd = _parse(tree)
        problems += [Problem(where, message) for message in odd]
        for code, of_image in of_class.items():
            found.setdefault(code, of_image)
    return found, problems


def _parse(tree: ET.Element) -> tuple[_Points, list[str]]:
    odd: list[str] = []
    marks: dict[str, dict[str, list[Point]]] = {Lesion.MA: {}}
    stems: dict[str, None] = {}
    for image in tree.iter("annotations-per-image"):
        name = image.get("imagename") or ""
        stem = image_stem(name)
        if stem in stems:
            odd.append(f"{name} is listed twice; the marks of both are used.")
        stems[stem] = None
        for annotation in image.iter("annotation"):
            code = _class_of(annotation)
            point = _point(annotation)
            if point is None:
                odd.append(f"{name}: a mark without a pair of coordinates is left out.")
            elif code is not None:
                marks.setdefault(code, {}).setdefault(stem, []).append(point)
    return (
        {code: {s: tuple(of_class.get(s, ())) for s in stems} for code, of_class in marks.items()},
        odd,
    )


def _class_of(annotation: ET.Element) -> str | None:
    """Return the class of a mark; marks of what is no lesion, and of unknown classes, are None."""
    lesion = annotation.find(".//lesion")
    if lesion is None or not (lesion.text or "").strip():
        return Lesion.MA
    return parse_lesion(lesion.text or "")


def _point(annotation: ET.Element) -> Point | None:
    mark = annotation.find("mark")
    if mark is None:
        return None
    x, y = parse_number(mark.get("x")), parse_number(mark.get("y"))
    if x is None or y is None:
        return None
    radius = annotation.find(".//radius")
    # Some writers put the number behind an empty element instead of into it.
    size = None if radius is None else parse_number(radius.text) or parse_number(radius.tail)
    probability = annotation.find(".//probability")
    share = None if probability is None else parse_number(probability.text)
    return Point(y, x, max(size or 0.0, 0.0), 1.0 if share is None else share)
