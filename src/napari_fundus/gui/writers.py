"""Writers: a layer or a result to CSV, COCO, GeoJSON or TIFF, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_fundus.errors import FundusError
from napari_fundus.results.detections import Detections
from napari_fundus.results.edits import detections_from_layer

__all__ = [
    "FORMATS",
    "ExportFormat",
    "write_coco_layer",
    "write_csv_layer",
    "write_geojson_layer",
    "write_result",
    "write_tiff_layer",
]


@dataclass(frozen=True)
class ExportFormat:
    """A form that lesions are written in.

    Attributes
    ----------
    name
        Stable id.
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
        """As file dialogs want it."""
        return f"{self.title} (*{self.suffix})"


FORMATS = (
    ExportFormat("csv", "Table of lesions", ".csv"),
    ExportFormat("coco", "COCO", ".json"),
    ExportFormat("geojson", "GeoJSON for QuPath", ".geojson"),
    ExportFormat("labels", "Labels as TIFF", ".tif"),
    ExportFormat("probability", "Probability as TIFF", ".prob.tif"),
)


def write_result(
    detections: Detections, path: str | Path, form: str, *, overwrite: bool = False
) -> str:
    """Write a result and return the path; the suffix is added where it is missing.

    Provenance goes into the file, for CSV into ``<stem>.provenance.json`` beside it.

    Parameters
    ----------
    detections
        The result.
    path
        The file.
    form
        Name of one of `FORMATS`.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    from napari_fundus import export

    writers: dict[str, Callable[..., None]] = {
        "csv": export.write_csv,
        "coco": export.write_coco,
        "geojson": export.write_geojson,
        "labels": export.write_labels_tiff,
        "probability": export.write_probability_tiff,
    }
    chosen = next(f for f in FORMATS if f.name == form)
    endings = (chosen.suffix, ".tiff") if chosen.suffix == ".tif" else (chosen.suffix,)
    path = str(path)
    if not path.lower().endswith(endings):
        path += chosen.suffix
    writers[form](detections, path, overwrite=overwrite)
    if form == "csv":
        # The other forms have a place for it in themselves.
        beside = Path(path).with_suffix(export.PROVENANCE_SUFFIX)
        export.write_provenance(detections, beside, overwrite=overwrite)
    return path


def _write_layer(path: str, data: Any, meta: dict[str, Any], form: str) -> list[str]:
    # napari's own dialog has asked before an existing file is replaced.
    try:
        return [write_result(detections_from_layer(data, meta), path, form, overwrite=True)]
    except FundusError as error:
        from napari.utils.notifications import show_warning

        show_warning(str(error))
        return []


def write_csv_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a layer as a table."""
    return _write_layer(path, data, meta, "csv")


def write_coco_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a layer as COCO JSON."""
    return _write_layer(path, data, meta, "coco")


def write_geojson_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a layer as GeoJSON."""
    return _write_layer(path, data, meta, "geojson")


def write_tiff_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer as TIFF with its provenance."""
    return _write_layer(path, data, meta, "labels")
