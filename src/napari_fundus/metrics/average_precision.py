"""Mean average precision of lesions as objects: the Mask R-CNN paper's way, and COCO's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.coco_matching import (
    IOU_LEVELS,
    MAIN_IOU_LEVELS,
    MAX_DETECTIONS,
    SIZE_BOUNDS,
    MatchedObjects,
    interpolate_precision,
    interpolated_average_precision,
    match_objects,
)
from napari_fundus.results.objects import LesionObject

_RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision."""


@dataclass(frozen=True, eq=False)
class InstanceCurve:
    """Precision over recall of objects as the least score falls.

    Attributes
    ----------
    scores
        float64, shape (D,), descending.
    recall, precision
        float64, shape (D,): of all detections with at least such a score.
    """

    scores: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _PooledDetections:
    """One class over all images: its detections, the surest first, and where they come from."""

    images: npt.NDArray[np.intp]
    lesions: npt.NDArray[np.int64]
    size_counts: npt.NDArray[np.int64]
    found_size_counts: npt.NDArray[np.int64]
    precision: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    image: npt.NDArray[np.intp]
    hit: npt.NDArray[np.bool_]


class MeanAveragePrecision:
    """Counts lesions found as objects over images, one image at a time.

    The paper's way: in each image the average precision (AP) of each class, its mean over the
    classes annotated there, and the mean of that over images. An image without a lesion of a class
    has no AP of it, so what is falsely found there is not seen. COCO's way: the detections of all
    images in one order, one AP a class, and the mean over classes; false ones count wherever they
    are. A class that was not annotated in an image counts nothing there, right or wrong.

    Parameters
    ----------
    bounds
        Equivalent diameters in px between the sizes whose recall is distinguished.
    most
        Detections of a class that count in one image, the surest first.

    References
    ----------
    Lin T.-Y. et al.: Microsoft COCO: Common Objects in Context. ECCV 2014, 740–755.

    Examples
    --------
    >>> lesion = LesionObject("MA", 1.0, 4, 4, np.ones((4, 4), np.bool_))
    >>> close = LesionObject("MA", 0.9, 4, 5, np.ones((4, 4), np.bool_))
    >>> counted = MeanAveragePrecision()
    >>> matched = counted.add({"MA": [lesion]}, [close], (16, 16))
    >>> [counted.mean_ap_over_images(level) for level in (0.35, 0.5, 0.75)]
    [1.0, 1.0, 0.0]
    """

    def __init__(
        self, *, bounds: Sequence[float] = SIZE_BOUNDS, most: int = MAX_DETECTIONS
    ) -> None:
        self.bounds, self.most = tuple(bounds), most
        self._matched: dict[str, dict[int, MatchedObjects]] = {}
        self._pools: dict[str, _PooledDetections] = {}
        self._images = 0

    def __len__(self) -> int:
        return self._images

    @property
    def lesions(self) -> tuple[str, ...]:
        """Classes that were annotated in any image added."""
        return tuple(self._matched)

    def add(
        self,
        truth: Mapping[str, Sequence[LesionObject]],
        found: Iterable[LesionObject],
        shape: tuple[int, int],
    ) -> dict[str, MatchedObjects]:
        """Count one image, and return how its objects match by class.

        Parameters
        ----------
        truth
            Class annotated in this image to its true lesions, none where there are none.
        found
            Detections of any class; those of classes that are not in `truth` are left out.
        shape
            Height and width of the image.
        """
        by_class: dict[str, list[LesionObject]] = {str(code): [] for code in truth}
        for item in found:
            if item.lesion in by_class:
                by_class[item.lesion].append(item)
        matched = {
            str(code): match_objects(
                list(drawn), by_class[str(code)], shape, bounds=self.bounds, most=self.most
            )
            for code, drawn in truth.items()
        }
        for code, result in matched.items():
            self._matched.setdefault(code, {})[self._images] = result
            self._pools.pop(code, None)
        self._images += 1
        return matched

    def images(self, lesion: str) -> int:
        """Return in how many images a class was annotated."""
        return len(self._matched[lesion])

    def with_lesions(self, lesion: str) -> int:
        """Return in how many images there is a lesion of a class."""
        return sum(matched.lesions > 0 for matched in self._matched[lesion].values())

    def true_lesions(self, lesion: str) -> int:
        """Return how many true lesions of a class there are."""
        return sum(matched.lesions for matched in self._matched[lesion].values())

    def detections(self, lesion: str) -> int:
        """Return how many detections of a class count."""
        return sum(len(matched.scores) for matched in self._matched[lesion].values())

    def mean_ap_over_images(
        self,
        iou: float,
        lesion: str | Sequence[str] | None = None,
        weights: ImageWeights | None = None,
    ) -> float:
        """Return the mean over images of their AP, the paper's way.

        Parameters
        ----------
        iou
            One of `MAIN_IOU_LEVELS`.
        lesion
            A class, or those whose mean is taken in each image; None for all.
        weights
            How often each image counts, int64, shape (images,), for the bootstrap.
        """
        codes = self._classes(lesion)
        table = np.full((max(len(codes), 1), len(self)), np.nan)
        for row, code in zip(table, codes, strict=False):
            pooled = self._pooled(code)
            row[pooled.images] = pooled.precision[:, MAIN_IOU_LEVELS.index(iou)]
        defined = ~np.isnan(table)
        per_image = np.where(defined, table, 0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
        times = defined.any(axis=0) * (1 if weights is None else weights)
        return float(per_image @ times / times.sum()) if times.sum() else float("nan")

    def average_precision(
        self,
        lesion: str | Sequence[str] | None = None,
        weights: ImageWeights | None = None,
        *,
        levels: Sequence[float] = MAIN_IOU_LEVELS,
    ) -> npt.NDArray[np.float64]:
        """Return COCO's AP at each of `levels`, out of `IOU_LEVELS`.

        Of several classes (None for all) it is the mean; those without a true lesion have none, and
        are left out.
        """
        if not isinstance(lesion, str):
            codes = self._classes(lesion)
            each = [self.average_precision(c, weights, levels=levels) for c in codes]
            each = [precision for precision in each if not np.isnan(precision).any()]
            return np.mean(each, axis=0) if each else np.full(len(levels), np.nan)
        if not self._positives(lesion, weights):
            return np.full(len(levels), np.nan)
        recall, precision = self._curve(lesion, levels, weights)
        best = np.append(interpolate_precision(precision), np.zeros((len(levels), 1)), axis=1)
        read = [row[np.searchsorted(r, _RECALLS)] for r, row in zip(recall, best, strict=True)]
        return np.asarray(np.mean(read, axis=1), np.float64)

    def recall(self, iou: float, lesion: str, weights: ImageWeights | None = None) -> float:
        """Return the share of true lesions matched by a detection, at one of `MAIN_IOU_LEVELS`."""
        size_counts, found = self._sizes(lesion, iou, weights)
        return float(found.sum() / size_counts.sum()) if size_counts.sum() else float("nan")

    def recall_by_size(
        self, iou: float, lesion: str, weights: ImageWeights | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the recall of each size, shape (sizes,), the smallest first; NaN where none is."""
        size_counts, found = self._sizes(lesion, iou, weights)
        return np.where(size_counts > 0, found / np.maximum(size_counts, 1), np.nan)

    def lesions_by_size(self, lesion: str) -> npt.NDArray[np.int64]:
        """Return how many true lesions there are of each size, shape (sizes,)."""
        return np.asarray(self._pooled(lesion).size_counts.sum(axis=0), np.int64)

    def curve(self, iou: float, lesion: str) -> InstanceCurve:
        """Return precision over recall of all images, at one of `IOU_LEVELS`."""
        recall, precision = self._curve(lesion, [iou], None)
        return InstanceCurve(self._pooled(lesion).scores, recall[0], precision[0])

    def _classes(self, lesion: str | Sequence[str] | None) -> tuple[str, ...]:
        if lesion is None:
            return self.lesions
        return (lesion,) if isinstance(lesion, str) else tuple(lesion)

    def _sizes(
        self, lesion: str, iou: float, weights: ImageWeights | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        pooled = self._pooled(lesion)
        times = self._pooled_weights(pooled, weights)
        return times @ pooled.size_counts, times @ pooled.found_size_counts[
            :, MAIN_IOU_LEVELS.index(iou)
        ]

    def _pooled_weights(
        self, pooled: _PooledDetections, weights: ImageWeights | None
    ) -> ImageWeights:
        return np.ones(len(pooled.images), np.int64) if weights is None else weights[pooled.images]

    def _positives(self, lesion: str, weights: ImageWeights | None) -> int:
        pooled = self._pooled(lesion)
        return int(self._pooled_weights(pooled, weights) @ pooled.lesions)

    def _curve(
        self, lesion: str, levels: Sequence[float], weights: ImageWeights | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return recall and precision, each (levels, D); 0 where there is no lesion."""
        pooled = self._pooled(lesion)
        hit = pooled.hit[[IOU_LEVELS.index(level) for level in levels]]
        times = 1 if weights is None else weights[pooled.image]
        true = np.cumsum(hit * times, axis=1, dtype=np.float64)
        all_of_them = np.cumsum(np.broadcast_to(times, len(pooled.scores)), dtype=np.float64)
        recall = true / max(self._positives(lesion, weights), 1)
        return recall, true / np.maximum(all_of_them, 1)

    def _pooled(self, lesion: str) -> _PooledDetections:
        """Return a class over all images; put in order once for all the bootstrap."""
        if lesion not in self._pools:
            known = self._matched[lesion]
            each = list(known.values())
            scores = np.concatenate([matched.scores for matched in each])
            order = np.argsort(-scores, kind="stable")
            image = np.repeat(list(known), [len(matched.scores) for matched in each])
            main = [IOU_LEVELS.index(level) for level in MAIN_IOU_LEVELS]
            self._pools[lesion] = _PooledDetections(
                np.array(list(known), np.intp),
                np.array([matched.lesions for matched in each], np.int64),
                np.stack([matched.size_counts for matched in each]),
                np.stack([matched.found_size_counts for matched in each]),
                np.array(
                    [
                        [interpolated_average_precision(m.hit[level], m.lesions) for level in main]
                        for m in each
                    ]
                ),
                scores[order],
                image[order].astype(np.intp),
                np.concatenate([matched.hit for matched in each], axis=1)[:, order],
            )
        return self._pools[lesion]
