"""Writing a result to one file of a chosen type, as file dialogs ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_fundus.export.formats import PROVENANCE_SUFFIX, WRITERS
from napari_fundus.export.tables import write_provenance
from napari_fundus.export.write_errors import export_errors
from napari_fundus.results.detections import Detections


@dataclass(frozen=True)
class FileType:
    """A type of file that lesions are written in.

    Attributes
    ----------
    name
        One of `napari_fundus.export.FORMATS`.
    title
        For people.
    suffix
        What file names end with.
    """

    name: str
    title: str
    suffix: str

    @property
    def filter(self) -> str:
        """The type as file dialogs list it."""
        return f"{self.title} (*{self.suffix})"


FILE_TYPES = (
    FileType("csv", "Table of lesions", ".csv"),
    FileType("coco", "COCO", ".json"),
    FileType("geojson", "GeoJSON for QuPath", ".geojson"),
    FileType("labels", "Labels as TIFF", ".tif"),
    FileType("probability", "Probability as TIFF", ".prob.tif"),
)


def write_file(
    detections: Detections, path: str | Path, name: str, *, overwrite: bool = False
) -> str:
    """Write a result and return the path; the suffix is added where it is missing.

    Provenance goes into the file, for CSV into ``<stem>.provenance.json`` beside it.

    Parameters
    ----------
    detections
        The result.
    path
        The file.
    name
        Of one of `FILE_TYPES`.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    ExportError
        It could not be written.
    """
    suffix = next(kind.suffix for kind in FILE_TYPES if kind.name == name)
    endings = (suffix, ".tiff") if suffix == ".tif" else (suffix,)
    path = str(path)
    if not path.lower().endswith(endings):
        path += suffix
    with export_errors(path):
        WRITERS[name](detections, path, overwrite=overwrite)
    if name == "csv":
        beside = Path(path).with_suffix(PROVENANCE_SUFFIX)
        with export_errors(beside):
            write_provenance(detections, beside, overwrite=overwrite)
    return path
