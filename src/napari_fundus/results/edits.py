"""Labels that a person changed, as a result that can be exported like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import FundusError
from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import (
    LesionObject,
    objects_of_labels,
    objects_of_parts,
    parts_touch,
    score_maps,
)


def apply_edited_labels(
    detections: Detections, edited: Mapping[str, npt.NDArray[Any]]
) -> Detections:
    """Return `detections` with the labels of some classes replaced by those that a person made.

    The maps are moved just across their thresholds where the person disagrees with them, so that
    table, outlines and masks follow. Each 8-connected part of each label is a lesion. In a result
    of objects it has the score that it had, and 1 if it is new; elsewhere the largest probability
    inside.

    Parameters
    ----------
    detections
        The result as it now stands.
    edited
        Class code to labels: any integer dtype, shape (H, W); not 0 means lesion.
    """
    maps: dict[str, npt.NDArray[np.float32]] = {}
    for code, probability in detections.probability.items():
        labels = edited.get(code, detections.labels[code])
        if labels.shape != detections.shape:
            raise FundusError(
                f"The labels of {code} have shape {labels.shape}, the image {detections.shape}."
            )
        smallest = float(np.finfo(np.float32).tiny)
        level = np.float32(max(detections.thresholds[code], smallest))
        values = probability.copy()
        inside = labels > 0
        values[inside] = np.maximum(values[inside], level)
        outside = ~inside & (values >= level)
        values[outside] = np.nextafter(level, np.float32(0))
        maps[code] = values
    names = tuple(sorted({*detections.provenance.edited, *edited}))
    if detections.objects:
        objects = _objects(detections, edited)
        drawn = score_maps(objects, maps, detections.shape)
        maps = {code: np.maximum(drawn[code], values) for code, values in maps.items()}
    else:
        objects = _touching(maps, edited)
    return replace(
        detections,
        probability=maps,
        objects=tuple(objects),
        min_area=1,
        provenance=detections.provenance.model_copy(update={"edited": names}),
    )


def _objects(detections: Detections, edited: Mapping[str, npt.NDArray[Any]]) -> list[LesionObject]:
    """Return each lesion as an object, with the score of the one that most of its pixels show."""
    objects: list[LesionObject] = []
    for code, probability in detections.probability.items():
        level = np.float32(detections.thresholds[code])
        found = objects_of_labels(detections.labels[code], lesion=code)
        for drawn in _parts(edited[code], found, code) if code in edited else found:
            values = probability[drawn.window][drawn.mask]
            scores, counts = np.unique(values[values >= level], return_counts=True)
            score = float(scores[counts.argmax()]) if scores.any() else drawn.score
            objects.append(replace(drawn, score=score))
    return objects


def _parts(
    labels: npt.NDArray[Any], found: list[LesionObject], code: str
) -> Iterator[LesionObject]:
    """Return the parts of edited labels; an object as the method found it stays whole."""
    known = {(x.row, x.col, x.mask.shape, x.mask.tobytes()) for x in found}
    for drawn in objects_of_labels(labels, lesion=code):
        if (drawn.row, drawn.col, drawn.mask.shape, drawn.mask.tobytes()) in known:
            yield drawn
            continue
        for part in objects_of_parts(drawn.mask, lesion=code):
            yield replace(part, row=part.row + drawn.row, col=part.col + drawn.col)


def _touching(
    maps: Mapping[str, npt.NDArray[np.float32]], edited: Mapping[str, npt.NDArray[Any]]
) -> list[LesionObject]:
    """Return the lesions of classes in which some touch, since a map would join them."""
    objects: list[LesionObject] = []
    for code in edited.keys() & maps.keys():
        drawn = objects_of_parts(edited[code], lesion=code)
        if parts_touch(drawn, edited[code]):
            peaks = (float(maps[code][x.window][x.mask].max()) for x in drawn)
            objects += [replace(x, score=peak) for x, peak in zip(drawn, peaks, strict=True)]
    return objects


def same_components(labels: npt.NDArray[Any], others: npt.NDArray[Any]) -> bool:
    """Return whether two label images cut the same pixels into the same parts."""
    pixels = np.flatnonzero(labels)
    if not np.array_equal(pixels, np.flatnonzero(others)):
        return False
    ids = np.stack([a.reshape(-1)[pixels].astype(np.int64) for a in (labels, others)])
    return len(np.unique(ids, axis=1).T) == len(np.unique(ids[0])) == len(np.unique(ids[1]))
