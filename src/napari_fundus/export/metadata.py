"""What stands beside the maps in a file that holds a whole result, and the result made of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_fundus._version import __version__
from napari_fundus.export.tables import provenance_record
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.objects import LesionObject
from napari_fundus.results.rle import decode_rle, encode_rle

_MOST_COVERED = 64
"""How many times the image's pixels the boxes of all objects may cover, in a file that is sound."""


class Page(NamedTuple):
    """One image among those of a file: a map, labels, or the field of view."""

    kind: str
    code: str
    array: npt.NDArray[Any]


class PageInfo(BaseModel):
    """What a page is."""

    kind: str
    lesion: str


class RleObject(BaseModel):
    """A lesion as an object, its mask as run lengths within its box."""

    lesion: str
    score: float
    row: int
    col: int
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    counts: str


class ResultMetadata(BaseModel):
    """All of a result but its pages."""

    provenance: Provenance
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    min_area: Annotated[int, Field(ge=1)]
    image_score: dict[str, float]
    has_boxes: bool
    # Files of earlier versions do not have these two.
    given_landmarks: Landmarks = Landmarks()
    objects: tuple[RleObject, ...] = ()
    pages: tuple[PageInfo, ...]


def detection_pages(detections: Detections) -> list[Page]:
    """Return all maps: those of probability, the heat maps, those of single stages; float32."""
    pages = [Page("probability", str(c), a) for c, a in detections.probability.items()]
    pages += [Page("heatmap", str(c), a) for c, a in detections.heatmap.items()]
    return pages + [Page("stage", title, a) for title, a in detections.stages.items()]


def page_title(page: Page) -> str:
    """Return what people call a page."""
    title = describe(page.code).name if page.code and page.kind != "stage" else page.code
    return " ".join(part for part in (title, page.kind) if part)


def result_metadata(
    detections: Detections, pages: Iterable[Page], *, with_objects: bool = True
) -> dict[str, Any]:
    """Return what `ResultMetadata` reads, as JSON has it."""
    objects = detections.objects if with_objects else ()
    return {
        "napari_fundus": __version__,
        **provenance_record(detections),
        **({"objects": [_packed(found).model_dump() for found in objects]} if objects else {}),
        "has_boxes": detections.has_boxes,
        "given_landmarks": detections.given_landmarks.model_dump(mode="json"),
        "pages": [{"kind": page.kind, "lesion": page.code} for page in pages],
    }


def to_detections(head: ResultMetadata, pages: Iterable[Page]) -> Detections:
    """Return the result that a head and its pages are of.

    Raises
    ------
    ValueError
        The objects do not fit the image.
    """
    objects = tuple(_unpacked(head.objects, head.provenance.image_shape))
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


def _packed(found: LesionObject) -> RleObject:
    height, width = found.mask.shape
    return RleObject(
        lesion=str(found.lesion),
        score=float(found.score),
        row=int(found.row),
        col=int(found.col),
        size=(height, width),
        counts=encode_rle(found.mask, (0, 0), (height, width)),
    )


def _unpacked(objects: Sequence[RleObject], shape: tuple[int, int]) -> Iterator[LesionObject]:
    if sum(math.prod(one.size) for one in objects) > _MOST_COVERED * math.prod(shape):
        raise ValueError("its objects would fill the memory")
    for one in objects:
        (height, width), (row, col) = one.size, (one.row, one.col)
        if not (0 <= row <= shape[0] - height and 0 <= col <= shape[1] - width):
            raise ValueError(f"{height}×{width} px at {row}, {col} are not in the image")
        box = decode_rle(one.counts, one.size)
        if box is None:
            raise ValueError("an object has no pixel")
        yield LesionObject(one.lesion, one.score, row + box[0], col + box[1], box[2])
