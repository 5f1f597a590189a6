"""Results as files: CSV, COCO JSON, GeoJSON, TIFF of labels and maps, OME-Zarr, overlays.

Examples
--------
>>> from tempfile import TemporaryDirectory
>>> import napari_fundus as nf
>>> from napari_fundus.export import export
>>> image = nf.read_image(nf.sample_image_path())
>>> with TemporaryDirectory() as folder:
...     files = export(nf.detect(image, "tophat"), folder, formats=["csv", "overlay"], image=image)
>>> sorted(files)
['csv', 'overlay', 'provenance']
"""

from __future__ import annotations

from napari_fundus.export.coco import to_coco, write_coco
from napari_fundus.export.formats import (
    DEFAULT_FORMATS,
    FORMATS,
    PREPROCESSED,
    PROVENANCE_SUFFIX,
    ExportFormat,
    check_formats,
    export,
    is_export,
    load_detections,
    safe_stem,
)
from napari_fundus.export.geojson import to_geojson, write_geojson
from napari_fundus.export.ome_zarr import is_zarr_result, read_zarr, write_zarr
from napari_fundus.export.overlay import draw_overlay, write_overlay
from napari_fundus.export.result_files import is_result_file, read_results
from napari_fundus.export.tables import read_csv, read_provenance, write_csv, write_provenance
from napari_fundus.export.tiff import (
    read_labels_tiff,
    read_probability_tiff,
    write_labels_tiff,
    write_probability_tiff,
)

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "PREPROCESSED",
    "PROVENANCE_SUFFIX",
    "ExportFormat",
    "check_formats",
    "draw_overlay",
    "export",
    "is_export",
    "is_result_file",
    "is_zarr_result",
    "load_detections",
    "read_csv",
    "read_labels_tiff",
    "read_probability_tiff",
    "read_provenance",
    "read_results",
    "read_zarr",
    "safe_stem",
    "to_coco",
    "to_geojson",
    "write_coco",
    "write_csv",
    "write_geojson",
    "write_labels_tiff",
    "write_overlay",
    "write_probability_tiff",
    "write_provenance",
    "write_zarr",
]
