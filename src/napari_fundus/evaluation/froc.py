"""Free-response ROC: the share of lesions found over the false positives an image (FROC, CPM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.evaluation.components import false_component_events

__all__ = [
    "CPM_POINTS",
    "ROC_POINTS",
    "Froc",
    "FrocCurve",
    "FrocSummary",
    "OperatingPoint",
    "disc_pixels",
]

CPM_POINTS: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
"""False positives an image at which the competition performance metric takes sensitivity."""

ROC_POINTS: tuple[float, ...] = (1, 2, 4, 8, 12, 16, 20)
"""The points of the table of the Retinopathy Online Challenge in the voting paper."""

Reach = Literal["reached", "never so low", "never so high"]


@dataclass(frozen=True)
class OperatingPoint:
    """Sensitivity at a given number of false positives an image.

    Attributes
    ----------
    fpi
        The false positives an image that were asked for.
    sensitivity
        The largest sensitivity of any threshold with at most `fpi` false positives an image.
    threshold
        That threshold: detections lie above it. Infinite where nothing may be detected.
    actual_fpi
        False positives an image at that threshold.
    reach
        ``"never so low"``: every threshold that finds anything has more false positives than
        `fpi`, so the sensitivity is 0, that of finding nothing. ``"never so high"``: the whole
        curve has fewer; the sensitivity is that of its end. Neither is extrapolated.
    """

    fpi: float
    sensitivity: float
    threshold: float
    actual_fpi: float
    reach: Reach


@dataclass(frozen=True)
class FrocSummary:
    """Sensitivities at several points and their mean.

    Attributes
    ----------
    points
        One a number of false positives an image.
    images, lesions
        What was counted over; healthy images included.
    """

    points: tuple[OperatingPoint, ...]
    images: int
    lesions: int

    @property
    def mean_sensitivity(self) -> float:
        """Mean over the points; the CPM where these are `CPM_POINTS`. NaN without lesions."""
        return float(np.mean([point.sensitivity for point in self.points]))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to print beside the figures: the points that the curve does not reach."""
        return tuple(
            f"{point.fpi:g} FPI: the curve gets {point.reach}"
            for point in self.points
            if point.reach != "reached"
        )


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """The curve at every threshold that makes a difference, the highest first.

    Attributes
    ----------
    thresholds
        float64, shape (T,), descending; detections lie strictly above. The first is infinite.
    sensitivity
        float64, shape (T,); NaN where no image has a lesion.
    fpi
        float64, shape (T,): false positives an image. It may fall again as components merge.
    images, lesions
        What was counted over.
    """

    thresholds: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float64]
    fpi: npt.NDArray[np.float64]
    images: int
    lesions: int

    def at(self, fpi: float) -> OperatingPoint:
        """Return the best sensitivity at no more than `fpi` false positives an image."""
        if self.lesions == 0:
            return OperatingPoint(fpi, float("nan"), float("inf"), 0.0, "reached")
        allowed = np.flatnonzero(self.fpi <= fpi)
        best = int(allowed[np.argmax(self.sensitivity[allowed])])
        reach: Reach = "reached"
        if len(self.thresholds) > 1 and len(allowed) == 1:
            reach = "never so low"
        elif self.fpi.max() < fpi:
            reach = "never so high"
        return OperatingPoint(
            fpi,
            float(self.sensitivity[best]),
            float(self.thresholds[best]),
            float(self.fpi[best]),
            reach,
        )

    def summary(self, points: Sequence[float] = CPM_POINTS) -> FrocSummary:
        """Return the sensitivities at `points` (false positives an image) and their mean."""
        return FrocSummary(tuple(self.at(point) for point in points), self.images, self.lesions)

    @property
    def cpm(self) -> float:
        """Competition performance metric: mean sensitivity at the seven `CPM_POINTS`."""
        return self.summary().mean_sensitivity


class Froc:
    """Counts lesions found and false positives over images, one image at a time.

    A map is binarized above a threshold t and its 8-connected components are labelled. A lesion is
    hit if at least one of its pixels is covered; a component that touches no lesion is a false
    positive. All thresholds are counted at once and exactly (see `components`), and only a few
    numbers a component are kept.

    Parameters
    ----------
    lowest
        Thresholds below it are not looked at: a map that is nowhere 0 is counted faster, and its
        curve ends there.

    References
    ----------
    Niemeijer M. et al.: Retinopathy Online Challenge. IEEE Transactions on Medical Imaging 29(1),
    2010, 185–195.

    Examples
    --------
    >>> froc = Froc()
    >>> probability = np.zeros((8, 8), np.float32)
    >>> probability[1, 1], probability[5, 5] = 0.9, 0.4
    >>> truth = np.zeros((8, 8), bool)
    >>> truth[1:3, 1:3] = True
    >>> froc.add(probability, truth)
    >>> froc.curve().cpm
    1.0
    """

    def __init__(self, *, lowest: float = 0.0) -> None:
        self.lowest = lowest
        self._lesions: list[int] = []
        # One entry an image: levels at which a lesion is hit (+1 lesion), and at which a false
        # component appears (+1) or vanishes (-1).
        self._hits: list[npt.NDArray[np.float32]] = []
        self._appear: list[npt.NDArray[np.float32]] = []
        self._vanish: list[npt.NDArray[np.float32]] = []

    def __len__(self) -> int:
        return len(self._lesions)

    @property
    def images_with_lesions(self) -> int:
        """Number of images added that have a lesion."""
        return sum(count > 0 for count in self._lesions)

    def add(self, probability: npt.NDArray[Any], truth: npt.NDArray[Any]) -> None:
        """Count one image whose lesions are drawn.

        Parameters
        ----------
        probability
            Values in [0, 1], shape (H, W).
        truth
            bool, shape (H, W): 8-connected components are lesions. Or integer: each value above 0
            is a lesion. All 0 for a healthy image.
        """
        truth = np.asarray(truth)
        if truth.dtype == np.bool_:
            drawn = np.ascontiguousarray(truth).view(np.uint8)
            truth = np.asarray(cv2.connectedComponents(drawn, connectivity=8)[1])
        probability = self._checked(probability, truth.shape)
        places = np.flatnonzero(truth)
        peaks = np.zeros(int(truth.max(initial=0)) + 1, np.float32)
        np.maximum.at(peaks, truth.ravel()[places].astype(np.intp), probability.ravel()[places])
        present = np.unique(truth.ravel()[places])
        self._count(probability, truth > 0, peaks[present])

    def add_points(
        self, probability: npt.NDArray[Any], points: npt.NDArray[Any] | Sequence[Sequence[float]]
    ) -> None:
        """Count one image whose lesions are given as points with radii.

        A lesion is hit where the distance of a covered pixel to its centre is at most the radius.

        Parameters
        ----------
        probability
            Values in [0, 1], shape (H, W).
        points
            Shape (N, 3): row, column, radius in pixels. Discs may overlap. Empty for a healthy
            image.
        """
        probability = self._checked(probability, np.shape(probability))
        inside = np.zeros(probability.shape, np.bool_)
        peaks = []
        for row, col, radius in np.asarray(points, np.float64).reshape(-1, 3):
            rows, cols = disc_pixels(row, col, radius, probability.shape)
            inside[rows, cols] = True
            peaks.append(probability[rows, cols].max(initial=0))
        self._count(probability, inside, np.asarray(peaks, np.float32))

    def extend(self, other: Froc) -> None:
        """Add the images of `other`, counted elsewhere, after one's own."""
        if other.lowest != self.lowest:
            raise ValueError(f"The lowest thresholds differ: {self.lowest} and {other.lowest}.")
        self._lesions += other._lesions
        self._hits += other._hits
        self._appear += other._appear
        self._vanish += other._vanish

    def _checked(
        self, probability: npt.NDArray[Any], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        probability = np.asarray(probability, np.float32)
        if probability.shape != shape:
            raise ValueError(f"The map has shape {probability.shape}, the truth {shape}.")
        if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
            raise ValueError("Probabilities lie in [0, 1] and are not NaN.")
        return probability

    def _count(
        self,
        probability: npt.NDArray[np.float32],
        truth: npt.NDArray[np.bool_],
        peaks: npt.NDArray[np.float32],
    ) -> None:
        appear, vanish = false_component_events(probability, truth, lowest=self.lowest)
        self._lesions.append(len(peaks))
        self._hits.append(peaks[peaks > self.lowest])
        self._appear.append(appear)
        self._vanish.append(vanish)

    def curve(self, weights: npt.NDArray[np.int64] | None = None) -> FrocCurve:
        """Return the curve over all images added.

        Parameters
        ----------
        weights
            How often each image counts, int64, shape (number of images,): for the bootstrap. None
            counts each once.
        """
        if not len(self):
            raise ValueError("No image was added.")
        if weights is None:
            weights = np.ones(len(self), np.int64)
        images = int(weights.sum())
        lesions = int(weights @ np.asarray(self._lesions))
        levels: list[npt.NDArray[np.float32]] = []
        changes: list[npt.NDArray[np.int64]] = []
        for events, hit, false in (
            (self._hits, 1, 0),
            (self._appear, 0, 1),
            (self._vanish, 0, -1),
        ):
            weight = np.repeat(weights, [len(image) for image in events])
            levels.append(np.concatenate(events))
            changes.append(weight[:, np.newaxis] * np.array([hit, false]))
        level, change = np.concatenate(levels), np.concatenate(changes)
        order = np.argsort(-level, kind="stable")
        level, total = level[order], np.cumsum(change[order], axis=0)
        # Only values that differ separate sets of detections; counts hold just below each.
        last = np.flatnonzero(np.append(level[1:] != level[:-1], bool(len(level))))
        below = np.append(level[last][1:], np.float32(self.lowest)).astype(np.float64)
        total = np.concatenate([np.zeros((1, 2), np.int64), total[last]])
        thresholds = np.concatenate([[np.inf], below[: len(last)]])
        sensitivity = total[:, 0] / lesions if lesions else np.full(len(total), np.nan)
        return FrocCurve(thresholds, sensitivity, total[:, 1] / images, images, lesions)


def disc_pixels(
    row: float, col: float, radius: float, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the pixels within `radius` of a point, the nearest one always."""
    top, bottom = max(int(np.floor(row - radius)), 0), min(int(np.ceil(row + radius)), shape[0] - 1)
    left, right = max(int(np.floor(col - radius)), 0), min(int(np.ceil(col + radius)), shape[1] - 1)
    rows, cols = np.mgrid[top : bottom + 1, left : right + 1]
    distance = np.hypot(rows - row, cols - col)
    near = distance <= max(radius, distance.min(initial=np.inf))
    return rows[near], cols[near]
