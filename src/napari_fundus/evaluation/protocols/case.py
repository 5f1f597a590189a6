"""One image under evaluation: its truth read once, and how each result compares with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets import Sample
from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.metrics.lesion_matching import ClassMatch, TrueLesions, match_detections
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import LesionObject, clip_objects

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
        self._masks: dict[str, Mask] = {}
        self._lesions: dict[str, TrueLesions] = {}
        self._objects: dict[str, list[LesionObject]] = {}
        self._matches: dict[str, ClassMatch] = {}
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
        if lesion not in self._masks:
            if lesion in self.absent:
                mask = np.zeros(self.shape, np.bool_)
            else:
                mask = np.ascontiguousarray(self.sample.mask(lesion, self.shape))
                if self.region is not None:
                    mask &= self.region
            self._masks[lesion] = mask
            self._lesions[lesion] = TrueLesions.of(lesion, mask)
        return self._masks[lesion]

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

    def match(self, detections: Detections, lesion: str) -> ClassMatch:
        """Compare a result, as `within` returns it, with the truth; computed once a result."""
        if self._matched is not detections:
            self._matched = detections
            self._matches = {}
        if lesion not in self._matches:
            self.truth(lesion)
            lesions = self._lesions[lesion].with_peaks(detections.probability[lesion])
            area = None if self.region is None else int(self.region.sum())
            self._matches[lesion] = match_detections(detections, lesions, area=area)
        return self._matches[lesion]


def _mask_maps(
    maps: Mapping[str, npt.NDArray[np.float32]], region: Mask
) -> dict[str, npt.NDArray[np.float32]]:
    return {code: np.where(region, array, np.float32(0)) for code, array in maps.items()}
