"""Objects of one image and class matched by COCO's rules, and the average precision of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.results.objects import LesionObject
from napari_fundus.results.rle import encode_rle

MAIN_IOU_LEVELS: tuple[float, ...] = (0.35, 0.5, 0.75)
"""Intersections over union at which the Mask R-CNN paper counts a lesion as found."""

IOU_LEVELS: tuple[float, ...] = (0.35, *(round(0.5 + 0.05 * step, 2) for step in range(10)))
"""All levels counted: the paper's, and COCO's ten from .50 to .95."""

SIZE_BOUNDS: tuple[float, ...] = (8.0, 16.0, 32.0)
"""Equivalent diameters that part small from large lesions, in pixels of the original image."""

MAX_DETECTIONS = 1000
"""Detections of a class that count in one image, the surest first; COCO's own 100 are too few."""

VALIDATION_IOU_LEVELS = (0.35, 0.5)
"""Intersections over union at which a training's validation counts a lesion as found."""

_EVERY_SIZE = (0.0, 1e12)

_SCORE_BINS = 50
"""Bins of the score in which counts of a training's validation add up over batches."""


@dataclass(frozen=True, eq=False)
class MatchedObjects:
    """What of one class was found in one image.

    Attributes
    ----------
    lesions
        Number of true lesions.
    scores
        float64, shape (D,), of the detections that count, the surest first.
    hit
        bool, shape (levels, D): whether a detection is a lesion, at each of `IOU_LEVELS`.
    size_counts
        int64, shape (sizes,): true lesions of each size, the smallest first.
    found_size_counts
        int64, shape (levels of `MAIN_IOU_LEVELS`, sizes): those of them that are found.
    """

    lesions: int
    scores: npt.NDArray[np.float64]
    hit: npt.NDArray[np.bool_]
    size_counts: npt.NDArray[np.int64]
    found_size_counts: npt.NDArray[np.int64]


def size_names(bounds: Sequence[float] = SIZE_BOUNDS) -> tuple[str, ...]:
    """Return the sizes by name, the smallest first.

    Examples
    --------
    >>> size_names()
    ('< 8 px', '8–16 px', '16–32 px', '≥ 32 px')
    """
    between = [f"{low:g}–{high:g} px" for low, high in pairwise(bounds)]
    return (f"< {bounds[0]:g} px", *between, f"≥ {bounds[-1]:g} px")


def match_objects(
    truth: Sequence[LesionObject],
    found: Sequence[LesionObject],
    shape: tuple[int, int],
    *,
    bounds: Sequence[float] = SIZE_BOUNDS,
    most: int = MAX_DETECTIONS,
) -> MatchedObjects:
    """Match the lesions of one class in one image.

    The detections take their turn by falling score; each takes, of the true lesions that none took
    before it, the one with which its intersection over union is largest, if that reaches the
    level. For the recall of a size, lesions of that size come before all others (COCO's rule for
    its ranges of areas).

    Parameters
    ----------
    truth, found
        Of one class. Masks may overlap.
    shape
        Height and width of the image.
    bounds
        Equivalent diameters between the sizes, rising, in px.
    most
        Detections that count, the surest first.

    Notes
    -----
    Masks go to pycocotools as run lengths made of their boxes; no mask of the whole image is
    allocated. Its matching takes a time that grows with detections times lesions, so it is given
    one cluster of lesions and detections that reach the lowest level with each other at a time:
    what reaches it with nothing else cannot match anything else.
    """
    kept = sorted(found, key=lambda item: -item.score)[:most]
    scores = np.array([item.score for item in kept], np.float64)
    hit = np.zeros((len(IOU_LEVELS), len(kept)), np.bool_)
    areas = np.array([int(item.mask.sum()) for item in truth], np.int64)
    limits = [0.0, *(math.pi / 4 * bound**2 for bound in bounds), _EVERY_SIZE[1]]
    size_counts = np.histogram(areas, limits)[0].astype(np.int64)
    found_size_counts = np.zeros((len(MAIN_IOU_LEVELS), len(size_counts)), np.int64)
    overlap = _overlap(truth, kept, shape)
    for lesions, near in _clusters(overlap):
        cluster = _Cluster(
            areas[lesions], [kept[place] for place in near], overlap[near][:, lesions]
        )
        hit[:, near] = cluster.matches(IOU_LEVELS, _EVERY_SIZE)[0]
        size_of = np.digitize(areas[lesions], limits) - 1
        for size in np.unique(size_of):
            # An area is a whole number and a limit is not: no lesion is of two sizes.
            area = (limits[size], limits[size + 1])
            found_size_counts[:, size] += cluster.matches(MAIN_IOU_LEVELS, area)[1]
    return MatchedObjects(len(truth), scores, hit, size_counts, found_size_counts)


def _overlap(
    truth: Sequence[LesionObject], found: Sequence[LesionObject], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return intersections over union, shape (detections, lesions)."""
    from pycocotools import mask

    if not truth or not found:
        return np.zeros((len(found), len(truth)))
    overlap = mask.iou(_encoded(found, shape), _encoded(truth, shape), [0] * len(truth))
    return np.asarray(overlap, np.float64).reshape(len(found), len(truth))


def _encoded(objects: Sequence[LesionObject], shape: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {"size": list(shape), "counts": encode_rle(item.mask, (item.row, item.col), shape)}
        for item in objects
    ]


def _clusters(
    overlap: npt.NDArray[np.float64],
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield the lesions and the detections of each cluster that has both, in their order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    found, lesions = np.nonzero(overlap >= IOU_LEVELS[0])
    if not len(found):
        return
    count = sum(overlap.shape)
    links = coo_array((np.ones(len(found)), (found, len(overlap) + lesions)), (count, count))
    _, cluster = connected_components(links, directed=False)
    for number in np.unique(cluster[found]):
        members = np.flatnonzero(cluster == number)
        is_found = members < len(overlap)
        yield members[~is_found] - len(overlap), members[is_found]


class _Cluster:
    """What pycocotools is given as an image of its own.

    Its public ``evaluate`` prints to the terminal, where a report may be on its way; the step below
    it, which is taken here, does not.
    """

    def __init__(
        self,
        areas: npt.NDArray[np.int64],
        found: Sequence[LesionObject],
        overlap: npt.NDArray[np.float64],
    ) -> None:
        from pycocotools.cocoeval import COCOeval

        self._evaluator = COCOeval(iouType="segm")
        self._evaluator._gts[1, 1] = [
            {"id": number, "area": int(area), "ignore": 0, "iscrowd": 0}
            for number, area in enumerate(areas, start=1)
        ]
        self._evaluator._dts[1, 1] = [
            {"id": number, "area": int(item.mask.sum()), "score": item.score}
            for number, item in enumerate(found, start=1)
        ]
        self._evaluator.ious[1, 1] = overlap
        self._count = len(found)

    def matches(
        self, levels: Sequence[float], area: tuple[float, float]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Return which detections are hits, (levels, D), and how many lesions of an area are found.

        The second has shape (levels,).
        """
        self._evaluator.params.iouThrs = np.array(levels)
        result = self._evaluator.evaluateImg(1, 1, list(area), self._count)
        counts = np.asarray(result["gtIgnore"]) == 0
        return result["dtMatches"] > 0, ((result["gtMatches"] > 0) & counts).sum(axis=1)


def interpolated_average_precision(hit: npt.NDArray[np.bool_], lesions: int) -> float:
    """Return the area below a precision-recall curve, precision interpolated; NaN without lesions.

    Parameters
    ----------
    hit
        bool, shape (D,): whether each detection is a lesion, the surest first.
    lesions
        How many there are.

    Notes
    -----
    Precision at a recall is the largest at that recall or any above it, and every step of recall
    counts: the sum of precision over the hits, by lesions. COCO reads it at 101 recalls instead.

    Examples
    --------
    Found, false, found, and a third lesion missed: 1/3 · 1 + 1/3 · 2/3.

    >>> round(interpolated_average_precision(np.array([True, False, True]), 3), 4)
    0.5556
    """
    if not lesions:
        return float("nan")
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(interpolate_precision(precision[np.newaxis])[0][hit].sum() / lesions)


def interpolate_precision(precision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the largest precision at this place or any after it, along the last axis."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]


def count_instances(
    truth: Sequence[LesionObject],
    found: Sequence[LesionObject],
    shape: tuple[int, int],
    *,
    weight: float = 1.0,
) -> dict[str, float]:
    """Match the objects of one class in one image; return counts that add up over images.

    Parameters
    ----------
    truth, found, shape
        As for `match_objects`.
    weight
        How many images this one stands for.

    Returns
    -------
    dict
        ``lesions``, and for each of `VALIDATION_IOU_LEVELS` and each of 50 bins of the score how
        many objects there are with a lesion of their own (``hit``) and without (``miss``).
    """
    matched = match_objects(truth, found, shape, most=len(found))
    sums = {"lesions": weight * matched.lesions}
    bins = np.minimum((matched.scores * _SCORE_BINS).astype(np.intp), _SCORE_BINS - 1)
    for level in VALIDATION_IOU_LEVELS:
        for is_hit, place in zip(matched.hit[IOU_LEVELS.index(level)], bins, strict=True):
            name = _count_name("hit" if is_hit else "miss", level, place)
            sums[name] = sums.get(name, 0.0) + weight
    return sums


def instance_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Return ``ap35`` and ``ap50`` of one class from summed counts; NaN without any lesion.

    The area below the curve of interpolated precision over recall; objects of one bin of the score
    are taken together.
    """
    lesions = sums.get("lesions", 0.0)
    metrics = {}
    for level in VALIDATION_IOU_LEVELS:
        hits, misses = (
            np.cumsum([sums.get(_count_name(k, level, b), 0.0) for b in range(_SCORE_BINS)[::-1]])
            for k in ("hit", "miss")
        )
        precision = interpolate_precision(hits / np.maximum(hits + misses, 1e-12))
        recall = hits / lesions if lesions else np.full(_SCORE_BINS, np.nan)
        metrics[f"ap{round(100 * level)}"] = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return metrics


def _count_name(kind: str, level: float, place: int) -> str:
    return f"{kind}_{round(100 * level)}_{place}"
