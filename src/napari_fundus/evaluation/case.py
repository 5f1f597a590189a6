"""One image under evaluation: its truth read once, and how each result compares with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.datasets import Sample
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.metrics.overlap import LesionCounts, PixelOverlap, pixel_overlap
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import LesionObject, clip_objects

__all__ = ["Case", "LesionMatch", "as_healthy", "is_healthy"]

Mask = npt.NDArray[np.bool_]


def is_healthy(sample: Sample) -> bool:
    """Tell whether a sample is graded as without retinopathy, and nothing is drawn in it."""
    return sample.grades.get("dr") == 0 and not sample.annotated


def as_healthy(sample: Sample) -> Sample:
    """Return a sample of a healthy folder: grade 0, and named ``healthy/…`` as in training."""
    return replace(
        sample,
        id=f"healthy/{sample.id}",
        split=None,
        annotated=frozenset(),
        truths={},
        grades={**sample.grades, "dr": 0},
    )


@dataclass(frozen=True, eq=False)
class LesionMatch:
    """A result and the truth of one class in one image, lesion by lesion.

    Attributes
    ----------
    truth
        bool, shape (H, W).
    boxes
        int64, shape (N, 4): first row, first column, one past the last row and column of each true
        lesion (an 8-connected component).
    peaks
        float32, shape (N,): largest probability within each true lesion.
    found
        bool, shape (N,): whether a detection covers at least one of its pixels.
    labels
        int32, shape (H, W): the detections, as in `table`.
    table
        Detections of this class, a row each; see
        `napari_fundus.results.instances.INSTANCE_COLUMNS`.
    touching
        bool, shape (M,): whether a detection touches a true lesion.
    pixels
        Counts of pixels over the whole image.
    """

    truth: Mask
    boxes: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.float32]
    found: Mask
    labels: npt.NDArray[np.int32]
    table: pd.DataFrame
    touching: Mask
    pixels: PixelOverlap

    @property
    def counts(self) -> LesionCounts:
        """Counts of lesions, by the rules of FROC."""
        return LesionCounts(
            len(self.found),
            int(self.found.sum()),
            len(self.touching),
            int((~self.touching).sum()),
        )


@dataclass(frozen=True, eq=False)
class _Lesions:
    """True lesions of one class: their mask, labels from 1, and boxes."""

    mask: Mask
    labels: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int64]


class Case:
    """One image, and which classes are evaluated in it.

    Parameters
    ----------
    sample
        Of the data set.
    image
        Its pixels.
    lesions
        Classes that the evaluation asks for.

    Attributes
    ----------
    annotated
        Those of the classes that experts looked for in this image: the only ones in which anything
        can be right or wrong.
    absent
        Those known to be absent since the image is healthy, though nobody drew it.
    region
        bool, shape (H, W): the part that experts looked at; None for all of it. Pixels and lesions
        outside count nowhere.
    """

    def __init__(self, sample: Sample, image: FundusImage, lesions: Sequence[str]) -> None:
        self.sample, self.image = sample, image
        self.annotated = tuple(code for code in lesions if code in sample.annotated)
        healthy = is_healthy(sample)
        self.absent = tuple(c for c in lesions if healthy and c in DR_LESIONS)
        self.region = sample.region(image.shape)
        self._lesions: dict[str, _Lesions] = {}
        self._objects: dict[str, list[LesionObject]] = {}
        self._matches: dict[str, LesionMatch] = {}
        self._matched: Detections | None = None

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape

    def truth(self, lesion: str) -> Mask:
        """Return the true mask of a class: bool, shape (H, W); empty for a healthy image.

        Raises
        ------
        DatasetError
            The class was not annotated, and the image is not known to be healthy.
        """
        return self._lesions_of(lesion).mask

    def objects(self, lesion: str) -> list[LesionObject]:
        """Return the true lesions of a class one by one, as drawn; raises as :meth:`truth`."""
        if lesion in self.absent:
            return []
        if lesion not in self._objects:
            drawn = self.sample.objects(lesion, self.shape)
            region = self.region
            self._objects[lesion] = drawn if region is None else [*clip_objects(drawn, region)]
        return self._objects[lesion]

    @cached_property
    def field_of_view(self) -> Mask:
        """The disc, as the data set gives it or as it is found; all of it where there is none."""
        given = self.image.given_field_of_view
        if given is not None:
            return given
        try:
            return find_field_of_view(self.image)
        except NoFieldOfViewError:
            return np.ones(self.shape, np.bool_)

    def within(self, detections: Detections) -> Detections:
        """Return a result without what it finds outside the part that experts looked at."""
        region = self.region
        if region is None:
            return detections
        field = detections.field_of_view
        return replace(
            detections,
            probability=_mask_maps(detections.probability, region),
            heatmap=_mask_maps(detections.heatmap, region),
            objects=clip_objects(detections.objects, region),
            field_of_view=region if field is None else field & region,
        )

    def pixels(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the pixels of an array, shape (H, W), that count: of any shape, in their order."""
        return array if self.region is None else array[self.region]

    def match(self, detections: Detections, lesion: str) -> LesionMatch:
        """Return how a result compares with the truth; computed once a result."""
        if self._matched is not detections:
            self._matched = detections
            self._matches = {}
        if lesion not in self._matches:
            self._matches[lesion] = self._match(detections, lesion)
        return self._matches[lesion]

    def _lesions_of(self, lesion: str) -> _Lesions:
        if lesion not in self._lesions:
            if lesion in self.absent:
                mask = np.zeros(self.shape, np.bool_)
            else:
                mask = np.ascontiguousarray(self.sample.mask(lesion, self.shape))
                if self.region is not None:
                    mask &= self.region
            found = cv2.connectedComponentsWithStats(
                mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
            )
            left, top, width, height = np.asarray(found[2][1:, :4], np.int64).T
            boxes = np.stack([top, left, top + height, left + width], axis=1)
            self._lesions[lesion] = _Lesions(mask, np.asarray(found[1], np.int32), boxes)
        return self._lesions[lesion]

    def _match(self, detections: Detections, lesion: str) -> LesionMatch:
        known = self._lesions_of(lesion)
        labels, probability = detections.labels[lesion], detections.probability[lesion]
        table = detections.instances
        table = table[table["lesion"] == lesion].reset_index(drop=True)
        places = np.flatnonzero(known.mask)
        true, given = known.labels.ravel()[places], labels.ravel()[places]
        peaks = np.zeros(len(known.boxes) + 1, np.float32)
        np.maximum.at(peaks, true, probability.ravel()[places])
        both: Any = given > 0
        found = np.zeros(len(known.boxes) + 1, np.bool_)
        found[true[both]] = True
        return LesionMatch(
            known.mask,
            known.boxes,
            peaks[1:],
            found[1:],
            labels,
            table,
            np.isin(table["id"].to_numpy(), given[both]),
            pixel_overlap(labels, known.mask, self.region),
        )


def _mask_maps(
    maps: Mapping[str, npt.NDArray[np.float32]], region: Mask
) -> dict[str, npt.NDArray[np.float32]]:
    return {code: np.where(region, array, np.float32(0)) for code, array in maps.items()}
