"""Labels, maps of probability and objects as tiled, compressed TIFF files, and their reading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from pydantic import BaseModel, Field

from napari_fundus import __version__
from napari_fundus.detections import Detections, Provenance
from napari_fundus.errors import FundusError
from napari_fundus.export.tables import provenance_record
from napari_fundus.files import atomic_write
from napari_fundus.image import MAX_PIXELS
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import describe
from napari_fundus.objects import LesionObject
from napari_fundus.run_lengths import decode_runs, encode_runs

__all__ = [
    "encoded_tiles",
    "read_labels_tiff",
    "read_probability_tiff",
    "write_labels_tiff",
    "write_probability_tiff",
]

_TILE = (256, 256)
_PAGE_NAME = 285
_BIGTIFF_FROM = 3_500_000_000
_HORIZONTAL, _FLOATING_POINT = 2, 3
_MOST_COVERED = 64
"""How many times the image's pixels the boxes of all objects may cover, in a file that is sound."""


class _Page(NamedTuple):
    kind: str
    code: str
    array: npt.NDArray[Any]


class _Entry(BaseModel):
    kind: str
    lesion: str


class _Object(BaseModel):
    """A lesion as an object, its mask as run lengths within its box."""

    lesion: str
    score: float
    row: int
    col: int
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    counts: str


class _Head(BaseModel):
    """What stands in the first page's description."""

    provenance: Provenance
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    min_area: Annotated[int, Field(ge=1)]
    image_score: dict[str, float]
    has_boxes: bool
    # Files of earlier versions do not have these two.
    given_landmarks: Landmarks = Landmarks()
    objects: tuple[_Object, ...] = ()
    pages: tuple[_Entry, ...]


def write_labels_tiff(detections: Detections, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the labels: int32, one page a class, 0 for none, values as in the table's ``id``.

    Each page bears the name of its class; the first one's ImageDescription holds the provenance
    as JSON. Where the detector finds no class at all, the file holds one empty page.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    pages = [_Page("labels", str(code), array) for code, array in detections.labels.items()]
    _write(path, pages or [_empty_page(detections)], detections, overwrite=overwrite)


def write_probability_tiff(
    detections: Detections, path: str | Path, *, overwrite: bool = False
) -> None:
    """Write everything that a result is made of, without loss: maps, objects, field of view.

    The maps of probability come first, then the heat maps and those of single stages, each a page
    of float32; the field of view is a last page of uint8, 0 or 255. Objects stand beside the
    provenance, their masks as run lengths.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    pages = [_Page("probability", str(c), a) for c, a in detections.probability.items()]
    pages += [_Page("heatmap", str(c), a) for c, a in detections.heatmap.items()]
    pages += [_Page("stage", title, a) for title, a in detections.stages.items()]
    if detections.field_of_view is not None:
        disc = detections.field_of_view.astype(np.uint8) * np.uint8(255)
        pages.append(_Page("field_of_view", "", disc))
    objects = [_packed(found).model_dump() for found in detections.objects]
    told = {"objects": objects} if objects else {}
    _write(path, pages or [_empty_page(detections)], detections, told, overwrite=overwrite)


def _packed(found: LesionObject) -> _Object:
    height, width = found.mask.shape
    return _Object(
        lesion=str(found.lesion),
        score=float(found.score),
        row=int(found.row),
        col=int(found.col),
        size=(height, width),
        counts=encode_runs(found.mask, (0, 0), (height, width)),
    )


def _unpacked(told: Sequence[_Object], shape: tuple[int, int]) -> Iterator[LesionObject]:
    if sum(math.prod(one.size) for one in told) > _MOST_COVERED * math.prod(shape):
        raise ValueError("its objects would fill the memory")
    for one in told:
        (height, width), (row, col) = one.size, (one.row, one.col)
        if not (0 <= row <= shape[0] - height and 0 <= col <= shape[1] - width):
            raise ValueError(f"{height}×{width} px at {row}, {col} are not in the image")
        box = decode_runs(one.counts, one.size)
        if box is None:
            raise ValueError("an object has no pixel")
        yield LesionObject(one.lesion, one.score, row + box[0], col + box[1], box[2])


def _empty_page(detections: Detections) -> _Page:
    return _Page("none", "", np.zeros(detections.shape, np.uint8))


def _write(
    path: str | Path,
    pages: Iterable[_Page],
    detections: Detections,
    told: Mapping[str, Any] | None = None,
    *,
    overwrite: bool,
) -> None:
    pages = list(pages)
    head = {
        "napari_fundus": __version__,
        **provenance_record(detections),
        **(told or {}),
        "has_boxes": detections.has_boxes,
        "given_landmarks": detections.given_landmarks.model_dump(mode="json"),
        "pages": [{"kind": page.kind, "lesion": page.code} for page in pages],
    }
    with (
        atomic_write(path, overwrite=overwrite) as temporary,
        tifffile.TiffWriter(
            temporary, bigtiff=sum(p.array.nbytes for p in pages) > _BIGTIFF_FROM
        ) as tiff,
    ):
        for number, (kind, code, array) in enumerate(pages):
            title = describe(code).name if code and kind != "stage" else code
            name = " ".join(part for part in (title, kind) if part)
            tiff.write(
                encoded_tiles(array),
                shape=array.shape,
                dtype=array.dtype,
                tile=_TILE,
                photometric="minisblack",
                compression="zlib",
                predictor=_FLOATING_POINT if array.dtype == np.float32 else _HORIZONTAL,
                description=json.dumps(head if number == 0 else {"page": number}),
                software=f"napari-fundus {__version__}",
                metadata=None,
                extratags=[(_PAGE_NAME, "s", 0, name, True)],
            )


def encoded_tiles(array: npt.NDArray[Any]) -> Iterator[bytes]:
    """Yield the tiles as they stand in the file; of those that are all 0, one is packed for all.

    Of a label image that is nearly every tile.
    """
    floating = array.dtype == np.float32
    predict = imagecodecs.floatpred_encode if floating else imagecodecs.delta_encode

    def encoded(tile: npt.NDArray[Any]) -> bytes:
        # Level 1 packs maps to nearly the same size as level 6, several times as fast.
        return bytes(imagecodecs.deflate_encode(predict(tile, axis=-1).tobytes(), level=1))

    height, width = _TILE
    empty = encoded(np.zeros(_TILE, array.dtype))
    for top in range(0, array.shape[0], height):
        for left in range(0, array.shape[1], width):
            part = array[top : top + height, left : left + width]
            if not part.any():
                yield empty
                continue
            tile = np.zeros(_TILE, array.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield encoded(tile)


def read_labels_tiff(path: str | Path) -> tuple[dict[str, npt.NDArray[np.int32]], Provenance]:
    """Read a file of :func:`write_labels_tiff`: class code to labels, and the provenance.

    Raises
    ------
    FundusError
        The file is not one of ours, or damaged.
    """
    head, pages = _read(path)
    return (
        {page.code: page.array for page in pages if page.kind == "labels"},
        head.provenance,
    )


def read_probability_tiff(path: str | Path) -> Detections:
    """Read a file of :func:`write_probability_tiff`: a result equal to the one written.

    Raises
    ------
    FundusError
        The file is not one of ours, or damaged.
    """
    head, pages = _read(path)
    try:
        objects = tuple(_unpacked(head.objects, head.provenance.image_shape))
    except ValueError as error:
        raise FundusError(f"{path} is damaged: {error}.") from error
    kinds = "probability", "heatmap", "stage"
    maps: dict[str, dict[str, npt.NDArray[np.float32]]] = {kind: {} for kind in kinds}
    field_of_view = None
    for kind, code, array in pages:
        if kind == "field_of_view":
            field_of_view = array > 0
        elif kind in maps:
            maps[kind][code] = array
    return Detections(
        provenance=head.provenance,
        probability=maps["probability"],
        thresholds=head.thresholds,
        min_area=head.min_area,
        heatmap=maps["heatmap"],
        stages=maps["stage"],
        image_score=head.image_score,
        field_of_view=field_of_view,
        has_boxes=head.has_boxes,
        given_landmarks=head.given_landmarks,
        objects=objects,
    )


def _read(path: str | Path) -> tuple[_Head, list[_Page]]:
    # What damaged TIFFs raise is not documented; this is the boundary where all of it is caught.
    try:
        with tifffile.TiffFile(path) as tiff:
            head = _Head.model_validate_json(tiff.pages.first.description)
            pages = [
                _Page(entry.kind, entry.lesion, _array(page, head.provenance.image_shape))
                for entry, page in zip(head.pages, tiff.pages, strict=True)
            ]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise FundusError(
            f"{path} is not a TIFF written by napari-fundus, or is damaged: {error}"
        ) from error
    return head, pages


def _array(page: Any, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Decode a page of the image's shape; one that claims another is not decoded at all."""
    sides = page.tilelength, page.tilewidth
    if page.shape != shape or math.prod(shape) > MAX_PIXELS or (any(sides) and sides != _TILE):
        raise ValueError(f"a page has shape {page.shape}, the image {shape}")
    array: npt.NDArray[Any] = page.asarray()
    return array
