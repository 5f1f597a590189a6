"""Lesions as objects, each with its own small mask and score: what instance detectors find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing.geometry import bounding_box
from napari_fundus.results.components import find_components

_DILATION = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, eq=False)
class LesionObject:
    """One lesion, its mask kept in its box alone.

    Attributes
    ----------
    lesion
        Code of the class.
    score
        How sure the method is, in [0, 1]; 1 for a lesion that a person drew.
    row, col
        First row and column of the box, in pixels of the image that the objects are in.
    mask
        bool, shape (h, w): the box; at least one pixel is set.
    """

    lesion: str
    score: float
    row: int
    col: int
    mask: npt.NDArray[np.bool_]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        height, width = self.mask.shape
        return slice(self.row, self.row + height), slice(self.col, self.col + width)


@dataclass(frozen=True, eq=False)
class RasterizedObjects:
    """Objects of one class painted into one picture, where the surest lies above the others.

    Which object owns a pixel does not depend on a threshold of the score: whatever covers it below
    the owner is less sure.

    Attributes
    ----------
    objects
        The surest first; of equally sure ones the one further up, then further left.
    pixels
        int64, the flat indices of all pixels of objects, ascending.
    owner
        int64, as long as `pixels`: which of `objects` each belongs to.
    """

    objects: tuple[LesionObject, ...]
    pixels: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


def objects_of_mask(
    mask: npt.NDArray[np.bool_], *, lesion: str, min_area: int = 1, dilations: int = 0
) -> list[LesionObject]:
    """Return the 8-connected components of a drawn mask, one object each, with score 1.

    Parameters
    ----------
    mask
        bool, shape (H, W).
    lesion
        Code of the class.
    min_area
        Components of fewer pixels are left out; dilated ones are measured as drawn, and one object
        stands for all drawn components that the dilation joins.
    dilations
        How often the mask is first dilated by a square of 5×5 pixels. The Mask R-CNN paper does so
        twice, which thickens every lesion by 4 px and joins those less than 9 px apart.

    Returns
    -------
    list of LesionObject
        Each mask is bool (h, w), an array of its own.
    """
    drawn = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    if min_area > 1:
        _, parts, sizes, _ = cv2.connectedComponentsWithStats(drawn, connectivity=8)
        drawn = drawn & (sizes[:, cv2.CC_STAT_AREA] >= min_area).astype(np.uint8)[parts]
    if dilations:
        drawn = np.asarray(cv2.dilate(drawn, _DILATION, iterations=dilations), np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        drawn, connectivity=8, ltype=cv2.CV_32S
    )
    found = []
    for number in range(1, count):
        col, row, width, height = (int(value) for value in stats[number, :4])
        window = labels[row : row + height, col : col + width]
        found.append(LesionObject(str(lesion), 1.0, row, col, window == number))
    return found


def objects_of_labels(labels: npt.NDArray[Any], *, lesion: str) -> list[LesionObject]:
    """Return an object for each id of a label image, lowest id first, with score 1.

    Pixels of one id are one object, whether they touch or not.

    Parameters
    ----------
    labels
        Any integer dtype, shape (H, W); 0 where there is none.
    lesion
        Code of the class.
    """
    pixels = np.flatnonzero(labels)
    if not len(pixels):
        return []
    _, of_pixel = np.unique(labels.reshape(-1)[pixels], return_inverse=True)
    by_id = pixels[np.argsort(of_pixel, kind="stable")]
    parts = np.split(by_id, np.cumsum(np.bincount(of_pixel))[:-1])
    objects = []
    for part in parts:
        rows, cols = np.divmod(part, labels.shape[1])
        top, left = int(rows.min()), int(cols.min())
        mask = np.zeros((int(rows.max()) - top + 1, int(cols.max()) - left + 1), np.bool_)
        mask[rows - top, cols - left] = True
        objects.append(LesionObject(lesion, 1.0, top, left, mask))
    return objects


def objects_of_parts(labels: npt.NDArray[Any], *, lesion: str) -> list[LesionObject]:
    """Return an object for each 8-connected part of each id of a label image, with score 1.

    Parts of different ids stay apart where they touch.

    Parameters
    ----------
    labels
        Any integer dtype or bool, shape (H, W); 0 where there is none.
    lesion
        Code of the class.
    """
    from skimage.measure import label

    box = bounding_box(labels != 0)
    if box is None:
        return []
    parts = label(labels[box], connectivity=2)
    found = objects_of_labels(parts, lesion=lesion)
    return [replace(x, row=x.row + box[0].start, col=x.col + box[1].start) for x in found]


def parts_touch(objects: Sequence[LesionObject], labels: npt.NDArray[Any]) -> bool:
    """Return whether any of the parts of a label image touch: as a mask they would be one."""
    return len(find_components(np.ascontiguousarray(labels != 0)).area) < len(objects)


def trim_box(found: LesionObject) -> LesionObject | None:
    """Return the object with its box as small as its mask allows; None where no pixel is set."""
    box = bounding_box(found.mask)
    if box is None or found.mask[box].shape == found.mask.shape:
        return None if box is None else found
    row, col = found.row + box[0].start, found.col + box[1].start
    return replace(found, row=row, col=col, mask=found.mask[box].copy())


def clip_objects(
    objects: Iterable[LesionObject], region: npt.NDArray[np.bool_]
) -> tuple[LesionObject, ...]:
    """Return what of the objects lies in `region`, bool of shape (H, W); empty ones are gone."""
    kept = []
    for found in objects:
        inside = region[found.window]
        if inside.all():
            kept.append(found)
        elif (rest := trim_box(replace(found, mask=found.mask & inside))) is not None:
            kept.append(rest)
    return tuple(kept)


def score_maps(
    objects: Iterable[LesionObject], lesions: Iterable[str], shape: tuple[int, int]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return a map for each of `lesions`: float32 (H, W), the largest score of any object there.

    So objects can be judged and shown like the maps of methods that know pixels alone.
    """
    maps = {str(code): np.zeros(shape, np.float32) for code in lesions}
    for found in objects:
        inside = maps[found.lesion][found.window]
        np.maximum(inside, np.float32(found.score), out=inside, where=found.mask)
    return maps


def rasterize_objects(objects: Sequence[LesionObject], shape: tuple[int, int]) -> RasterizedObjects:
    """Paint objects of one class into a picture of `shape`, the surest last."""
    ordered = sorted(objects, key=lambda found: (-found.score, found.row, found.col))
    canvas = np.zeros(shape, np.int32)
    for number in range(len(ordered), 0, -1):
        canvas[ordered[number - 1].window][ordered[number - 1].mask] = number
    # Only rows with objects are looked through: most of a photograph has none.
    rows = np.zeros(shape[0], np.bool_)
    for found in ordered:
        rows[found.window[0]] = True
    busy = np.flatnonzero(rows)
    at, cols = np.nonzero(canvas[busy])
    pixels = busy[at] * shape[1] + cols
    owner = canvas.reshape(-1)[pixels].astype(np.int64) - 1
    return RasterizedObjects(tuple(ordered), pixels.astype(np.int64), owner)
