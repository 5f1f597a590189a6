"""Small sound files of every kind that is read: what the damage starts from."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections, Provenance

__all__ = [
    "checkpoint",
    "correction",
    "exported",
    "picture",
    "png16",
    "retina",
    "tiff",
    "zarr_store",
]

SIDES = (64, 72)
"""Height and width in pixels; 64 is the least that a photograph has."""


@lru_cache
def retina() -> npt.NDArray[np.uint8]:
    """Return an orange disc with dots, uint8, (64, 72, 3)."""
    rows, cols = np.mgrid[: SIDES[0], : SIDES[1]]
    inside = np.hypot(rows - 32, cols - 36) < 30
    pixels = np.where(inside[..., np.newaxis], np.array([190, 95, 35]), 2)
    pixels += np.random.default_rng(0).integers(0, 6, pixels.shape)
    pixels[20:24, 30:34] //= 2
    return pixels.astype(np.uint8)


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return the retina as Pillow writes it, in a mode such as ``"P"``."""
    file = io.BytesIO()
    Image.fromarray(retina()).convert(mode).save(file, kind, **options)
    return file.getvalue()


def png16(*, channels: int) -> bytes:
    """Return the retina as a PNG of 16 bits a channel, of 1 or 3 channels."""
    import imagecodecs

    pixels = retina() if channels == 3 else retina()[..., 0]
    return bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * np.uint16(257)))


def tiff(array: npt.NDArray[Any] | None = None, **options: Any) -> bytes:
    """Return the retina, or another array, as tifffile writes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, retina() if array is None else array, **options)
    return file.getvalue()


def _result() -> Detections:
    probability = np.zeros(SIDES, np.float32)
    probability[20:24, 30:34] = 0.9
    return Detections(
        provenance=Provenance(
            detector="drawn",
            detector_version="1",
            package_version="0",
            options={"threshold": 0.5, "sizes": [1, 2]},
            image_name="eye",
            image_sha256="ab" * 32,
            image_shape=SIDES,
        ),
        probability={"MA": probability, "EX": probability[::-1].copy()},
        thresholds={"MA": 0.5, "EX": 0.5},
        heatmap={"MA": probability},
        image_score={"referable": 0.3},
        field_of_view=np.ones(SIDES, np.bool_),
    )


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


@lru_cache
def exported(kind: str) -> bytes:
    """Return a result as the package exports it: csv, json, coco, geojson, labels, probability."""
    from napari_fundus.export import coco, geojson, tables
    from napari_fundus.export import tiff as tiffs

    result = _result()
    more = {
        "request": {"detector": "drawn"},
        "source": {"size": 1, "mtime_ns": 2},
        "formats": ["csv"],
        "counts": {"MA": 1, "EX": 1},
    }
    writers: dict[str, Callable[[Path], object]] = {
        "csv": lambda path: tables.write_csv(result, path),
        "json": lambda path: tables.write_provenance(result, path, more=more),
        "coco": lambda path: coco.write_coco(result, path),
        "geojson": lambda path: geojson.write_geojson(result, path),
        "labels": lambda path: tiffs.write_labels_tiff(result, path),
        "probability": lambda path: tiffs.write_probability_tiff(result, path),
    }
    return _written(writers[kind], f"eye.{kind}")


@lru_cache
def zarr_store() -> dict[str, bytes]:
    """Return the files of a result as a Zarr store, by their places in it."""
    from napari_fundus.export import write_zarr

    with TemporaryDirectory() as name:
        store = Path(name) / "eye.zarr"
        write_zarr(_result(), store)
        return {
            path.relative_to(name).as_posix(): path.read_bytes()
            for path in sorted(store.rglob("*"))
            if path.is_file()
        }


@lru_cache
def checkpoint() -> bytes:
    """Return a file of weights with its card."""
    import torch

    from napari_fundus.checkpoints import ModelCard, save_checkpoint

    card = ModelCard(
        name="toy",
        detector="toy",
        lesions=("MA", "EX"),
        architecture={"filters": [4, 8], "depth": 2},
        metrics={"AUPR MA": 0.5},
    )
    tensors = {"first.weight": torch.ones(3, 4), "first.bias": torch.zeros(3)}
    return _written(lambda path: save_checkpoint(path, tensors, card), "toy.safetensors")


def hei_med_map() -> bytes:
    """Return a map of HEI-MED with two blobs."""
    blobs = np.zeros(SIDES, "<i4")
    blobs[20:24, 30:34], blobs[40:44, 30:34] = 1, 2
    head = np.array([1, SIDES[1], SIDES[0]], "<i4")
    return gzip.compress(head.tobytes() + blobs.tobytes(), mtime=0)


@lru_cache
def correction() -> dict[str, bytes]:
    """Return the files of a folder of corrections, by their place in it."""
    from napari_fundus.datasets.corrections import LesionVerdict, write_correction

    with TemporaryDirectory() as folder:
        root = Path(folder)
        disc = np.ones(SIDES, np.bool_)
        region = disc.copy()
        region[:10] = False
        image = FundusImage(retina(), name="eye", given_field_of_view=disc)
        drawn = np.zeros(SIDES, np.uint16)
        drawn[20:24, 30:34] = 1
        write_correction(
            root,
            image=image,
            labels={"MA": drawn},
            reviewed=["MA", "EX"],
            region=region,
            verdicts=[LesionVerdict(id=1, lesion="MA", verdict="accepted", score=0.9)],
        )
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def report() -> bytes:
    """Return a ``report.json`` with one detector, two curves and a FROC table."""
    curve = {
        "x": [0.0, 0.5, 1.0],
        "y": [0.0, 0.4, 0.6],
        "thresholds": [None, 0.7, 0.2],
        "images": 3,
        "positives": 9,
        "summary": 0.45,
    }
    metrics = {"at 1/8 FPI": {"estimate": 0.2}, "at 1 FPI": 0.5, "CPM": {"estimate": 0.4}}
    content = {
        "schema": "napari-fundus evaluation",
        "data": {"title": "IDRiD", "name": "idrid", "split": "test", "images": 3},
        "warnings": ["few images"],
        "detectors": [
            {
                "label": "drawn",
                "curves": {"froc": {"MA": curve}, "aupr": {"EX": curve}},
                "figures": {"froc": {"HE": {**metrics, "images": 3, "lesions": 9}}},
            }
        ],
    }
    return json.dumps(content).encode()


ROC_XML = b"""<?xml version="1.0" encoding="utf-8"?>
<set><annotations-per-image imagename="image0_training.jpg">
<annotation><mark x="30" y="22"/><lesion>microaneurysm</lesion><radius>3</radius>
<probability>0.8</probability></annotation>
<annotation><mark x="10" y="12"/></annotation></annotations-per-image></set>
"""

DIARETDB1_XML = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<imgannotooldata><imgname>diaretdb1_image001.png</imgname><markinglist>
<marking><circleregion><centroid><coords2d>30,22</coords2d></centroid>
<radius direction="x">4</radius></circleregion>
<representativepoint><coords2d>30,22</coords2d></representativepoint>
<confidencelevel>High</confidencelevel><markingtype>Red_small_dots</markingtype></marking>
<marking><ellipseregion><centroid><coords2d>40,40</coords2d></centroid>
<radius direction="x">6</radius><radius direction="y">3</radius>
<rotangle><angle>30</angle></rotangle></ellipseregion>
<confidencelevel>Medium</confidencelevel><markingtype>Haemorrhages</markingtype></marking>
<marking><polygonregion><centroid><coords2d>20,20</coords2d></centroid><coords2d>10,10</coords2d>
<coords2d>20,10</coords2d><coords2d>20,30</coords2d></polygonregion>
<confidencelevel>Low</confidencelevel><markingtype>Hard_exudates</markingtype></marking>
</markinglist></imgannotooldata>
"""

VIA_CSV = b"""filename,file_size,region_count,region_id,region_shape_attributes,region_attributes
eye.png,1,3,0,"{""name"":""rect"",""x"":3,""y"":4,""width"":5,""height"":6}","{""Lesion"":""MA""}"
eye.png,1,3,1,"{""name"":""polygon"",""all_points_x"":[1,9,9],""all_points_y"":[1,1,9]}","{""Lesion"":""EX""}"
eye.png,1,3,2,"{""name"":""ellipse"",""cx"":30,""cy"":30,""rx"":5,""ry"":3,""theta"":0.5}","{""Lesion"":{""HE"":true}}"
"""

VIA_JSON = b"""{"_via_settings": {}, "_via_img_metadata": {"eye.png1": {"filename": "eye.png",
"size": 1, "regions": [
{"shape_attributes": {"name": "rect", "x": 3, "y": 4, "width": 5, "height": 6},
"region_attributes": {"Lesion": "MA"}},
{"shape_attributes": {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]},
"region_attributes": {"Lesion": {"EX": true}}}],
"file_attributes": {}}}, "_via_data_format_version": "2.0.10"}
"""

COCO_JSON = b"""{"images": [{"id": 1, "file_name": "eye.png", "height": 64, "width": 72}],
"categories": [{"id": 1, "name": "MA"}, {"id": 2, "name": "Exudate"}],
"annotations": [
{"id": 1, "image_id": 1, "category_id": 1, "segmentation":
[[1, 1, 9, 1, 9, 9], [20, 20, 30, 20, 25, 30]]},
{"id": 2, "image_id": 1, "category_id": 2, "segmentation":
{"size": [64, 72], "counts": "dl14l10000000\\\\Y2"}},
{"id": 3, "image_id": 1, "category_id": 2, "segmentation":
{"size": [64, 72], "counts": [70, 5, 59, 5]}},
{"id": 4, "image_id": 1, "category_id": 1, "bbox": [3, 4, 5, 6]}]}
"""

GRADES_CSV = b"id_code,diagnosis\neye,2\nother,0\n"
MESSIDOR_CSV = (
    b"image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\neye.png,3,1,1\n"
)
IDRID_CSV = b"Image No,X- Coordinate,Y - Coordinate,,\nIDRiD_01,30,22,,\nIDRiD_02,31,23,,\n"
SUMMARY_CSV = b"path,status,place,MA,seconds,message\n/photographs/eye.png,written,eye,2,0.5,\n"
