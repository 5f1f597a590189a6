"""The result of a detector: maps or objects, labels, a table of lesions, how it all came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from napari_fundus.errors import DetectorError, OptionsError
from napari_fundus.image_identity import Digest, ImageIdentity
from napari_fundus.landmarks import Landmarks, disc_of_map
from napari_fundus.lesions import Lesion, describe
from napari_fundus.results.instances import empty_instances, label_map, label_objects
from napari_fundus.results.objects import LesionObject

Map = npt.NDArray[np.float32]


class Provenance(BaseModel):
    """Everything that is needed to repeat a run.

    It goes into ``layer.metadata`` and into every exported file. ``edited`` names the classes whose
    labels a person changed after the run: these no run repeats. ``warnings`` says what a person
    should know before trusting the result, such as that the picture hardly shows a retina.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    detector_version: str
    package_version: str
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    options: dict[str, Any] = {}
    device: str = "cpu"
    precision: str = "float32"
    seconds: float = 0.0
    image_name: str = ""
    image_path: str | None = None
    image_sha256: Digest = ""
    image_perceptual: Digest = ""
    image_shape: tuple[int, int] = (0, 0)
    created: str = ""
    edited: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> ImageIdentity:
        """The photograph, by its content."""
        return ImageIdentity(
            name=self.image_name, sha256=self.image_sha256, perceptual=self.image_perceptual
        )


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """What a detector found in one image; every array is in the ORIGINAL image's pixels.

    Attributes
    ----------
    provenance
        Detector, options, device, image: enough to repeat the run.
    probability
        Class code to map: float32, shape (H, W), values in [0, 1], 0 outside the field of view.
    thresholds
        Class code to the threshold now applied to its map.
    min_area
        Least area of a lesion now applied, in pixels.
    heatmap
        Class code to a map of where a classifier looked: float32, shape (H, W), values in [0, 1].
    stages
        Title to a map that the method made on its way, such as one scale's: float32, shape (H, W),
        values in [0, 1]. To be looked at; neither labels nor table come from it.
    image_score
        Name to a score of the whole image in [0, 1], for classifiers.
    field_of_view
        bool, shape (H, W), or None where the detector needs none.
    has_boxes
        Whether the method's own result is boxes, so that they are worth a layer.
    given_landmarks
        Optic disc and fovea, as a data set or a person gives them.
    objects
        Lesions that the method itself separated, also those below the thresholds. Where a class
        has any, its labels and rows come from them and not from its map: the score of a row is the
        object's, and where two overlap the surer one has the pixels (see
        `napari_fundus.results.instances.label_objects`). Its map is the largest score of any object
        there.

    Notes
    -----
    ``labels`` and ``instances`` are derived from maps and objects when first asked for, and
    :meth:`threshold` gives a new result from the same ones without running the detector again.
    Ids are unique over all classes: row ``id`` of the table is value ``id`` in
    ``labels[lesion]``.
    """

    provenance: Provenance
    probability: Mapping[str, Map]
    thresholds: Mapping[str, float]
    min_area: int = 1
    heatmap: Mapping[str, Map] = field(default_factory=dict)
    stages: Mapping[str, Map] = field(default_factory=dict)
    image_score: Mapping[str, float] = field(default_factory=dict)
    field_of_view: npt.NDArray[np.bool_] | None = None
    has_boxes: bool = False
    given_landmarks: Landmarks = field(default_factory=Landmarks)
    objects: tuple[LesionObject, ...] = ()

    def __post_init__(self) -> None:
        for kind, maps in (
            ("probability", self.probability),
            ("heatmap", self.heatmap),
            ("stages", self.stages),
        ):
            for code, array in maps.items():
                _check_map(array, self.shape, f"{kind}[{str(code)!r}]")
        if missing := set(self.probability) - set(self.thresholds):
            raise DetectorError(f"No threshold is given for {', '.join(sorted(missing))}.")
        for found in self.objects:
            _check_object(found, self)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.provenance.image_shape

    @property
    def lesions(self) -> tuple[str, ...]:
        """Codes of the classes that have a map, in the detector's order."""
        return tuple(str(code) for code in self.probability)

    def objects_of(self, lesion: str) -> tuple[LesionObject, ...]:
        """Return the objects of one class; empty where its lesions come from the map."""
        return tuple(found for found in self.objects if found.lesion == lesion)

    @cached_property
    def landmarks(self) -> Landmarks:
        """Optic disc and fovea: those given, completed by the disc that a map of OD shows."""
        given, found = self.given_landmarks, None
        if Lesion.OD in self.probability and (given.disc is None or given.disc.diameter is None):
            found = disc_of_map(
                self.probability[Lesion.OD],
                threshold=self.thresholds[Lesion.OD],
                field_of_view=self.field_of_view,
            )
        return given.combine_first(Landmarks(disc=found))

    @cached_property
    def _labelled(self) -> tuple[dict[str, npt.NDArray[np.int32]], pd.DataFrame]:
        labels: dict[str, npt.NDArray[np.int32]] = {}
        tables: list[pd.DataFrame] = []
        next_id = 1
        for code, probability in self.probability.items():
            threshold = self.thresholds[code]
            if objects := self.objects_of(code):
                labels[str(code)], table = label_objects(
                    objects,
                    lesion=code,
                    shape=self.shape,
                    threshold=threshold,
                    min_area=self.min_area,
                    first_id=next_id,
                )
            else:
                labels[str(code)], table = label_map(
                    probability,
                    lesion=code,
                    threshold=threshold,
                    min_area=self.min_area,
                    first_id=next_id,
                )
            next_id += len(table)
            if len(table):
                tables.append(table)
        instances = pd.concat(tables, ignore_index=True) if tables else empty_instances()
        return labels, instances

    @property
    def labels(self) -> Mapping[str, npt.NDArray[np.int32]]:
        """Class code to labels: int32, shape (H, W), each lesion its own id, 0 for none."""
        return self._labelled[0]

    @property
    def instances(self) -> pd.DataFrame:
        """Table with one row a lesion; columns as `.instances.INSTANCE_COLUMNS`."""
        return self._labelled[1]

    def __repr__(self) -> str:
        ran = self.provenance
        lines = [f"Detections of {ran.detector} in {ran.image_name or 'an image'}, {self._size()}"]
        lines += [
            f"  {code:<5} {count:>5} {describe(code).name if count == 1 else describe(code).plural}"
            f" at {self.thresholds[code]:.3g} or above"
            for code, count in self._counts().items()
        ]
        lines += [f"  {name}: {score:.3f}" for name, score in self.image_score.items()]
        lines += [f"  Warning: {warning}" for warning in ran.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        ran = self.provenance
        rows = "".join(
            f"<tr><td style='border-left: 1em solid {describe(code).colour}'>{escape(code)}</td>"
            f"<td>{escape(describe(code).plural)}</td><td>{count}</td>"
            f"<td>{self.thresholds[code]:.3g}</td></tr>"
            for code, count in self._counts().items()
        )
        scores = "".join(
            f"<br>{escape(name)}: <b>{score:.3f}</b>" for name, score in self.image_score.items()
        )
        scores += "".join(f"<br>⚠ {escape(warning)}" for warning in ran.warnings)
        return (
            f"<b>{escape(ran.detector)}</b> in <b>{escape(ran.image_name or 'an image')}</b>, "
            f"{self._size()}{scores}<table><tr><th></th><th>class</th><th>lesions</th>"
            f"<th>threshold</th></tr>{rows}</table>"
        )

    def _counts(self) -> dict[str, int]:
        found = self.instances["lesion"].value_counts()
        return {code: int(found.get(code, 0)) for code in self.lesions}

    def _size(self) -> str:
        height, width = self.shape
        return f"{width}×{height} px, {self.provenance.seconds:.1f} s on {self.provenance.device}"

    def threshold(
        self, threshold: float | Mapping[str, float] | None = None, *, min_area: int | None = None
    ) -> Detections:
        """Return the result at other thresholds, from the kept maps and objects.

        Parameters
        ----------
        threshold
            One value in [0, 1] for all classes, or class code to value; classes left out keep
            theirs.
        min_area
            Least area in pixels; None keeps the present one.

        Raises
        ------
        OptionsError
            A value is out of bounds or a class has no map.
        """
        given: Mapping[str, float]
        if threshold is None:
            given = {}
        elif isinstance(threshold, Mapping):
            given = threshold
        else:
            given = dict.fromkeys(self.probability, threshold)
        area = self.min_area if min_area is None else min_area
        self.check_thresholds(given, min_area=area)
        return replace(self, thresholds={**self.thresholds, **given}, min_area=area)

    def check_thresholds(
        self, thresholds: Mapping[str, float], *, min_area: int | None = None
    ) -> None:
        """Raise the errors of :meth:`threshold` where it would."""
        if unknown := set(thresholds) - set(self.probability):
            raise OptionsError(
                f"No map for {', '.join(sorted(unknown))}; there are {', '.join(self.lesions)}."
            )
        if bad := [t for t in thresholds.values() if not 0 <= t <= 1]:
            raise OptionsError(f"A threshold lies between 0 and 1, not {bad[0]}.")
        if min_area is not None and min_area < 1:
            raise OptionsError(f"The minimum area is at least 1 pixel, not {min_area}.")


_VALIDATED_MAPS: WeakValueDictionary[int, Map] = WeakValueDictionary()
"""Maps looked through before: a moved slider makes a new result of the same ones, at once."""


def _check_map(array: Any, shape: tuple[int, int], name: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        what = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array)
        raise DetectorError(f"{name} must be a float32 array of shape {shape}, not {what}.")
    if _VALIDATED_MAPS.get(id(array)) is array:
        return
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise DetectorError(f"{name} must lie in [0, 1], but spans {low:g} to {high:g}.")
    _VALIDATED_MAPS[id(array)] = array


def _check_object(found: LesionObject, result: Detections) -> None:
    name = f"An object of {str(found.lesion)!r}"
    if found.lesion not in result.probability:
        raise DetectorError(f"{name} has no map beside it: every class needs one.")
    mask = found.mask
    if mask.dtype != np.bool_ or mask.ndim != 2 or not mask.any():
        raise DetectorError(f"{name} needs a bool mask of two axes with a pixel set.")
    (top, bottom), (left, right) = ((part.start, part.stop) for part in found.window)
    if min(top, left) < 0 or bottom > result.shape[0] or right > result.shape[1]:
        raise DetectorError(
            f"{name} covers rows {top} to {bottom} and columns {left} to {right} of an image of "
            f"shape {result.shape}."
        )
    if not 0 <= found.score <= 1:
        raise DetectorError(f"{name} has the score {found.score:g}, not one in [0, 1].")
