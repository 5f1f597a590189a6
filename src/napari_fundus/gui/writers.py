"""Writers: a layer to CSV, COCO, GeoJSON or TIFF, by the suffix of the file."""

from __future__ import annotations

from typing import Any

from napari_fundus.errors import FundusError
from napari_fundus.export.single_file import write_file
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.results.layer_metadata import detections_from_layer


def _write_layer(path: str, data: Any, meta: dict[str, Any], form: str) -> list[str]:
    sync_preferences()
    # napari's own dialog has asked before an existing file is replaced.
    try:
        return [write_file(detections_from_layer(data, meta), path, form, overwrite=True)]
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
