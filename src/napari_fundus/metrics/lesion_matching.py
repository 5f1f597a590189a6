"""Detections of one class against the truth of one image: counts of pixels and of lesions."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.results.components import find_components
from napari_fundus.results.detections import Detections

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


@dataclass(frozen=True)
class _Counts:
    """Whole numbers that are summed over images, each by itself."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class PixelOverlap(_Counts):
    """Counts of pixels; every ratio is NaN where it is 0/0. Add two to pool images."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), the sensitivity of pixels."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN), the same as F1."""
        twice = 2 * self.true_positives
        return _ratio(twice, twice + self.false_positives + self.false_negatives)

    f1 = dice

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), the Jaccard index."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return _ratio(self.true_positives, union)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all; close to 1 whatever is found, since lesions are small."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class LesionCounts(_Counts):
    """Counts of lesions, by the rules of FROC. Add two to pool images.

    Attributes
    ----------
    lesions
        True lesions: 8-connected components of the truth.
    found
        Those with at least one pixel covered.
    detections
        8-connected components of what was predicted.
    false_positives
        Those that touch no true lesion.
    """

    lesions: int
    found: int
    detections: int
    false_positives: int

    @property
    def missed(self) -> int:
        """True lesions that no pixel covers."""
        return self.lesions - self.found

    @property
    def sensitivity(self) -> float:
        """Found / lesions; NaN without lesions."""
        return _ratio(self.found, self.lesions)

    @property
    def precision(self) -> float:
        """Share of the detections that touch a lesion; NaN without detections."""
        return _ratio(self.detections - self.false_positives, self.detections)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision, 0 if one of them is 0 or undefined."""
        total = self.sensitivity + self.precision
        return 2 * self.sensitivity * self.precision / total if total > 0 else 0.0


def pixel_overlap(
    predicted: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    field_of_view: npt.NDArray[np.bool_] | None = None,
) -> PixelOverlap:
    """Count the pixels of two masks.

    Parameters
    ----------
    predicted, truth
        bool, or integer labels with 0 for background; shape (H, W).
    field_of_view
        bool, shape (H, W): pixels outside are left out.
    """
    predicted, truth = _masks(predicted, truth)
    if field_of_view is not None:
        predicted, truth = predicted[field_of_view], truth[field_of_view]
    both = int(np.count_nonzero(predicted & truth))
    given, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
    return PixelOverlap(both, given - both, true - both, predicted.size - given - true + both)


def lesion_counts(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> LesionCounts:
    """Count the lesions of two masks, each shape (H, W), bool or integer with 0 for background."""
    predicted, truth = _masks(predicted, truth)
    parts = find_components(predicted)
    ids = pd.DataFrame({"id": np.arange(1, len(parts.area) + 1)})
    return match_with_truth(TrueLesions.of("", truth), parts.pixels, parts.part + 1, ids).lesions


def _masks(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    predicted = np.ascontiguousarray(np.asarray(predicted) != 0)
    truth = np.ascontiguousarray(np.asarray(truth) != 0)
    if predicted.shape != truth.shape:
        raise ValueError(f"The prediction has shape {predicted.shape}, the truth {truth.shape}.")
    return predicted, truth


@dataclass(frozen=True, eq=False)
class TrueLesions:
    """The lesions of one class that experts drew in one image.

    Attributes
    ----------
    lesion
        Code of the class.
    labels
        uint16 or int32, shape (H, W): lesions (8-connected components) from 1, 0 for none.
    pixels
        int64: the flat indices of all lesion pixels, ascending.
    table
        One row a lesion: ``id``, ``area_px``, ``peak`` (largest probability inside, NaN without a
        map), ``centroid_row``, ``centroid_col`` and the half-open box ``bbox_row_start`` …
        ``bbox_col_stop``, all in pixels of the image.
    """

    lesion: str
    labels: npt.NDArray[Any]
    pixels: Index
    table: pd.DataFrame

    @classmethod
    def of(
        cls,
        lesion: str,
        truth: npt.NDArray[Any],
        *,
        probability: npt.NDArray[np.float32] | None = None,
    ) -> TrueLesions:
        """Find the lesions in a mask; of 12 megapixels this takes some 100 ms.

        Parameters
        ----------
        lesion
            Code of the class.
        truth
            bool, or integer with 0 for background; shape (H, W). All 0: experts found none.
        probability
            float32, shape (H, W): the map whose peaks are wanted.
        """
        mask = np.ascontiguousarray(np.asarray(truth) != 0)
        found = find_components(mask)
        count = len(found.area)
        small = count <= np.iinfo(np.uint16).max
        labels = np.zeros(mask.shape, np.uint16 if small else np.int32)
        labels.reshape(-1)[found.pixels] = found.part + 1
        top, left, bottom, right = found.box.T
        table = pd.DataFrame(
            {
                "id": np.arange(1, count + 1),
                "area_px": found.area,
                "peak": np.full(count, np.nan),
                "centroid_row": found.row,
                "centroid_col": found.col,
                "bbox_row_start": top,
                "bbox_col_start": left,
                "bbox_row_stop": bottom,
                "bbox_col_stop": right,
            }
        )
        lesions = cls(str(lesion), labels, found.pixels, table)
        return lesions if probability is None else lesions.with_peaks(probability)

    def with_peaks(self, probability: npt.NDArray[np.float32]) -> TrueLesions:
        """Return the same lesions with the peaks of a map, float32, shape (H, W)."""
        if probability.shape != self.labels.shape:
            raise ValueError(f"The map has shape {probability.shape}, not {self.labels.shape}.")
        peaks = np.zeros(len(self.table) + 1, np.float32)
        ids = self.labels.reshape(-1)[self.pixels].astype(np.intp)
        np.maximum.at(peaks, ids, probability.reshape(-1)[self.pixels])
        return replace(self, table=self.table.assign(peak=peaks[1:].astype(np.float64)))


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """What a result gets right and wrong of one class, by the rules of FROC.

    Attributes
    ----------
    lesion
        Code of the class.
    pixels, lesions
        The counts, from which all ratios follow.
    true
        The table of the true lesions with ``found`` (bool) and ``covered_px`` (pixels of it that
        are detected).
    false
        The rows of the result's table whose lesion touches no true one.
    true_positive, false_positive, false_negative
        int64: flat indices of the pixels, ascending.
    """

    lesion: str
    pixels: PixelOverlap
    lesions: LesionCounts
    true: pd.DataFrame
    false: pd.DataFrame
    true_positive: Index
    false_positive: Index
    false_negative: Index


def match_with_truth(
    truth: TrueLesions,
    pixels: Index,
    ids: npt.NDArray[np.integer[Any]],
    table: pd.DataFrame,
    *,
    area: int | None = None,
) -> ClassMatch:
    """Compare the detections of a class with the truth.

    The counts are those of `pixel_overlap` and `lesion_counts`; only pixels that are lesions in
    truth or result are looked at, so a slider can be followed.

    Parameters
    ----------
    truth
        The true lesions.
    pixels
        int64: flat indices of pixels, ascending.
    ids
        As long as `pixels`: the id of the detection that each belongs to; 0 for none.
    table
        The detections, a row each, with the column ``id``.
    area
        Pixels that count, for the true negatives; None for the whole image.
    """
    shown = ids > 0
    detected, ids = (pixels, ids) if shown.all() else (pixels[shown], ids[shown])
    beneath = truth.labels.reshape(-1)[detected]
    right = beneath > 0
    hit, wrong = detected[right], detected[~right]
    covered = np.bincount(beneath[right], minlength=len(truth.table) + 1)[1:]
    left = np.ones(len(truth.pixels), np.bool_)
    left[np.searchsorted(truth.pixels, hit)] = False
    touching = np.isin(table["id"].to_numpy(), ids[right])
    found = covered > 0
    everything = truth.labels.size if area is None else area
    missed = len(truth.pixels) - len(hit)
    return ClassMatch(
        truth.lesion,
        PixelOverlap(len(hit), len(wrong), missed, everything - len(detected) - missed),
        LesionCounts(len(found), int(found.sum()), len(table), int((~touching).sum())),
        truth.table.assign(found=found, covered_px=covered),
        table[~touching].reset_index(drop=True),
        hit,
        wrong,
        truth.pixels[left],
    )


def match_detections(
    detections: Detections, truth: TrueLesions, *, area: int | None = None
) -> ClassMatch:
    """Compare one class of a result, at its own threshold and minimum area, with the truth.

    See `match_with_truth` for `area`.

    Raises
    ------
    ValueError
        The sizes differ.
    """
    labels = detections.labels[truth.lesion]
    if labels.shape != truth.labels.shape:
        raise ValueError(f"The result has shape {labels.shape}, the truth {truth.labels.shape}.")
    table = detections.instances
    pixels = np.flatnonzero(labels)
    return match_with_truth(
        truth,
        pixels,
        labels.reshape(-1)[pixels],
        table[table["lesion"] == truth.lesion].reset_index(drop=True),
        area=area,
    )
