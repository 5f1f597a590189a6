"""Average precision of objects, from counts that add up over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from napari_fundus.results.objects import LesionObject

__all__ = ["IOU_THRESHOLDS", "count_instances", "instance_metrics", "mask_iou"]

IOU_THRESHOLDS = (0.35, 0.5)
"""Intersection over union from which an object is found."""

_BINS = 50


def count_instances(
    found: Sequence[LesionObject], truth: Sequence[LesionObject], *, weight: float = 1.0
) -> dict[str, float]:
    """Match the objects of one class in one picture; return counts that add up.

    From the surest on, each takes the lesion that it overlaps most and that is not taken yet.

    Parameters
    ----------
    found, truth
        Objects of one class.
    weight
        How many pictures this one stands for.

    Returns
    -------
    dict
        ``lesions``, and for each of `IOU_THRESHOLDS` and each of 50 bins of the score how many
        objects there are with a lesion of their own (``hit``) and without (``miss``).
    """
    sums = {"lesions": weight * len(truth)}
    ordered = sorted(found, key=lambda o: -o.score)
    table = np.array([[mask_iou(o, t) for t in truth] for o in ordered], np.float64)
    table = table.reshape(len(ordered), len(truth))
    for least in IOU_THRESHOLDS:
        free = np.ones(len(truth), np.bool_)
        for candidate, shared in zip(ordered, table, strict=True):
            open_shared = np.where(free, shared, 0.0)
            best = int(open_shared.argmax()) if len(truth) else -1
            hit = best >= 0 and open_shared[best] >= least
            if hit:
                free[best] = False
            place = min(int(candidate.score * _BINS), _BINS - 1)
            name = _name("hit" if hit else "miss", least, place)
            sums[name] = sums.get(name, 0.0) + weight
    return sums


def instance_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Return ``ap35`` and ``ap50`` of one class from summed counts; NaN without any lesion.

    The area below the curve of precision over recall, precision made to fall; objects of one bin
    of the score are taken together.
    """
    lesions = sums.get("lesions", 0.0)
    figures = {}
    for least in IOU_THRESHOLDS:
        hits, misses = (
            np.cumsum([sums.get(_name(kind, least, b), 0.0) for b in reversed(range(_BINS))])
            for kind in ("hit", "miss")
        )
        figures[f"ap{round(100 * least)}"] = _area(hits, misses, lesions)
    return figures


def _area(hits: npt.NDArray[np.float64], misses: npt.NDArray[np.float64], lesions: float) -> float:
    if not lesions:
        return float("nan")
    precision = hits / np.maximum(hits + misses, 1e-12)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(hits / lesions, prepend=0.0) * falling))


def mask_iou(first: LesionObject, second: LesionObject) -> float:
    """Return intersection over union of two objects' masks."""
    top, left = max(first.row, second.row), max(first.col, second.col)
    bottom = min(first.row + first.mask.shape[0], second.row + second.mask.shape[0])
    right = min(first.col + first.mask.shape[1], second.col + second.mask.shape[1])
    if top >= bottom or left >= right:
        return 0.0
    one, other = (
        o.mask[top - o.row : bottom - o.row, left - o.col : right - o.col] for o in (first, second)
    )
    shared = int(np.count_nonzero(one & other))
    return shared / (int(first.mask.sum()) + int(second.mask.sum()) - shared)


def _name(kind: str, least: float, place: int) -> str:
    return f"{kind}_{round(100 * least)}_{place}"
