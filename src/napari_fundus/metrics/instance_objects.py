"""What instance figures compare: a detector's lesions as objects, and the true ones dilated."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.results.detections import Detections
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.objects import LesionObject, objects_of_mask

PAPER_WIDTH = 1024
"""Width of the field of view, in px, at which the Mask R-CNN paper dilates its masks."""

_PAPER_RADIUS = 4
"""Pixels by which two dilations with 5×5 thicken a mask."""


def detected_objects(detections: Detections, lesion: str) -> list[LesionObject]:
    """Return the detections of one class at the detector's threshold and least area.

    They are the detector's own objects, whole where they overlap; for a detector that knows pixels
    alone, its components, each with the largest probability inside as its score.
    """
    own = detections.objects_of(lesion)
    if own:
        # As `passes_thresholds` has it for the table: scores are compared as 32-bit floats.
        least = np.float32(detections.thresholds[lesion])
        return [
            item
            for item in own
            if np.float32(item.score) >= least and item.mask.sum() >= detections.min_area
        ]
    labels = detections.labels[lesion]
    table = detections.instances
    table = table[table["lesion"] == lesion]
    boxes = table[["id", *(c for c in INSTANCE_COLUMNS if c.startswith("bbox"))]].to_numpy(np.int64)
    found = []
    for (number, top, left, bottom, right), score in zip(boxes, table["score"], strict=True):
        mask = labels[top:bottom, left:right] == number
        found.append(LesionObject(lesion, float(score), int(top), int(left), mask))
    return found


def dilation_radius(field_of_view: npt.NDArray[np.bool_], *, width: int = PAPER_WIDTH) -> int:
    """Return by how many pixels of this image two dilations with 5×5 thicken, done at a `width`.

    Parameters
    ----------
    field_of_view
        bool, shape (H, W).
    width
        Width of the field of view in px in the image that is dilated. The paper cuts and resizes
        its pictures to 1024 px before it dilates: there 4 px are 14 px of a photograph of IDRiD.

    Examples
    --------
    >>> dilation_radius(np.ones((2000, 2048), np.bool_))
    8
    """
    columns = np.flatnonzero(field_of_view.any(axis=0))
    across = int(columns[-1]) + 1 - int(columns[0]) if len(columns) else 0
    return max(round(_PAPER_RADIUS * across / width), 1)


def dilated_lesions(mask: npt.NDArray[np.bool_], *, lesion: str, reach: int) -> list[LesionObject]:
    """Return the components of a mask thickened by `reach` pixels on all sides, by squares.

    Lesions that the thickening joins are one.
    """
    side = 2 * reach + 1
    drawn = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    thick = np.asarray(cv2.dilate(drawn, np.ones((side, side), np.uint8)), np.uint8)
    return objects_of_mask(thick.view(np.bool_), lesion=lesion)
