"""Free-response ROC: counts lesions found and false positives of many images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.component_tree import false_component_events, merging_threshold
from napari_fundus.metrics.froc_curve import FrocCurve
from napari_fundus.metrics.map_levels import check_map
from napari_fundus.results.components import find_components


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
    largest
        Most pixels that one component may have, as a share of the image. In an image in which a
        lower threshold would make a larger one, the counts stay as they are just above that: what
        fills the picture points at no lesion, though it touches them all. The default is twice the
        largest lesion drawn in IDRiD (a tenth of its picture). 1 sets no limit.

    Notes
    -----
    A network's map is mostly nowhere 0. As the threshold falls, false positives multiply, then grow
    into each other and into the lesions, until the whole retina is one component that touches them
    all: every lesion "found", without a false positive. That is an artefact of the protocol, so the
    curve ends where the false positives of all images together are at their most (the lowest such
    threshold); further down there are fewer only because components merge.
    ``curve(whole=True)`` has it all.

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

    def __init__(self, *, lowest: float = 0.0, largest: float = 0.2) -> None:
        if not 0 < largest <= 1:
            raise ValueError(f"The largest component is a share above 0 up to 1, not {largest}.")
        self.lowest, self.largest = lowest, largest
        self._lesions: list[int] = []
        # One entry an image: levels at which a lesion is hit (+1 lesion), and at which a false
        # component appears (+1) or vanishes (-1).
        self._hits: list[npt.NDArray[np.float32]] = []
        self._appear: list[npt.NDArray[np.float32]] = []
        self._vanish: list[npt.NDArray[np.float32]] = []
        self._events: _Events | None = None

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
            found = find_components(np.ascontiguousarray(truth))
            places, lesion = found.pixels, found.part
        else:
            places = np.flatnonzero(truth)
            lesion = np.unique(truth.ravel()[places], return_inverse=True)[1]
        probability = check_map(probability, truth.shape)
        peaks = np.zeros(int(lesion.max(initial=-1)) + 1, np.float32)
        np.maximum.at(peaks, lesion, probability.ravel()[places])
        self._count(probability, truth > 0, peaks)

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
        probability = check_map(probability, np.shape(probability))
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
        if other.largest != self.largest:
            raise ValueError(f"The largest shares differ: {self.largest} and {other.largest}.")
        self._events = None
        self._lesions += other._lesions
        self._hits += other._hits
        self._appear += other._appear
        self._vanish += other._vanish

    def _count(
        self,
        probability: npt.NDArray[np.float32],
        truth: npt.NDArray[np.bool_],
        peaks: npt.NDArray[np.float32],
    ) -> None:
        lowest = self.lowest
        if self.largest < 1:
            lowest = merging_threshold(probability, self.largest, lowest=lowest)
        appear, vanish = false_component_events(probability, truth, lowest=lowest)
        self._events = None
        self._lesions.append(len(peaks))
        self._hits.append(peaks[peaks > np.float32(lowest)])
        self._appear.append(appear)
        self._vanish.append(vanish)

    def curve(
        self, weights: npt.NDArray[np.int64] | None = None, *, whole: bool = False
    ) -> FrocCurve:
        """Return the curve over all images added.

        Parameters
        ----------
        weights
            How often each image counts, int64, shape (number of images,): for the bootstrap. None
            counts each once.
        whole
            Whether to go on below the threshold at which the false positives of all images (each
            counted once) are at their most; see the notes of the class.
        """
        if not len(self):
            raise ValueError("No image was added.")
        if weights is None:
            weights = np.ones(len(self), np.int64)
        images = int(weights.sum())
        lesions = int(weights @ np.asarray(self._lesions))
        events = self._sorted_events()
        kept = len(events.last) if whole else events.kept
        last = events.last[:kept]
        used = slice(int(last[-1]) + 1 if kept else 0)
        change = weights[events.image[used]]
        hits = np.concatenate([[0], np.cumsum(change * events.hit[used])[last]])
        false = np.concatenate([[0], np.cumsum(change * events.false[used])[last]])
        sensitivity = hits / lesions if lesions else np.full(len(hits), np.nan)
        thresholds = events.thresholds[: kept + 1]
        ended = float(thresholds[-1]) if kept < len(events.last) else None
        return FrocCurve(thresholds, sensitivity, false / images, images, lesions, ended)

    def _sorted_events(self) -> _Events:
        """Return all images' events, the highest first; sorted once for all the bootstrap."""
        if self._events is None:
            levels, image, hit, false = [], [], [], []
            for parts, lesion, component in (
                (self._hits, 1, 0),
                (self._appear, 0, 1),
                (self._vanish, 0, -1),
            ):
                for number, part in enumerate(parts):
                    levels.append(part)
                    image.append(np.full(len(part), number, np.int32))
                    hit.append(np.full(len(part), lesion, np.int8))
                    false.append(np.full(len(part), component, np.int8))
            level = np.concatenate(levels)
            order = np.argsort(-level, kind="stable")
            level = level[order]
            # Only values that differ tell sets of detections apart; counts hold just below each.
            last = np.flatnonzero(np.append(level[1:] != level[:-1], bool(len(level))))
            ends = [self.lowest] if len(last) else []
            thresholds = np.concatenate([[np.inf], level[last][1:], ends])
            change = np.concatenate(false)[order]
            # With the point before the first level, at which nothing is detected.
            total = np.append(0, np.cumsum(change, dtype=np.int64)[last])
            self._events = _Events(
                np.concatenate(image)[order],
                np.concatenate(hit)[order],
                change,
                last,
                thresholds.astype(np.float64),
                kept=int(len(last) - np.argmax(total[::-1])),
            )
        return self._events


@dataclass(frozen=True, eq=False)
class _Events:
    """Where counts change as the threshold falls: per event its image and what it adds.

    The first `kept` levels, ends of which are in `last`, come before components merge.
    """

    image: npt.NDArray[np.int32]
    hit: npt.NDArray[np.int8]
    false: npt.NDArray[np.int8]
    last: npt.NDArray[np.intp]
    thresholds: npt.NDArray[np.float64]
    kept: int


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
