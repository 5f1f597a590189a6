"""Lesions as GeoJSON features that QuPath opens as annotations or detections."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Literal

from PIL import ImageColor

from napari_fundus.export.polygons import instance_masks, pixel_polygons
from napari_fundus.export.tables import lesion_measurements, provenance_record
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import write_json

_MEASUREMENTS = {
    "area_percent": "Area % of field of view",
    "distance_to_disc_px": "Distance to disc px",
    "distance_to_disc_dd": "Distance to disc DD",
    "distance_to_fovea_px": "Distance to fovea px",
    "distance_to_fovea_dd": "Distance to fovea DD",
}
"""Names in QuPath of what `napari_fundus.quantify` measures; QuPath takes numbers alone."""

ObjectType = Literal["annotation", "detection"]


def write_geojson(
    detections: Detections,
    path: str | Path,
    *,
    object_type: ObjectType = "annotation",
    overwrite: bool = False,
) -> None:
    """Write the lesions as a GeoJSON file; see :func:`to_geojson`."""
    content = to_geojson(detections, object_type=object_type)
    write_json(path, content, overwrite=overwrite, indent=0)


def to_geojson(detections: Detections, *, object_type: ObjectType = "annotation") -> dict[str, Any]:
    """Return a FeatureCollection with one feature a lesion.

    Coordinates are (x, y) in pixels of the image with (0, 0) at the outer corner of its first
    pixel, as QuPath has it; outlines run along the edges of the pixels, so that they rasterize
    back to the very mask. A lesion of several 4-connected parts is a MultiPolygon.

    Parameters
    ----------
    detections
        The result.
    object_type
        What the features become in QuPath: annotations can be edited, detections are quicker
        where there are many thousands.
    """
    image = uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{detections.provenance.image_sha256}")
    features = []
    extents = lesion_measurements(detections)
    for row, mask in instance_masks(detections):
        info = describe(row.lesion)
        polygons = pixel_polygons(mask, offset=(row.bbox_row_start, row.bbox_col_start))
        single = len(polygons) == 1
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(image, f"{row.lesion} {row.id}")),
                "geometry": {
                    "type": "Polygon" if single else "MultiPolygon",
                    "coordinates": polygons[0] if single else polygons,
                },
                "properties": {
                    "objectType": object_type,
                    "name": f"{row.lesion} {row.id}",
                    "classification": {
                        "name": info.name,
                        "color": list(ImageColor.getrgb(info.colour)),
                    },
                    "isLocked": False,
                    "measurements": {
                        "Instance id": row.id,
                        "Score": row.score,
                        "Mean probability": row.mean_probability,
                        "Area px": row.area_px,
                        "Equivalent diameter px": row.equivalent_diameter_px,
                        **{
                            _MEASUREMENTS[name]: value
                            for name, value in extents[row.id].items()
                            if name in _MEASUREMENTS
                        },
                    },
                },
            }
        )
    return {
        "type": "FeatureCollection",
        "features": features,
        "napari_fundus": provenance_record(detections),
    }
