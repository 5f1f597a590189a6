"""Reads the files that this package writes: COCO, GeoJSON, labels, maps and OME-Zarr."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_fundus.errors import FundusError
from napari_fundus.export.formats import load_detections
from napari_fundus.export.ome_zarr import is_zarr_result
from napari_fundus.export.tiff import read_labels_tiff, read_probability_tiff
from napari_fundus.image import MAX_PIXELS
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.objects import LesionObject, objects_of_labels, score_maps
from napari_fundus.results.rle import decode_rle
from napari_fundus.runtime.files import read_json

_HEAD, _TAIL = 400, 100_000
"""Bytes at a file's start and end in which it is looked for what tells that it is ours."""

_READ_ERRORS = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValidationError,
    ValueError,
)
"""What values of other types than ours raise."""


def read_results(path: str | Path) -> Detections:
    """Read a result from a file that this package has written.

    Maps (``.probability.tif``, ``.zarr``) come back without loss. COCO, GeoJSON and labels hold the
    lesions alone: each comes back as an object with its pixels and its score (1 from labels, which
    keep none), the map of a class is the largest score of any of its objects, and what lay below
    the thresholds is not there.

    Parameters
    ----------
    path
        The file, or the folder of an OME-Zarr. Of a table, which holds no outlines, see
        `napari_fundus.export.read_csv`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FundusError
        It is not one of ours, is damaged, or holds several images.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import napari_fundus as nf
    >>> from napari_fundus.export import export
    >>> found = nf.detect(nf.sample_image_path(), "tophat")
    >>> with TemporaryDirectory() as folder:
    ...     files = export(found, folder, formats=["geojson"])
    ...     again = nf.read_results(files["geojson"])
    >>> len(again.instances) == len(found.instances)
    True
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    suffix = path.suffix.casefold()
    if is_zarr_result(path):
        return load_detections(path)
    if suffix in (".tif", ".tiff"):
        found = read_probability_tiff(path)
        return found if found.probability or found.heatmap else _from_labels(path)
    if suffix == ".csv":
        raise FundusError(
            f"{path} is a table, which holds no outlines: napari_fundus.export.read_csv reads it."
        )
    if suffix not in (".json", ".geojson"):
        raise FundusError(f"{path} is no file that napari-fundus writes a result in.")
    try:
        content = read_json(path)
        geojson = content.get("type") == "FeatureCollection"
        return _from_geojson(content) if geojson else _from_coco(content)
    except FundusError as error:
        raise FundusError(f"{path}: {error}") from error
    except _READ_ERRORS as error:
        raise FundusError(
            f"{path} was not written by napari-fundus, or is damaged: {type(error).__name__}: "
            f"{error}"
        ) from error


def _from_labels(path: Path) -> Detections:
    labels, provenance = read_labels_tiff(path)
    objects = [
        found for code, array in labels.items() for found in objects_of_labels(array, lesion=code)
    ]
    return _result(provenance, dict.fromkeys(labels, 0.5), objects)


def _from_coco(content: Mapping[str, Any]) -> Detections:
    info, images = content["info"], content["images"]
    if len(images) != 1:
        raise FundusError(
            f"it holds {len(images)} images, so that it is a data set: napari_fundus.open_dataset "
            "opens its folder."
        )
    provenance = Provenance.model_validate(info["provenance"][0])
    shape = _checked(provenance)
    codes = {one["id"]: str(one["code"]) for one in content["categories"]}
    objects = []
    for one in content["annotations"]:
        runs = one["segmentation"]
        found = decode_rle(runs["counts"], shape)
        if found is None or tuple(runs["size"]) != shape:
            raise ValueError("a lesion has no pixel in the image")
        score = float(one["score"])
        objects.append(LesionObject(codes[one["category_id"]], score, *found))
    return _result(provenance, info["thresholds"][0], objects)


def _from_geojson(content: Mapping[str, Any]) -> Detections:
    record = content["napari_fundus"]
    provenance = Provenance.model_validate(record["provenance"])
    shape = _checked(provenance)
    objects = []
    for feature in content["features"]:
        about, geometry = feature["properties"], feature["geometry"]
        code = about["name"].rpartition(" ")[0]
        rings = geometry["coordinates"]
        polygons = [rings] if geometry["type"] == "Polygon" else rings
        row, col, mask = _filled([ring for polygon in polygons for ring in polygon], shape)
        objects.append(LesionObject(code, float(about["measurements"]["Score"]), row, col, mask))
    return _result(provenance, record["thresholds"], objects)


def _filled(rings: list[Any], shape: tuple[int, int]) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Return the pixels within an odd number of rings, which run along the pixels' edges."""
    from skimage.draw import polygon

    corners = [np.array(ring, np.float64) for ring in rings]
    low = np.floor(np.min([ring.min(axis=0) for ring in corners], axis=0)).astype(int)
    high = np.ceil(np.max([ring.max(axis=0) for ring in corners], axis=0)).astype(int)
    if (low < 0).any() or high[1] > shape[0] or high[0] > shape[1]:
        raise ValueError("a lesion lies outside the image")
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.bool_)
    for ring in corners:
        x, y = (ring - low - 0.5).T
        mask[polygon(y, x, mask.shape)] ^= True
    return int(low[1]), int(low[0]), mask


def _checked(provenance: Provenance) -> tuple[int, int]:
    height, width = provenance.image_shape
    if min(height, width) < 1 or math.prod((height, width)) > MAX_PIXELS:
        raise ValueError(f"its image has {width} x {height} px")
    return height, width


def _result(
    provenance: Provenance, thresholds: Mapping[str, Any], objects: list[LesionObject]
) -> Detections:
    known = {str(code): float(value) for code, value in thresholds.items()}
    return Detections(
        provenance=provenance,
        probability=score_maps(objects, known, provenance.image_shape),
        thresholds=known,
        objects=tuple(objects),
    )


def is_result_file(path: str | Path) -> bool:
    """Say whether a JSON, GeoJSON or CSV file is one that this package writes; a quick look.

    Files of several images are data sets, and none of these.
    """
    path = Path(path)
    try:
        if path.suffix.casefold() == ".csv":
            with path.open("rb") as file:
                return file.read(80).startswith(b"id,lesion,score,mean_probability,area_px,")
        with path.open("rb") as file:
            start = file.read(_HEAD)
            file.seek(max(path.stat().st_size - _TAIL, 0))
            end = file.read(_TAIL)
    except OSError:
        return False
    if path.suffix.casefold() == ".geojson":
        return b'"napari_fundus"' in end
    return path.suffix.casefold() == ".json" and b"Lesions found by napari-fundus" in start
