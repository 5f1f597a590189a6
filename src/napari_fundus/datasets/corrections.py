"""Corrected images as a data set: what a person reviewed, and the masks that came of it.

A folder of corrections holds a marker and a folder for each image::

    corrections/
      napari-fundus-corrections.json     marks the folder
      IDRiD_13-3f2a9c1e4b5d/             name, and start of the SHA-256 of the pixels
        correction.json                  see `Correction`; names the files below
        image.jpg                        copy of the file, or the pixels as PNG
        MA-9c41d2aa.tif                  labels: each lesion its own value, 0 for none
        region-51b0c7f2.png              where the person looked, unless everywhere
        field_of_view.png                where the image came with one

``correction.json`` is replaced in one step after all other files are written, so that a folder is
at any time as before or as after a save. A later review of the same image replaces the classes that
it reviewed and leaves the others as they were. The source of the images is only ever read.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_fundus._version import __version__
from napari_fundus.datasets.annotations import OwnMaskTruth
from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.correction_files import (
    CorrectedImage,
    FileName,
    copy_image,
    write_labels,
    write_region,
)
from napari_fundus.datasets.files import (
    find_path,
    find_root,
    iter_files,
    list_subfolders,
    missing_problems,
)
from napari_fundus.errors import DatasetError, OutputExistsError
from napari_fundus.image import FundusImage
from napari_fundus.runtime.files import read_bytes, write_json

CORRECTIONS_MARKER = "napari-fundus-corrections.json"
"""File that marks a folder of corrections."""

SCHEMA_VERSION = 1
"""Of ``correction.json``; files of later versions are refused."""

_RECORD = "correction.json"
_ENTRY = re.compile(r"-[0-9a-f]{12}$")

Verdict = Literal["accepted", "rejected", "relabelled", "drawn", "edited"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class LesionVerdict(_Record):
    """What a person said of one lesion.

    Attributes
    ----------
    id
        Its value in the labels; one that was rejected has no pixel there.
    lesion
        Class code, as corrected.
    verdict
        ``"accepted"``, ``"rejected"``, ``"relabelled"`` (found as another class), ``"drawn"`` (by
        hand) or ``"edited"`` (found, with pixels added or taken away).
    detected
        Class that the detector gave; None for what was drawn.
    score
        Of the detector, in [0, 1], where it gave one.
    """

    id: int
    lesion: str
    verdict: Verdict
    detected: str | None = None
    score: float | None = None


class ReviewedClass(_Record):
    """One class of one image.

    Attributes
    ----------
    mask
        File of its labels.
    lesions
        Number of lesions in it.
    region
        File of the mask of what was looked at; None for the whole field of view.
    time
        When it was saved, ISO 8601.
    provenance
        Of the detector whose result was corrected.
    verdicts
        Of its lesions; those without one were left as they were found.
    """

    mask: FileName
    lesions: int
    region: FileName | None = None
    time: str
    provenance: dict[str, Any] | None = None
    verdicts: tuple[LesionVerdict, ...] = ()


class Correction(_Record):
    """Content of ``correction.json``."""

    schema_version: int = SCHEMA_VERSION
    package_version: str = __version__
    image: CorrectedImage
    classes: dict[str, ReviewedClass]


def write_correction(
    folder: str | Path,
    *,
    image: FundusImage,
    labels: Mapping[str, npt.NDArray[Any]],
    reviewed: Sequence[str],
    region: npt.NDArray[np.bool_] | None = None,
    provenance: BaseModel | Mapping[str, Any] | None = None,
    verdicts: Iterable[LesionVerdict] = (),
    overwrite: bool = False,
) -> Path:
    """Write the corrected lesions of an image into a folder of corrections.

    Parameters
    ----------
    folder
        Of corrections, empty, or not yet there.
    image
        The image, which is copied.
    labels
        Class code to labels: integer (each lesion its own value, 0 for none) or bool (each
        8-connected component a lesion), shape (H, W).
    reviewed
        Classes that were looked for. One without labels was looked for and not found; labels of
        other classes are not written, since nobody vouches for them.
    region
        bool, shape (H, W): where was looked; None for everywhere. Labels outside are left out.
    provenance
        Of the detector whose result was corrected.
    verdicts
        Of single lesions.
    overwrite
        Whether an earlier review of the same class of the same image may be replaced.

    Returns
    -------
    Path
        The image's folder.

    Raises
    ------
    DatasetError
        The folder holds something else, or the arrays do not fit.
    OutputExistsError
        A class was reviewed before, and `overwrite` is False.
    """
    root, codes = Path(folder).expanduser(), list(dict.fromkeys(map(str, reviewed)))
    if not codes:
        raise DatasetError("Say which classes were reviewed: without that, nothing can be learned.")
    for name, array in (*labels.items(), ("region", region)):
        if array is not None and np.shape(array) != image.shape:
            raise DatasetError(f"{name} has shape {np.shape(array)}, the image {image.shape}.")
    _ensure_folder(root)
    place = _correction_folder(root, image)
    before = read_correction(place) if (place / _RECORD).is_file() else None
    known = dict(before.classes) if before is not None else {}
    if again := [code for code in codes if code in known and not overwrite]:
        raise OutputExistsError(f"{', '.join(again)} of {image.name} was reviewed before: {place}.")
    picture = before.image if before is not None else copy_image(place, image)
    area = None if region is None or np.all(region) else np.asarray(region, np.bool_)
    area_file = None if area is None else write_region(place, area)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if isinstance(provenance, BaseModel):
        provenance = provenance.model_dump(mode="json")
    given = list(verdicts)
    for code in codes:
        name = f"{code}-{secrets.token_hex(4)}.tif"
        known[code] = ReviewedClass(
            mask=name,
            lesions=write_labels(place / name, labels.get(code), area, image.shape),
            region=area_file,
            time=now,
            provenance=None if provenance is None else dict(provenance),
            verdicts=tuple(v for v in given if code in (v.lesion, v.detected)),
        )
    record = Correction(image=picture, classes=known)
    write_json(place / _RECORD, record.model_dump(mode="json"), overwrite=True)
    used = {name for part in known.values() for name in (part.mask, part.region)}
    for path in (*place.glob("*-*.tif"), *place.glob("region-*.png")):
        if path.name not in used:
            path.unlink()
    return place


def read_correction(place: str | Path) -> Correction:
    """Read ``correction.json`` of an image's folder.

    Raises
    ------
    DatasetError
        It is missing, damaged or of a later version.
    """
    path = Path(place) / _RECORD
    try:
        record = Correction.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing.") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise DatasetError(f"{path} is damaged: {first['loc']} {first['msg']}.") from error
    if record.schema_version > SCHEMA_VERSION:
        raise DatasetError(
            f"{path} is of version {record.schema_version}; this napari-fundus knows "
            f"{SCHEMA_VERSION}. Update it."
        )
    return record


class Corrections(Dataset):
    """Images whose lesions a person reviewed, as `write_correction` keeps them.

    An image whose classes were reviewed in different regions gives one sample a region; these stay
    together in every split.
    """

    name = "corrections"
    title = "Corrections made in napari-fundus"
    layout = f"a file {CORRECTIONS_MARKER}"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root of this data set if `folder` is one, or lies inside one; else None."""
        return find_root(
            folder,
            lambda f: find_path(f, CORRECTIONS_MARKER) is not None,
            inner_folders=_ENTRY.pattern,
        )

    @classmethod
    def open(cls, root: Path) -> Corrections:
        """Read the records below `root`, but no image."""
        samples: list[Sample] = []
        problems: list[Problem] = []
        for place in list_subfolders(root):
            if not _ENTRY.search(place.name):
                continue
            try:
                record = read_correction(place)
            except DatasetError as error:
                problems.append(Problem(place.name, str(error)))
                continue
            lacking = [name for name in _files(record) if not (place / name).is_file()]
            problems += missing_problems(
                (f"{place.name}/{n}" for n in lacking), "This file is missing."
            )
            if not lacking:
                samples += _samples(place, record)
        return cls(root, sorted(samples, key=lambda sample: sample.id), problems)


def _files(record: Correction) -> list[str]:
    parts = [name for part in record.classes.values() for name in (part.mask, part.region)]
    return [n for n in (record.image.file, record.image.field_of_view, *parts) if n is not None]


def _samples(place: Path, record: Correction) -> list[Sample]:
    by_region: dict[str | None, list[str]] = {}
    for code, part in record.classes.items():
        by_region.setdefault(part.region, []).append(code)
    disc = record.image.field_of_view
    return [
        Sample(
            place.name if len(by_region) == 1 else f"{place.name}/{'-'.join(sorted(codes))}",
            place / record.image.file,
            annotated=frozenset(codes),
            truths={
                code: OwnMaskTruth(place / record.classes[code].mask)
                for code in codes
                if record.classes[code].lesions
            },
            field_of_view_path=None if disc is None else place / disc,
            group=record.image.sha256[:12],
            region_path=None if region is None else place / region,
        )
        for region, codes in by_region.items()
    ]


def _ensure_folder(root: Path) -> None:
    """Make the folder, or refuse one that holds something else."""
    if find_path(root, CORRECTIONS_MARKER) is not None:
        return
    if root.exists() and next(iter_files(root, depth=1), None) is not None:
        raise DatasetError(
            f"{root} holds other files. Choose an empty folder for corrections, or one that has "
            "some already."
        )
    content = {"content": "Lesions corrected in napari-fundus", "schema_version": SCHEMA_VERSION}
    write_json(root / CORRECTIONS_MARKER, content)


def _correction_folder(root: Path, image: FundusImage) -> Path:
    digest = image.sha256[:12]
    found = [place for place in list_subfolders(root) if place.name.endswith(f"-{digest}")]
    bare = re.sub(r"[^\w.-]+", "_", image.name).strip("._")[:60] or "image"
    return found[0] if found else root / f"{bare}-{digest}"
