"""Detections as COCO JSON, with exact masks as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_fundus._version import __version__
from napari_fundus.export.polygons import instance_masks
from napari_fundus.export.tables import lesion_measurements, provenance_record
from napari_fundus.lesions import Lesion, describe
from napari_fundus.results.detections import Detections
from napari_fundus.results.rle import encode_rle
from napari_fundus.runtime.files import write_json

_FIRST_UNKNOWN_CATEGORY = 100


def write_coco(
    detections: Detections | Sequence[Detections], path: str | Path, *, overwrite: bool = False
) -> None:
    """Write one or several images' lesions as one COCO file; see :func:`to_coco`."""
    several = [detections] if isinstance(detections, Detections) else detections
    write_json(path, to_coco(several), overwrite=overwrite, indent=0)


def to_coco(detections: Sequence[Detections]) -> dict[str, Any]:
    """Return a COCO object-detection data set.

    Category ids of known classes are the same in every file (MA 1, HE 2, EX 3, SE 4, …), so that
    files can be merged. Masks are compressed run lengths, which lose no pixel; each annotation
    carries its score too, so that the list of annotations also serves as COCO results, and under
    ``extent`` what is known of its share of the field of view and its distances to the landmarks.
    ``info`` holds the provenance of every image.
    """
    codes = sorted({code for result in detections for code in result.lesions})
    categories = _categories(codes)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, result in enumerate(detections, start=1):
        height, width = result.shape
        origin = result.provenance
        name = Path(origin.image_path).name if origin.image_path else origin.image_name
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        extents = lesion_measurements(result)
        for row, mask in instance_masks(result):
            top, left = row.bbox_row_start, row.bbox_col_start
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories[row.lesion]["id"],
                    "bbox": [left, top, mask.shape[1], mask.shape[0]],
                    "area": row.area_px,
                    "segmentation": {
                        "size": [height, width],
                        "counts": encode_rle(mask, (top, left), result.shape),
                    },
                    "iscrowd": 0,
                    "score": row.score,
                    "instance_id": row.id,
                    "extent": extents[row.id],
                }
            )
    records = [provenance_record(result) for result in detections]
    return {
        "info": {
            "description": "Lesions found by napari-fundus",
            "version": __version__,
            "date_created": max((r.provenance.created for r in detections), default=""),
            "provenance": [record["provenance"] for record in records],
            "thresholds": [record["thresholds"] for record in records],
            "min_area": [record["min_area"] for record in records],
        },
        "licenses": [],
        "images": images,
        "categories": list(categories.values()),
        "annotations": annotations,
    }


def _categories(codes: Sequence[str]) -> dict[str, dict[str, Any]]:
    known = {str(code): number for number, code in enumerate(Lesion, start=1)}
    strangers = [code for code in codes if code not in known]
    ids = known | {code: n for n, code in enumerate(strangers, start=_FIRST_UNKNOWN_CATEGORY)}
    ordered = sorted(codes, key=ids.__getitem__)
    return {
        code: {
            "id": ids[code],
            "name": describe(code).name,
            "code": code,
            "supercategory": describe(code).kind,
        }
        for code in ordered
    }
