"""Small pictures of lesions found, lesions missed and false detections, chosen as images go by."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.metrics.lesion_matching import ClassMatch
from napari_fundus.results.detections import Detections

CropKind = Literal["hit", "miss", "false"]
Box = tuple[int, int, int, int]

_SIDE = 160
"""Side of a kept crop in pixels: larger windows are reduced."""

_LEAST = 1 / 36
"""Least side of the window, as a share of the image's longer side: about 120 px of IDRiD's 4288."""

_ROOM = 2.2
"""Side of the window, in sides of the lesion."""


@dataclass(frozen=True, eq=False)
class Crop:
    """One lesion or detection.

    Attributes
    ----------
    kind
        ``"hit"``, ``"miss"`` or ``"false"``.
    pixels
        uint8, shape (160, 160, 3).
    truth, detection
        bool, shape (160, 160): what experts drew, and what was detected.
    score
        Largest probability inside.
    area
        Pixels of the lesion's or detection's box, in the image.
    image
        Id of the sample.
    side
        Side of the window in pixels of the image.
    """

    kind: CropKind
    pixels: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.bool_]
    detection: npt.NDArray[np.bool_]
    score: float
    area: int
    image: str
    side: int


@dataclass(frozen=True, eq=False)
class _Candidate:
    rank: float
    score: float
    box: Box


@dataclass(order=True)
class _RankedCrop:
    rank: float
    number: int
    crop: Crop = field(compare=False)


class CropCollector:
    """Keeps the most telling crops of each class: a fixed number, however many images come by.

    Hits are a sample drawn at random (by a hash, so the same in every run), misses the largest
    lesions, false detections those of the highest score. At most three of a kind come from one
    image, so that one bad image does not fill the page.

    Parameters
    ----------
    most
        Crops of each kind and class.
    per_image
        Most of them from one image.
    """

    def __init__(self, most: int = 16, *, per_image: int = 3) -> None:
        self.most, self.per_image = most, per_image
        self._kept: defaultdict[tuple[str, CropKind], list[_RankedCrop]] = defaultdict(list)
        self._totals: defaultdict[tuple[str, CropKind], int] = defaultdict(int)
        self._number = 0

    def add(self, detections: Detections, case: Case) -> None:
        """Look at one image."""
        for code in (*case.annotated, *case.absent):
            if code not in detections.probability:
                continue
            match = case.match(detections, code)
            for kind, candidates in _candidates(match, f"{case.sample.id} {code}"):
                self._totals[code, kind] += len(candidates)
                best = sorted(candidates, key=lambda c: -c.rank)[: self.per_image]
                for candidate in best:
                    self._offer(code, kind, candidate, case, detections)

    def _offer(
        self, code: str, kind: CropKind, candidate: _Candidate, case: Case, detections: Detections
    ) -> None:
        kept = self._kept[code, kind]
        if len(kept) >= self.most and candidate.rank <= kept[0].rank:
            return
        self._number += 1
        masks = case.truth(code), detections.labels[code] > 0
        item = _RankedCrop(candidate.rank, -self._number, _make_crop(kind, candidate, case, *masks))
        if len(kept) < self.most:
            heapq.heappush(kept, item)
        else:
            heapq.heapreplace(kept, item)

    def classes(self) -> list[str]:
        """Return the classes that something is kept of."""
        return list(dict.fromkeys(code for code, _ in self._kept))

    def total(self, lesion: str, kind: CropKind) -> int:
        """Return how many there are in all images."""
        return self._totals[lesion, kind]

    def crops(self, lesion: str, kind: CropKind) -> list[Crop]:
        """Return what is kept: misses by falling size, the others by falling score."""
        found = [item.crop for item in self._kept[lesion, kind]]
        if kind == "miss":
            return sorted(found, key=lambda crop: (-crop.area, crop.image))
        return sorted(found, key=lambda crop: (-crop.score, crop.image))


def _candidates(match: ClassMatch, name: str) -> Iterator[tuple[CropKind, list[_Candidate]]]:
    hits: list[_Candidate] = []
    misses: list[_Candidate] = []
    scores, found = match.true["peak"].tolist(), match.true["found"].tolist()
    for number, (box, score) in enumerate(zip(_boxes(match.true), scores, strict=True)):
        if found[number]:
            hits.append(_Candidate(_hash_fraction(f"{name} {number}"), score, box))
        else:
            misses.append(_Candidate(float(_area(box)), score, box))
    false = [
        _Candidate(float(score), float(score), box)
        for score, box in zip(match.false["score"], _boxes(match.false), strict=True)
    ]
    yield "hit", hits
    yield "miss", misses
    yield "false", false


def _boxes(table: pd.DataFrame) -> list[Box]:
    columns = ["bbox_row_start", "bbox_col_start", "bbox_row_stop", "bbox_col_stop"]
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in table[columns].to_numpy()]


def _hash_fraction(name: str) -> float:
    """Return a number in [0, 1) that looks random and depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _make_crop(
    kind: CropKind,
    candidate: _Candidate,
    case: Case,
    truth: npt.NDArray[np.bool_],
    detected: npt.NDArray[np.bool_],
) -> Crop:
    top, left, bottom, right = candidate.box
    side = round(max(_ROOM * max(bottom - top, right - left), _LEAST * max(case.shape), 16))
    start = round((top + bottom - side) / 2), round((left + right - side) / 2)
    return Crop(
        kind,
        _window(case.image.rgb8, start, side),
        _window(truth.view(np.uint8), start, side) > 0,
        _window(detected.view(np.uint8), start, side) > 0,
        candidate.score,
        _area(candidate.box),
        case.sample.id,
        side,
    )


def _window(
    array: npt.NDArray[np.uint8], start: tuple[int, int], side: int
) -> npt.NDArray[np.uint8]:
    """Return a square of the array, 0 beyond its border, brought to the size of a crop."""
    result = np.zeros((side, side, *array.shape[2:]), np.uint8)
    rows = max(start[0], 0), min(start[0] + side, array.shape[0])
    cols = max(start[1], 0), min(start[1] + side, array.shape[1])
    inside = (
        slice(rows[0] - start[0], rows[1] - start[0]),
        slice(cols[0] - start[1], cols[1] - start[1]),
    )
    result[inside] = array[slice(*rows), slice(*cols)]
    if array.ndim == 2:
        way = cv2.INTER_NEAREST
    else:
        way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(result, (_SIDE, _SIDE), interpolation=way), np.uint8)
