"""Regions of a heat map against true lesions: which are found, which regions are false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.results.components import find_components

MIN_COVERAGE = 0.5
"""Share of a true lesion that must be covered for it to be found by the strict rule."""

MIN_MEAN_IOU = 0.5
"""Mean overlap (intersection over union) below which a region is false."""

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def normalize_heatmap(
    heatmap: npt.NDArray[Any], field_of_view: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """Stretch a heat map so that its smallest value is 0 and its largest 1.

    Parameters
    ----------
    heatmap
        Any finite values, shape (H, W).
    field_of_view
        bool, shape (H, W): only pixels inside set the ends; those outside become 0.

    Returns
    -------
    float32, shape (H, W)
        All 0 where the map is the same everywhere: it points nowhere.
    """
    values = np.asarray(heatmap, np.float32)
    inside = values if field_of_view is None else values[field_of_view]
    if not inside.size:
        return np.zeros_like(values)
    low, high = float(inside.min()), float(inside.max())
    if not np.isfinite(high - low):
        raise ValueError("A heat map has finite values.")
    if high <= low:
        return np.zeros_like(values)
    stretched: Floats = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    if field_of_view is not None:
        stretched[~field_of_view] = 0
    return stretched


@dataclass(frozen=True, eq=False)
class HeatmapRegions:
    """The 8-connected regions of a map at or above a threshold.

    Attributes
    ----------
    labels
        int32, shape (H, W): 1, 2, … for the regions, 0 for none.
    areas
        int64, shape (R,): pixels of each region.
    scores
        float32, shape (R,): largest value inside each.
    """

    labels: Labels
    areas: npt.NDArray[np.int64]
    scores: Floats

    def __len__(self) -> int:
        return len(self.areas)


def find_regions(heatmap: Floats, threshold: float) -> HeatmapRegions:
    """Return the regions of a `heatmap`, shape (H, W), at or above `threshold` (above 0)."""
    if not threshold > 0:
        raise ValueError(f"A threshold of regions lies above 0, not at {threshold}.")
    mask = np.ascontiguousarray(heatmap >= np.float32(threshold))
    found = find_components(mask)
    labels = np.zeros(mask.shape, np.int32)
    labels.reshape(-1)[found.pixels] = found.part + 1
    scores = np.zeros(len(found.area), np.float32)
    np.maximum.at(scores, found.part, heatmap.ravel()[found.pixels])
    return HeatmapRegions(labels, found.area, scores)


@dataclass(frozen=True, eq=False)
class RegionMatch:
    """What regions are worth, given the lesions of one class in one image.

    Attributes
    ----------
    strict, loose
        float32, shape (M,): the lowest score that a region may have for the lesion still to be
        found, by half of its pixels or by one; -1 where it is not found at all.
    mean_iou
        float64, shape (R,): mean overlap of each region with the lesions it touches, 0 if none.
    astray
        bool, shape (R,): whether a region touches no lesion.
    """

    strict: Floats
    loose: Floats
    mean_iou: npt.NDArray[np.float64]
    astray: npt.NDArray[np.bool_]

    @property
    def false(self) -> npt.NDArray[np.bool_]:
        """Whether each region is false: a mean overlap below `MIN_MEAN_IOU`; shape (R,)."""
        return self.mean_iou < MIN_MEAN_IOU


class SparseLesions:
    """The true lesions of one class in one image, kept as their pixels only.

    Parameters
    ----------
    truth
        bool, shape (H, W): 8-connected components are lesions. Or integer: each value above 0 is
        one.
    """

    def __init__(self, truth: npt.NDArray[Any]) -> None:
        truth = np.asarray(truth)
        if truth.dtype == np.bool_:
            found = find_components(np.ascontiguousarray(truth))
            self.places, self.lesion = found.pixels, found.part
        else:
            self.places = np.flatnonzero(truth)
            _, lesion = np.unique(truth.ravel()[self.places], return_inverse=True)
            self.lesion = lesion.astype(np.int64)
        self.shape = truth.shape
        self.areas = np.bincount(self.lesion)

    def __len__(self) -> int:
        return len(self.areas)

    def levels(self, heatmap: Floats) -> tuple[Floats, Floats]:
        """Return the highest thresholds of the map that still find each lesion.

        Returns
        -------
        strict, loose
            float32, shape (M,): at or below it half of the lesion's pixels are covered, or one.
        """
        values = heatmap.ravel()[self.places]
        # Highest first within each lesion.
        order = np.lexsort((-values, self.lesion))
        first = np.cumsum(self.areas) - self.areas
        half = np.ceil(self.areas * MIN_COVERAGE).astype(np.int64)
        ranked = values[order]
        return ranked[first + half - 1], ranked[first]

    def match(self, regions: HeatmapRegions) -> RegionMatch:
        """Compare with `regions` of the same image; see `RegionMatch`."""
        overlap, region, lesion = self._overlaps(regions.labels)
        mean_iou, astray = _mean_iou(overlap, region, lesion, regions.areas, self.areas)
        strict, loose = np.full((2, len(self)), -1, np.float32)
        if len(overlap):
            score = regions.scores[region]
            np.maximum.at(loose, lesion, score)
            # Regions join from the highest score down until half of the lesion is covered.
            order = np.lexsort((-score, lesion))
            covered = np.cumsum(overlap[order])
            start = np.searchsorted(lesion[order], lesion[order], side="left")
            covered -= np.append(0, covered)[start]
            enough = covered >= self.areas[lesion[order]] * MIN_COVERAGE
            np.maximum.at(strict, lesion[order][enough], score[order][enough])
        return RegionMatch(strict, loose, mean_iou, astray)

    def false_regions(
        self, labels: npt.NDArray[Any], areas: npt.NDArray[np.int64]
    ) -> tuple[int, int]:
        """Return how many of the labelled regions are false, and how many of these astray."""
        mean_iou, astray = _mean_iou(*self._overlaps(labels), areas, self.areas)
        return int((mean_iou < MIN_MEAN_IOU).sum()), int(astray.sum())

    def _overlaps(
        self, labels: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return shared pixels, region and lesion of each pair that touches."""
        region = labels.ravel()[self.places].astype(np.int64)
        inside = region > 0
        key = (region[inside] - 1) * max(len(self), 1) + self.lesion[inside]
        pair, overlap = np.unique(key, return_counts=True)
        return overlap, pair // max(len(self), 1), pair % max(len(self), 1)


def _mean_iou(
    overlap: npt.NDArray[np.int64],
    region: npt.NDArray[np.int64],
    lesion: npt.NDArray[np.int64],
    region_areas: npt.NDArray[np.int64],
    lesion_areas: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    union = region_areas[region] + lesion_areas[lesion] - overlap
    touched = np.bincount(region, minlength=len(region_areas))
    total = np.bincount(region, overlap / union, minlength=len(region_areas))
    return total / np.maximum(touched, 1), touched == 0
