"""Between pixels and objects: what a patch's masks ask of the network, and what it answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fundus.inference.detect_objects import paste_mask
from napari_fundus.results.objects import LesionObject, objects_of_labels, objects_of_mask
from napari_fundus.training.patches.drawn_objects import crop_objects, label_planes_to_objects

_LEAST_AREA = 4
_LEAST_CUT_AREA = 12
"""A patch's border leaves slivers of lesions; smaller ones tell nothing of what they are."""


def objects_from_masks(
    planes: npt.NDArray[np.uint8],
    lesions: Sequence[str],
    *,
    drawn: npt.NDArray[np.int32] | None = None,
    dilations: int = 0,
) -> list[LesionObject]:
    """Return the lesions of a patch: those drawn one by one, and components of what is left.

    Parameters
    ----------
    planes
        uint8, shape (K, S, S): not 0 where a lesion of the class lies.
    lesions
        Codes of the classes.
    drawn
        int32, shape (L, S, S): numbers of the lesions drawn one by one, as
        `drawn_objects.objects_to_label_planes` gives them.
    dilations
        See `napari_fundus.results.objects.objects_of_mask`; one drawn by itself is thickened by
        itself.
    """
    masks = planes > 0
    objects: list[LesionObject] = []
    if drawn is not None:
        given, covered = label_planes_to_objects(drawn, lesions)
        masks &= ~covered
        objects = [_dilated(found, planes.shape[1:], dilations) for found in given]
    for mask, code in zip(masks, lesions, strict=True):
        objects += objects_of_mask(mask, lesion=code, dilations=dilations)
    return objects


def _dilated(found: LesionObject, shape: tuple[int, ...], dilations: int) -> LesionObject:
    if not dilations:
        return found
    margin = 2 * dilations
    (wide,) = objects_of_labels(
        cv2.dilate(
            np.pad(found.mask, margin).view(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)
        ),
        lesion=found.lesion,
    )
    (inside,) = crop_objects([wide], margin - found.row, margin - found.col, (shape[0], shape[1]))
    return inside


def detection_target(
    planes: npt.NDArray[np.uint8],
    annotated: Tensor,
    lesions: Sequence[str],
    *,
    drawn: npt.NDArray[np.int32] | None = None,
    dilations: int = 0,
) -> dict[str, Any]:
    """Return the network's target, as `heads.LesionRoIHeads` takes it.

    Boxes come from the masks as they are after all variation. Specks of less than 4 px, and
    slivers of less than 12 px at the patch's border, are ignored.

    Parameters
    ----------
    planes, lesions, drawn, dilations
        As in :func:`objects_from_masks`.
    annotated
        bool, shape (K,): the classes that an expert looked for.
    """
    kept: list[LesionObject] = []
    ignored: list[LesionObject] = []
    for found in objects_from_masks(planes, lesions, drawn=drawn, dilations=dilations):
        least = _LEAST_CUT_AREA if _at_border(found, planes.shape[1:]) else _LEAST_AREA
        (kept if int(found.mask.sum()) >= least else ignored).append(found)
    order = list(lesions)
    return {
        "boxes": _boxes(kept),
        "labels": torch.tensor([order.index(o.lesion) + 1 for o in kept], dtype=torch.int64),
        "masks": [o.mask.view(np.uint8) for o in kept],
        "ignored": _boxes(ignored),
        "annotated": annotated.bool().cpu(),
    }


def _boxes(objects: Sequence[LesionObject]) -> Tensor:
    corners = [(o.col, o.row, o.col + o.mask.shape[1], o.row + o.mask.shape[0]) for o in objects]
    # Whole numbers, which mixed precision does not round as it does all floats on their way in.
    return torch.tensor(corners, dtype=torch.int32).reshape(-1, 4)


def _at_border(found: LesionObject, shape: tuple[int, ...]) -> bool:
    height, width = found.mask.shape
    return (
        found.row == 0
        or found.col == 0
        or found.row + height == shape[0]
        or found.col + width == shape[1]
    )


def predicted_objects(
    result: Mapping[str, Tensor], lesions: Sequence[str], shape: tuple[int, int]
) -> list[LesionObject]:
    """Return what the network found in a picture, each mask in its own box; the surest first.

    Parameters
    ----------
    result
        ``boxes``, ``labels``, ``scores`` and ``masks`` of one picture.
    lesions
        Codes of the classes.
    shape
        Height and width of the picture.
    """
    objects = []
    for box, label, score, mask in zip(
        result["boxes"].float().cpu().numpy(),
        result["labels"].tolist(),
        result["scores"].float().tolist(),
        result["masks"].float().cpu().numpy()[:, 0],
        strict=True,
    ):
        if (pasted := paste_mask(mask, box, shape)) is not None:
            objects.append(LesionObject(lesions[label - 1], score, *pasted))
    return sorted(objects, key=lambda found: -found.score)
