"""Weak localization: how well a classifier's heat map points at the lesions, over many images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_fundus.lesions import DR_LESIONS
from napari_fundus.metrics.bootstrap import ImageWeights
from napari_fundus.metrics.froc_curve import FrocCurve
from napari_fundus.metrics.regions import SparseLesions, find_regions, normalize_heatmap
from napari_fundus.results.components import find_components

LOCALIZATION_THRESHOLD = 0.65
"""Threshold of the published figures."""

LOCALIZATION_THRESHOLDS: tuple[float, ...] = tuple(n / 20 for n in range(1, 21))
"""Thresholds of the curve: 0.05, 0.1, …, 1; the published one is among them."""

MatchRule = Literal["strict", "loose"]
Sweep = Literal["threshold", "score"]


@dataclass(frozen=True)
class PublishedLocalization:
    """A published figure: DIARETDB1, lesion level, strict rule.

    Attributes
    ----------
    sensitivity
        Share of the lesions found.
    fpi
        False regions an image.
    """

    sensitivity: float
    fpi: float


PUBLISHED_LOCALIZATION: Mapping[str, PublishedLocalization] = {
    "HE": PublishedLocalization(0.72, 2.25),
    "EX": PublishedLocalization(0.47, 1.9),
    "SE": PublishedLocalization(0.71, 1.45),
    "MA": PublishedLocalization(0.21, 2.0),
}
"""By class; the set's red small dots stand under MA."""


@dataclass(frozen=True)
class LocalizationCounts:
    """Counts over images at one threshold; ratios are NaN where they are 0/0.

    Attributes
    ----------
    images
        Images in which the class was annotated, those without a lesion of it included.
    lesions, found_strict, found_loose
        True lesions, and those covered by half of their pixels or by one.
    with_lesions, images_strict, images_loose
        Images with a lesion, and those in which one was found by either rule.
    regions, false_regions, astray
        All regions, those of too little mean overlap, and those of them that touch no lesion.
    """

    images: int
    lesions: int
    found_strict: int
    found_loose: int
    with_lesions: int
    images_strict: int
    images_loose: int
    regions: int
    false_regions: int
    astray: int

    def sensitivity(self, rule: MatchRule = "strict") -> float:
        """Share of the lesions found."""
        return _ratio(self.found_strict if rule == "strict" else self.found_loose, self.lesions)

    def image_sensitivity(self, rule: MatchRule = "strict") -> float:
        """Share of the images with a lesion in which one was found."""
        found = self.images_strict if rule == "strict" else self.images_loose
        return _ratio(found, self.with_lesions)

    @property
    def fpi(self) -> float:
        """False regions an image."""
        return _ratio(self.false_regions, self.images)

    @property
    def unmatched_per_image(self) -> float:
        """Regions that touch no lesion, an image."""
        return _ratio(self.astray, self.images)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@dataclass(eq=False)
class _ClassRecord:
    """What images leave behind for one class: a row of numbers each."""

    image: list[int] = field(default_factory=list)
    fixed: list[list[int]] = field(default_factory=list)
    # For each sweep and image: lesions found strictly, loosely, and false regions, at each level.
    swept: dict[Sweep, list[npt.NDArray[np.int64]]] = field(
        default_factory=lambda: {"threshold": [], "score": []}
    )


class WeakLocalization:
    """Counts lesions pointed at and false regions over images, one image at a time.

    A heat map is normalized to [0, 1]; its 8-connected regions at or above a threshold are compared
    with the true lesions of each class. **Lesion level**: a lesion is found if half of its pixels
    are covered (strict) or one is (loose). A region is false if its mean intersection over union
    with the lesions it covers is below one half. **Image level**: an image with lesions of the
    class is found if one of them is, by either rule.

    Parameters
    ----------
    lesions
        Classes to count.
    threshold
        Of the regions.
    thresholds
        Of the curve, ascending, in (0, 1]; empty to save the time of labelling at each.

    Notes
    -----
    What the published protocol leaves open is read so: a region covers a lesion if they share a
    pixel; a region that covers none has mean overlap 0 and is false; all regions together count as
    the cover of a lesion; regions are compared with one class at a time, so that one on a
    haemorrhage is false for exudates; each map is normalized by itself, within its field of view;
    images count in which the class was annotated, and false regions are divided by all of them.

    A heat map points, it does not draw: one region over a cluster of small lesions finds all of
    them and is false by its overlap. Therefore regions astray, which touch no lesion at all, are
    counted too.

    References
    ----------
    Gondal W. M. et al.: Weakly-supervised localization of diabetic retinopathy lesions in retinal
    fundus images. IEEE ICIP, 2017, 2069–2073.

    Examples
    --------
    >>> heatmap = np.zeros((8, 8), np.float32)
    >>> heatmap[1:3, 1:3], heatmap[6, 6] = 1, 0.7
    >>> truth = np.zeros((8, 8), bool)
    >>> truth[1:3, 1:4] = True
    >>> found = WeakLocalization(["EX"])
    >>> found.add(heatmap, {"EX": truth})
    >>> counts = found.counts("EX")
    >>> counts.sensitivity("strict"), counts.regions, counts.false_regions
    (1.0, 2, 1)
    """

    def __init__(
        self,
        lesions: Sequence[str] = DR_LESIONS,
        *,
        threshold: float = LOCALIZATION_THRESHOLD,
        thresholds: Sequence[float] = LOCALIZATION_THRESHOLDS,
    ) -> None:
        self.lesions = tuple(str(code) for code in lesions)
        self.threshold = threshold
        self.thresholds = np.asarray(thresholds, np.float64)
        rising = bool((np.diff(self.thresholds) > 0).all())
        if not rising or not all(0 < t <= 1 for t in (threshold, *self.thresholds)):
            raise ValueError("Thresholds of heat maps lie in (0, 1] and ascend.")
        self._classes = {code: _ClassRecord() for code in self.lesions}
        self._images = 0

    def __len__(self) -> int:
        return self._images

    def add(
        self,
        heatmap: npt.NDArray[Any],
        truths: Mapping[str, npt.NDArray[Any]],
        *,
        field_of_view: npt.NDArray[np.bool_] | None = None,
        normalize: bool = True,
    ) -> None:
        """Count one image.

        Parameters
        ----------
        heatmap
            Where the classifier looked, shape (H, W).
        truths
            Class code to truth of the same shape: bool, or integer with each value above 0 a
            lesion. Only classes that were annotated; an empty mask means that none was seen.
        field_of_view
            bool, shape (H, W); see `regions.normalized`.
        normalize
            False takes the map's values, which lie in [0, 1], as comparable between images.
        """
        values = np.asarray(heatmap, np.float32)
        if normalize:
            values = normalize_heatmap(values, field_of_view)
        elif values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("A heat map that is not normalized lies in [0, 1].")
        known = {code: SparseLesions(truths[code]) for code in self.lesions if code in truths}
        for code, lesions in known.items():
            if lesions.shape != values.shape:
                raise ValueError(
                    f"The heat map has shape {values.shape}, the truth of {code} {lesions.shape}."
                )
        regions = find_regions(values, self.threshold)
        false_at = self._false_at(values, known)
        for code, lesions in known.items():
            match = lesions.match(regions)
            strict, loose = match.strict >= 0, match.loose >= 0
            record = self._classes[code]
            record.image.append(self._images)
            record.fixed.append(
                [
                    1,
                    len(lesions),
                    int(strict.sum()),
                    int(loose.sum()),
                    int(len(lesions) > 0),
                    int(strict.any()),
                    int(loose.any()),
                    len(regions),
                    int(match.false.sum()),
                    int(match.astray.sum()),
                ]
            )
            by_value = [self._reach(level) for level in lesions.levels(values)]
            by_score = [self._reach(x) for x in (match.strict, match.loose)]
            record.swept["threshold"].append(np.stack([*by_value, false_at[code]]))
            false_scores = regions.scores[match.false]
            record.swept["score"].append(np.stack([*by_score, self._reach(false_scores)]))
        self._images += 1

    def _reach(self, levels: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return how many of `levels` are at or above each threshold."""
        ordered = np.sort(levels)
        indices = np.searchsorted(ordered, self.thresholds.astype(np.float32), side="left")
        return np.asarray(len(ordered) - indices, np.int64)

    def _false_at(
        self, values: npt.NDArray[np.float32], known: Mapping[str, SparseLesions]
    ) -> dict[str, npt.NDArray[np.int64]]:
        """Return the number of false regions at each threshold, by class."""
        false = {code: np.zeros(len(self.thresholds), np.int64) for code in known}
        if not known or not len(self.thresholds):
            return false
        # Bytes in place of numbers: a pixel's level is how many thresholds it reaches.
        edges = self.thresholds.astype(np.float32)
        level = np.searchsorted(edges, values.ravel(), side="right").reshape(values.shape)
        level = level.astype(np.uint8 if len(edges) < 256 else np.uint16)
        labels = np.zeros(values.shape, np.int32)
        for number in range(len(edges)):
            mask = level > number
            if not mask.any():
                break
            found = find_components(mask)
            labels[:] = 0
            labels.reshape(-1)[found.pixels] = found.part + 1
            for code, lesions in known.items():
                false[code][number] = lesions.false_regions(labels, found.area)[0]
        return false

    def counts(self, lesion: str, weights: ImageWeights | None = None) -> LocalizationCounts:
        """Return the counts of a class at the threshold.

        Parameters
        ----------
        lesion
            Class code.
        weights
            How often each image added counts, int64, shape (number of images,): for the bootstrap.
            None counts each once. Images in which the class was not annotated never count.
        """
        record = self._classes[lesion]
        if not record.image:
            return LocalizationCounts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        total = self._weights(record, weights) @ np.asarray(record.fixed)
        return LocalizationCounts(*(int(number) for number in total))

    def curve(
        self,
        lesion: str,
        *,
        rule: MatchRule = "strict",
        sweep: Sweep = "threshold",
        weights: ImageWeights | None = None,
        whole: bool = False,
    ) -> FrocCurve:
        """Return the free-response curve of a class.

        Parameters
        ----------
        lesion
            Class code.
        rule
            By which a lesion is found.
        sweep
            ``"threshold"``: regions are formed anew at each of `thresholds`. ``"score"``: the
            regions of the fixed threshold are kept while their score, the largest value inside, is
            at or above each; since every normalized map reaches 1, this curve begins with a region
            in each image.
        weights
            As for `counts`.
        whole
            Keep what lies below the threshold of most false regions. There regions merge, and one
            that fills the image would find every lesion.

        Returns
        -------
        FrocCurve
            Detections lie at or above its thresholds. The first point is that of no detection.
        """
        record = self._classes[lesion]
        if not record.image:
            raise ValueError(f"{lesion} was annotated in none of the images added.")
        times = self._weights(record, weights)
        images, lesions = (int(n) for n in times @ np.asarray(record.fixed)[:, :2])
        strict, loose, false = np.tensordot(times, np.stack(record.swept[sweep]), 1)
        found = np.append(0, (strict if rule == "strict" else loose)[::-1])
        fpi = np.append(0, false[::-1]) / max(images, 1)
        thresholds = np.append(np.inf, self.thresholds[::-1])
        end = len(fpi) if whole else len(fpi) - int(np.argmax(fpi[::-1]))
        return FrocCurve(
            thresholds[:end],
            found[:end] / lesions if lesions else np.full(end, np.nan),
            fpi[:end],
            images,
            lesions,
            float(thresholds[end - 1]) if end < len(fpi) else None,
        )

    def _weights(self, record: _ClassRecord, weights: ImageWeights | None) -> ImageWeights:
        everyone = np.ones(len(self), np.int64) if weights is None else weights
        return np.asarray(everyone[record.image], np.int64)
