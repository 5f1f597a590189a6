"""HEI-MED: 169 photographs with exudates drawn by an expert, and the place of the optic disc.

The layout and the format of the maps are those of the authors' repository and of the programs in
it, with which they read them; this reader has not been tried on the maps themselves.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.files import (
    find_root,
    iter_files,
    missing_problems,
    parse_number,
    relative_to_root,
)
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import Lesion
from napari_fundus.results.components import find_components
from napari_fundus.runtime.files import read_text

_MAP, _LIST, _NOTES = ".map.gz", ".gnd", ".meta"
_VERSION = "GNDVERSION"


@dataclass(frozen=True)
class BlobTruth(Truth):
    """The blobs of some numbers in one of HEI-MED's maps.

    A map is a gzip file of 32-bit integers: a version, the width, the height, and row by row the
    number of the blob that each pixel belongs to, from 1 on; 0 is none.

    Attributes
    ----------
    path
        The map.
    numbers
        Those of the blobs.
    """

    path: Path
    numbers: frozenset[int]

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        height, width = shape
        try:
            with gzip.open(self.path) as file:
                head = np.frombuffer(file.read(12), "<i4")
                if head.size != 3 or tuple(head[1:]) != (width, height):
                    raise DatasetError(
                        f"The map {self.path.name} has {' x '.join(map(str, head[1:]))} px, its "
                        f"image {width} x {height} px: they do not belong together."
                    )
                content = file.read(4 * width * height)
        except FileNotFoundError:
            raise DatasetError(f"The map {self.path} is missing.") from None
        except (OSError, EOFError, zlib.error) as error:
            raise DatasetError(f"The map {self.path.name} is damaged: {error}.") from error
        if len(content) < 4 * width * height:
            raise DatasetError(f"The map {self.path.name} is truncated. Copy it again.")
        blobs = np.frombuffer(content, "<i4").reshape(shape)
        return np.isin(blobs, list(self.numbers))

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions within the image."""
        return len(find_components(self.mask(shape)).area)


def _photographs(folder: Path) -> list[Path]:
    return [path for path in iter_files(folder, depth=0) if path.suffix.casefold() == ".jpg"]


def _is_root(folder: Path) -> bool:
    names = {path.name.casefold() for path in iter_files(folder, depth=0)}
    return any(
        path.stem.casefold() + _LIST in names or path.stem.casefold() + _MAP in names
        for path in _photographs(folder)
    )


class HeiMed(Dataset):
    """HEI-MED, formerly DMED.

    EX holds all exudation that was drawn: the expert did not tell hard exudates from soft ones. A
    photograph without a list of drawings has none. Microaneurysms were drawn here and there only,
    and are left out, as are vessels, which a program has segmented.
    """

    name = "hei_med"
    title = "HEI-MED, Hamilton Eye Institute macular edema dataset"
    reference = "Giancardo et al., Med Image Anal 16(1):216-226, 2012"
    licence = "for research that is not commercial"
    layout = "'(00000003).jpg', '(00000003).GND', '(00000003).map.gz', '(00000003).meta', …"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root around or inside `folder`, or None; looks at names only."""
        return find_root(folder, _is_root, inner_folders=r"^DMED$")

    @classmethod
    def open(cls, root: Path) -> HeiMed:
        """Read the lists and annotations below `root`, but no image."""
        if not _is_root(root):
            raise DatasetError(f"{root} is not {cls.title}; looked for {cls.layout}.")
        files = {path.name.casefold(): path for path in iter_files(root, depth=0)}
        samples: list[Sample] = []
        problems: list[Problem] = []
        bad: list[str] = []
        others: list[str] = []
        for image in _photographs(root):
            name = image.name.casefold()
            if any(f.startswith(name) and f.endswith("bad") for f in files):
                bad.append(relative_to_root(image, root))
                continue
            stem = image.stem.casefold()
            drawn, without_class, reason = _read_drawings(
                files.get(stem + _LIST), files.get(stem + _MAP)
            )
            if reason:
                message = f"{reason}: {Lesion.EX} is not annotated."
                problems.append(Problem(relative_to_root(image, root), message))
            others += [f"{image.name}: {blob}" for blob in without_class]
            samples.append(
                Sample(
                    image.stem,
                    image,
                    annotated=frozenset() if reason else frozenset({Lesion.EX}),
                    truths={} if drawn is None else {Lesion.EX: drawn},
                    centres=_disc(files.get(stem + _NOTES)),
                )
            )
        problems += missing_problems(bad, "The authors leave this photograph out, and so it is.")
        problems += missing_problems(others, "A drawing that is no exudate is left out.")
        return cls(root, samples, problems)


def _read_drawings(listed: Path | None, drawn: Path | None) -> tuple[Truth | None, list[str], str]:
    """Return what was drawn, the names of what is no exudate, and why it cannot be known."""
    if listed is None:
        return None, [], "" if drawn is None else "The list of drawings (GND) is missing"
    lines = read_text(listed, encoding="latin-1").splitlines()
    if lines and lines[0].strip().upper().startswith(_VERSION):
        lines = lines[1:]
    number = lines[0].strip() if lines else ""
    if not re.fullmatch(r"[0-9]{1,6}", number) or int(number) > len(lines) - 1:
        return None, [], f"{listed.name} is damaged"
    names = [line.strip() for line in lines[1 : int(number) + 1]]
    exudates = {n for n, name in enumerate(names, 1) if "exudate" in name.casefold()}
    others = [name for n, name in enumerate(names, 1) if n not in exudates]
    if not exudates:
        return None, others, ""
    if drawn is None:
        return None, others, "The map of the drawings is missing"
    return BlobTruth(drawn, frozenset(exudates)), others, ""


def _disc(notes: Path | None) -> dict[str, tuple[float, float]]:
    """Return the centre of the disc; the file counts rows and columns from 1."""
    if notes is None:
        return {}
    text = read_text(notes, encoding="latin-1")
    row, col = (
        parse_number(found[1] if found else None)
        for found in (
            re.search(rf"ON{axis}\W+([0-9.]+)", text, re.IGNORECASE) for axis in ("row", "col")
        )
    )
    return {} if row is None or col is None else {Lesion.OD: (row - 1, col - 1)}
