"""DIARETDB1: what four experts drew, as v2.1's shapes or as v1.1's maps of their agreement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from napari_fundus.datasets.annotations import ConsensusMapTruth, MultiExpertTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.diaretdb1_xml import Drawing, read_drawing, resolve_angle_sign
from napari_fundus.datasets.files import (
    find_path,
    find_root,
    images_by_stem,
    iter_files,
    missing_problems,
    relative_to_root,
)
from napari_fundus.datasets.grades import image_stem
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import DR_LESIONS, Lesion, parse_lesion
from napari_fundus.runtime.files import read_text

_REFERENCE = "Kauppi et al., BMVC 2007, doi:10.5244/C.21.15"
_LICENCE = "free for research, not to be passed on"
_MAPS_OF: Mapping[Lesion, str] = {
    Lesion.MA: "redsmalldots",
    Lesion.HE: "hemorrhages",
    Lesion.EX: "hardexudates",
    Lesion.SE: "softexudates",
}
_XML = re.compile(r"(?P<stem>.+?)_(?P<expert>\d\d)(?P<plain>_plain)?\.xml", re.IGNORECASE)
_LIST = re.compile(r"d+b1_v02_\d+_(?P<split>train|test)(?P<plain>_plain)?\.txt", re.IGNORECASE)


def _read_list(path: Path) -> list[list[str]]:
    """Return the words of each line; a list has one image a line, then its annotations."""
    text = read_text(path, encoding="utf-8-sig", errors="replace")
    lines = (re.split(r"[\s,;]+", line.strip()) for line in text.splitlines())
    return [words for words in lines if words[0]]


def _image_folder(folder: Path) -> Path | None:
    for around in ((), ("images",), ("resources", "images")):
        found = find_path(folder, *around, "ddb1_fundusimages")
        if found is not None:
            return found
    return None


class Diaretdb1Maps(Dataset):
    """DIARETDB1 v1.1: maps of the four experts' mean confidence; true from 0.75 on.

    The single drawings are not in this version; the map is
    ``sample.truths[code].mean_confidence(shape)``.
    """

    name = "diaretdb1-v1.1"
    title = "DIARETDB1 v1.1"
    reference = _REFERENCE
    licence = _LICENCE
    layout = "'resources/images/ddb1_fundusimages' beside 'ddb1_groundtruth'"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        pattern = r"resources|images|ddb1_|datasets|exudates|redsmalldots|hemorrhages"
        return find_root(folder, lambda f: _image_folder(f) is not None, inner_folders=pattern)

    @classmethod
    def open(cls, root: Path) -> Diaretdb1Maps:
        """Read the lists and annotations below `root`, but no image."""
        folder = _image_folder(root)
        if folder is None:
            raise DatasetError(f"{root} is not DIARETDB1 v1.1; looked for {cls.layout}.")
        problems: list[Problem] = []
        images = images_by_stem(folder)
        maps = _map_files(folder.parent, images, problems, root)
        splits = _splits_v1(root, problems)
        discs = list(images_by_stem(find_path(folder.parent, "ddb1_fundusmask")).values())
        if not discs:
            path = relative_to_root(folder.parent / "ddb1_fundusmask" / "fmask.tif", root)
            problems.append(Problem(path, "The mask of the field of view is missing."))
        problems += missing_problems(
            splits.keys() - images.keys(), "Listed, but the image is missing."
        )
        if splits:
            problems += missing_problems(
                images.keys() - splits.keys(), "In neither list: it has no split."
            )
        samples = []
        for stem, image in sorted(images.items()):
            truths: dict[str, Truth] = {
                code: ConsensusMapTruth(files[stem])
                for code, files in maps.items()
                if stem in files
            }
            samples.append(
                Sample(
                    image.stem,
                    image,
                    split=splits.get(stem),
                    annotated=frozenset(truths),
                    truths=truths,
                    field_of_view_path=discs[0] if discs else None,
                )
            )
        return cls(root, samples, problems)


def _map_files(
    parent: Path, images: Mapping[str, Path], problems: list[Problem], root: Path
) -> dict[Lesion, dict[str, Path]]:
    found: dict[Lesion, dict[str, Path]] = {}
    for code, name in _MAPS_OF.items():
        folder = find_path(parent, "ddb1_groundtruth", name)
        if folder is None:
            path = relative_to_root(parent / "ddb1_groundtruth" / name, root)
            problems.append(Problem(path, f"The folder is missing: {code} is not annotated."))
            continue
        found[code] = images_by_stem(folder)
        lacking = (
            f"{relative_to_root(folder, root)}/{stem}"
            for stem in images.keys() - found[code].keys()
        )
        problems += missing_problems(
            lacking, f"The map is missing: {code} is not annotated in the image."
        )
        lost = (
            relative_to_root(found[code][stem], root) for stem in found[code].keys() - images.keys()
        )
        problems += missing_problems(lost, "The image of this map is missing.")
    return found


def _splits_v1(root: Path, problems: list[Problem]) -> dict[str, str]:
    splits: dict[str, str] = {}
    top = root
    while top.name.casefold() in ("images", "resources"):
        top = top.parent
    for split in ("train", "test"):
        name = f"{split}set.txt"
        found = next((f for f in iter_files(top, depth=3) if f.name.casefold() == name), None)
        if found is None:
            path = f"resources/{split}datasets/{name}"
            problems.append(Problem(path, f"The list of the {split} set is missing."))
            continue
        splits |= {image_stem(words[0]): split for words in _read_list(found)}
    return splits


def _is_drawings(folder: Path) -> bool:
    truths = find_path(folder, "groundtruth")
    return (
        truths is not None
        and find_path(folder, "images") is not None
        and any(_XML.fullmatch(f.name) for f in iter_files(truths, depth=0))
    )


class Diaretdb1Drawings(Dataset):
    """DIARETDB1 v2.1: each expert's shapes; true where their mean confidence is 0.75 or more.

    ``sample.truths[code].experts`` holds the drawings of each expert. Other structures than the
    four lesion classes count as annotated only where every expert drew them.
    """

    name = "diaretdb1-v2.1"
    title = "DIARETDB1 v2.1"
    reference = _REFERENCE
    licence = _LICENCE
    layout = "'images' beside 'groundtruth' with '…_01_plain.xml', '…_02_plain.xml', …"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_drawings, inner_folders=r"^(images|groundtruth)$")

    @classmethod
    def open(cls, root: Path) -> Diaretdb1Drawings:
        """Read the lists and annotations below `root`, but no image."""
        problems: list[Problem] = []
        images = images_by_stem(find_path(root, "images"))
        files = _drawing_files(find_path(root, "groundtruth") or root)
        splits = _read_lists(root, files, problems)
        problems += missing_problems(
            splits.keys() - images.keys(), "Listed, but the image is missing."
        )
        if splits:
            problems += missing_problems(
                images.keys() - splits.keys(), "In neither list: it has no split."
            )
        drawings: dict[str, dict[str, Drawing]] = {}
        for stem in images:
            drawings[stem] = _read_experts(files.get(stem, {}), problems, root)
            if not drawings[stem]:
                message = "No readable annotation: nothing counts as annotated in it."
                problems.append(Problem(relative_to_root(images[stem], root), message))
        lost = (
            relative_to_root(f, root)
            for s in files.keys() - images.keys()
            for f in files[s].values()
        )
        problems += missing_problems(lost, "The image of this annotation is missing.")
        resolve_angle_sign(
            [drawing for experts in drawings.values() for drawing in experts.values()]
        )
        samples = [
            _sample(images[stem], splits.get(stem), drawings[stem]) for stem in sorted(images)
        ]
        return cls(root, samples, problems)


def _drawing_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Return stem to expert to file; the plain form is taken where both are there."""
    found: dict[str, dict[str, Path]] = {}
    for path in iter_files(folder, depth=1):
        named = _XML.fullmatch(path.name)
        if named is not None:
            experts = found.setdefault(named["stem"].casefold(), {})
            if named["plain"] or named["expert"] not in experts:
                experts[named["expert"]] = path
    return found


def _read_lists(
    root: Path, files: Mapping[str, Mapping[str, Path]], problems: list[Problem]
) -> dict[str, str]:
    """Return lower-case stem to split, and report the annotations that are listed but missing."""
    lists: dict[str, Path] = {}
    for path in iter_files(root, depth=1):
        named = _LIST.fullmatch(path.name)
        if named is not None and (named["plain"] or named["split"].casefold() not in lists):
            lists[named["split"].casefold()] = path
    splits: dict[str, str] = {}
    lacking: list[str] = []
    for split in ("train", "test"):
        if split not in lists:
            path_ = f"ddb1_v02_01_{split}_plain.txt"
            problems.append(Problem(path_, f"The list of the {split} set is missing."))
            continue
        for image, *drawn in _read_list(lists[split]):
            stem = image_stem(image)
            splits[stem] = split
            for annotation in drawn:
                named = _XML.fullmatch(annotation.replace("\\", "/").rsplit("/", 1)[-1])
                if named is None or named["expert"] not in files.get(stem, {}):
                    lacking.append(annotation)
    problems += missing_problems(
        lacking, "Listed, but missing: the mean is taken over the other experts."
    )
    return splits


def _read_experts(
    files: Mapping[str, Path], problems: list[Problem], root: Path
) -> dict[str, Drawing]:
    drawings: dict[str, Drawing] = {}
    for expert, path in sorted(files.items()):
        where = relative_to_root(path, root)
        try:
            drawings[expert] = read_drawing(path)
        except DatasetError as error:
            message = f"{error} The mean is taken over the other experts."
            problems.append(Problem(where, message))
            continue
        problems += [Problem(where, message) for message in drawings[expert].problems]
    return drawings


def _sample(image: Path, split: str | None, drawings: Mapping[str, Drawing]) -> Sample:
    truths: dict[str, Truth] = {}
    annotated: set[str] = set(DR_LESIONS) if drawings else set()
    for code in _classes(drawings.values()):
        experts = {name: drawing.markings_of(code) for name, drawing in drawings.items()}
        if code in DR_LESIONS or all(experts.values()):
            truths[code] = MultiExpertTruth(experts)
            annotated.add(code)
    return Sample(image.stem, image, split=split, annotated=frozenset(annotated), truths=truths)


def _classes(drawings: Iterable[Drawing]) -> list[Lesion]:
    names = {name for drawing in drawings for name in drawing.markings}
    return sorted({code for name in names if (code := parse_lesion(name)) is not None})
