"""One class of a result against the truth of one image, sparse: quick enough to follow a slider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.metrics.overlap import LesionCounts, PixelOverlap
from napari_fundus.results.detections import Detections

__all__ = ["ClassMatch", "TrueLesions", "match_detections", "match_with_truth"]

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
        if probability is not None and probability.shape != mask.shape:
            raise ValueError(f"The map has shape {probability.shape}, the truth {mask.shape}.")
        found = cv2.connectedComponentsWithStats(
            mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        stats = np.asarray(found[2], np.int64)[1:]
        labels = np.asarray(found[1])
        pixels = np.flatnonzero(labels)
        if len(stats) <= np.iinfo(np.uint16).max:
            labels = labels.astype(np.uint16)
        peaks = np.full(len(stats) + 1, np.nan if probability is None else 0.0, np.float32)
        if probability is not None:
            numbers = labels.ravel()[pixels].astype(np.intp)
            np.maximum.at(peaks, numbers, probability.ravel()[pixels])
        left, top, width, height, area = stats.T
        centres = np.asarray(found[3], np.float64)[1:]
        table = pd.DataFrame(
            {
                "id": np.arange(1, len(stats) + 1),
                "area_px": area,
                "peak": peaks[1:].astype(np.float64),
                "centroid_row": centres[:, 1],
                "centroid_col": centres[:, 0],
                "bbox_row_start": top,
                "bbox_col_start": left,
                "bbox_row_stop": top + height,
                "bbox_col_stop": left + width,
            }
        )
        return cls(str(lesion), labels, pixels, table)


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """What a result gets right and wrong of one class, by the rules of `lesion_counts`.

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
    truth: TrueLesions, pixels: Index, ids: npt.NDArray[np.integer[Any]], table: pd.DataFrame
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
    """
    shown = ids > 0
    given, ids = (pixels, ids) if shown.all() else (pixels[shown], ids[shown])
    beneath = truth.labels.reshape(-1)[given]
    right = beneath > 0
    hit, wrong = given[right], given[~right]
    covered = np.bincount(beneath[right], minlength=len(truth.table) + 1)[1:]
    left = np.ones(len(truth.pixels), np.bool_)
    left[np.searchsorted(truth.pixels, hit)] = False
    touching = np.isin(table["id"].to_numpy(), ids[right])
    found = covered > 0
    everything = truth.labels.size
    missed = len(truth.pixels) - len(hit)
    return ClassMatch(
        truth.lesion,
        PixelOverlap(len(hit), len(wrong), missed, everything - len(given) - missed),
        LesionCounts(len(found), int(found.sum()), len(table), int((~touching).sum())),
        truth.table.assign(found=found, covered_px=covered),
        table[~touching].reset_index(drop=True),
        hit,
        wrong,
        truth.pixels[left],
    )


def match_detections(detections: Detections, truth: TrueLesions) -> ClassMatch:
    """Compare one class of a result, at its own threshold and minimum area, with the truth.

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
    )
