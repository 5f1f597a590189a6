"""Writers: a layer to CSV, COCO, GeoJSON or TIFF, by the suffix of the file.

napari does not tell a writer what type a layer is of, so each type has commands of its own.
"""

from __future__ import annotations

from typing import Any

from napari_fundus.errors import FundusError
from napari_fundus.export.single_file import write_file
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.results.layer_metadata import detections_from_layer


def _write_layer(
    path: str, data: Any, meta: dict[str, Any], form: str, layer_type: str
) -> list[str]:
    sync_preferences()
    # napari's own dialog has asked before an existing file is replaced.
    try:
        found = detections_from_layer(data, meta, layer_type)
        return [write_file(found, path, form, overwrite=True)]
    except FundusError as error:
        from napari.utils.notifications import show_warning

        show_warning(str(error))
        return []


def write_csv_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a labels layer as a table."""
    return _write_layer(path, data, meta, "csv", "labels")


def write_coco_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a labels layer as COCO JSON."""
    return _write_layer(path, data, meta, "coco", "labels")


def write_geojson_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions of a labels layer as GeoJSON."""
    return _write_layer(path, data, meta, "geojson", "labels")


def write_tiff_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer as TIFF with its provenance."""
    return _write_layer(path, data, meta, "labels", "labels")


def write_csv_boxes(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions in a result's boxes, as they now stand, as a table."""
    return _write_layer(path, data, meta, "csv", "shapes")


def write_coco_boxes(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions in a result's boxes, as they now stand, as COCO JSON."""
    return _write_layer(path, data, meta, "coco", "shapes")


def write_geojson_boxes(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions in a result's boxes, as they now stand, as GeoJSON."""
    return _write_layer(path, data, meta, "geojson", "shapes")


def write_tiff_boxes(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the lesions in a result's boxes, as they now stand, as labels in a TIFF."""
    return _write_layer(path, data, meta, "labels", "shapes")


def refuse_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Say why points are not written as lesions."""
    return _write_layer(path, data, meta, "csv", "points")
