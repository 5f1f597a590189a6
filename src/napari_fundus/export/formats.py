"""The formats by name, and the writing of one result in several of them, all or nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import OptionsError
from napari_fundus.export.coco import write_coco
from napari_fundus.export.geojson import write_geojson
from napari_fundus.export.ome_zarr import check_zarr, read_zarr, write_zarr
from napari_fundus.export.overlay import write_overlay
from napari_fundus.export.staging import check_free, move_into_place, staging_folder
from napari_fundus.export.tables import write_csv, write_provenance
from napari_fundus.export.tiff import (
    read_probability_tiff,
    write_labels_tiff,
    write_probability_tiff,
)
from napari_fundus.export.write_errors import export_errors
from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import read_json


@dataclass(frozen=True)
class ExportFormat:
    """A kind of file.

    Attributes
    ----------
    name
        As on the command line.
    suffix
        What follows the image's name.
    title
        For people.
    """

    name: str
    suffix: str
    title: str


FORMATS: dict[str, ExportFormat] = {
    form.name: form
    for form in (
        ExportFormat("csv", ".csv", "Table of lesions"),
        ExportFormat("coco", ".coco.json", "COCO JSON"),
        ExportFormat("geojson", ".geojson", "GeoJSON for QuPath"),
        ExportFormat("labels", ".labels.tif", "Label TIFF, one page a class"),
        ExportFormat("probability", ".probability.tif", "Probability TIFF, the whole result"),
        ExportFormat("zarr", ".zarr", "OME-Zarr, the whole result"),
        ExportFormat("overlay", ".overlay.jpg", "Picture with outlines"),
    )
}
"""All formats that a result can be written in."""

DEFAULT_FORMATS = ("csv", "geojson", "labels", "overlay")
"""What is written where nothing else is asked for; maps are large."""

PREPROCESSED = ".preprocessed"
"""What follows the image's name in that of its preprocessed picture, before the suffix."""

PROVENANCE_SUFFIX = ".provenance.json"
"""What the file beside every export is called: where the result comes from."""

WRITERS = {
    "csv": write_csv,
    "coco": write_coco,
    "geojson": write_geojson,
    "labels": write_labels_tiff,
    "probability": write_probability_tiff,
    "zarr": write_zarr,
}


def check_formats(names: Collection[str]) -> tuple[str, ...]:
    """Return the names without repetition, in the order of `FORMATS`.

    Raises
    ------
    OptionsError
        One of them is not known, or needs a library that is not installed, or there is none.
    """
    if unknown := sorted(set(names) - set(FORMATS)):
        raise OptionsError(f"Unknown format {', '.join(unknown)}. There are: {', '.join(FORMATS)}.")
    if not names:
        raise OptionsError(f"No format was given. There are: {', '.join(FORMATS)}.")
    if "zarr" in names:
        check_zarr()
    return tuple(name for name in FORMATS if name in names)


def is_export(name: str) -> bool:
    """Say whether a file name is that of a picture or TIFF that this package writes."""
    ours = (FORMATS[form].suffix for form in ("labels", "probability", "overlay"))
    prepared = (f"{PREPROCESSED}{suffix}" for suffix in (".png", ".tif"))
    return name.casefold().endswith((*ours, *prepared))


def safe_stem(name: str) -> str:
    r"""Return a name that every file system takes.

    Examples
    --------
    >>> safe_stem("left/eye: 2")
    'left_eye_ 2'
    """
    return re.sub(r'[\\/:*?"<>|\x00-\x1f\ud800-\udfff]', "_", name).strip(". ") or "image"


def export(
    detections: Detections,
    folder: str | Path,
    stem: str | None = None,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    image: FundusImage | None = None,
    truth: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    more: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write a result as ``<folder>/<stem>.csv``, ``<stem>.geojson`` and so on.

    All files are first written to a hidden folder beside their places and then renamed, the
    provenance last: it is there only if all the others are.

    Parameters
    ----------
    detections
        The result.
    folder
        Where to; made if it is missing.
    stem
        Name of the files; None for the image's name.
    formats
        Names out of `FORMATS`.
    image, truth
        For the overlay: the photograph, and the experts' masks if there are any.
    more
        Further entries of the provenance file.
    overwrite
        Whether existing files may be replaced.

    Returns
    -------
    dict
        Format, and ``"provenance"``, to the file written.

    Raises
    ------
    OutputExistsError
        One of the files exists, and `overwrite` is False; nothing was written.
    OptionsError
        A format is not known, or the overlay was asked for without an image.
    ExportError
        A file could not be written; nothing was.
    """
    names = check_formats(formats)
    if "overlay" in names and image is None:
        raise OptionsError("The overlay needs the image.")
    folder = Path(folder)
    stem = safe_stem(detections.provenance.image_name) if stem is None else stem
    targets = {name: folder / f"{stem}{FORMATS[name].suffix}" for name in names}
    targets["provenance"] = folder / f"{stem}{PROVENANCE_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    for target in targets.values():
        check_free(target, folder, stem, overwrite=overwrite)
    with staging_folder(folder, stem) as staging:
        for name in names:
            path = staging / targets[name].name
            with export_errors(targets[name]):
                if image is not None and name == "overlay":
                    write_overlay(image, detections, path, truth=truth, overwrite=True)
                else:
                    WRITERS[name](detections, path, overwrite=True)
        marker = staging / targets["provenance"].name
        with export_errors(targets["provenance"]):
            write_provenance(detections, marker, more=more, overwrite=True)
        stale = _stale_files(targets["provenance"], folder, stem, more or {}) if overwrite else ()
        move_into_place(staging, targets.values(), folder, stem, overwrite=overwrite, remove=stale)
    return targets


def _stale_files(provenance: Path, folder: Path, stem: str, more: Mapping[str, Any]) -> list[Path]:
    """Return files of an earlier batch that the new result would leave beside its own."""
    if "formats" not in more:
        return []  # a single export: other files may be of other exports
    try:
        known = read_json(provenance)["formats"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    earlier = known if isinstance(known, list) else []
    left = [n for n in earlier if isinstance(n, str) and n in FORMATS and n not in more["formats"]]
    return [folder / f"{stem}{FORMATS[name].suffix}" for name in left]


def load_detections(path: str | Path) -> Detections:
    """Read back a result that was exported with the format ``probability`` or ``zarr``.

    Parameters
    ----------
    path
        ``<folder>/<stem>``, or ``<stem>.probability.tif`` or ``<stem>.zarr`` itself.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FundusError
        The file is damaged or not one of ours.
    """
    path = Path(path)
    suffix, folder = (FORMATS[name].suffix for name in ("probability", "zarr"))
    if path.name.casefold().endswith(folder):
        return read_zarr(path)
    if not path.name.casefold().endswith((suffix, ".tif", ".tiff")):
        store = path.with_name(path.name + folder)
        path = path.with_name(path.name + suffix)
        if not path.exists() and store.is_dir():
            return read_zarr(store)
    return read_probability_tiff(path)
