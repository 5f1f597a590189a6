"""Lesions that were drawn one by one, kept apart where the mask of their class would join them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.preprocessing import Geometry
from napari_fundus.results.objects import LesionObject, objects_of_labels, trim_box


def objects_to_working_scale(
    objects: Sequence[LesionObject], geometry: Geometry, known: npt.NDArray[np.bool_]
) -> list[LesionObject]:
    """Return lesions of one class at the working scale, as far as they lie where it is known.

    Those of which no pixel is left are gone, just as from a mask.

    Parameters
    ----------
    objects
        In pixels of the image.
    geometry
        From there to the working scale.
    known
        bool, shape (H, W) at the working scale: field of view, as far as experts looked at it.
    """
    found = []
    for plane in _non_overlapping_labels(objects, geometry.source_shape):
        labels = np.where(known, geometry.forward_labels(plane), 0)
        found += objects_of_labels(labels, lesion=objects[0].lesion)
    return found


def _non_overlapping_labels(
    objects: Iterable[LesionObject], shape: tuple[int, int]
) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield label images; what overlaps lies on different ones, and one is held at a time."""
    waiting = list(objects)
    while waiting:
        plane, later, number = np.zeros(shape, np.uint16), [], 0
        for found in waiting:
            window = plane[found.window]
            if number == np.iinfo(np.uint16).max or window[found.mask].any():
                later.append(found)
                continue
            number += 1
            window[found.mask] = number
        yield plane
        waiting = later


def components_match_objects(
    objects: Sequence[LesionObject], shape: tuple[int, int], *, reach: int
) -> bool:
    """Return whether the components of the mask are these very lesions, even if widened.

    Parameters
    ----------
    objects
        Of one class.
    shape
        Height and width of the image.
    reach
        By how many pixels they are widened: more than variation brings them nearer.
    """
    mask = np.zeros(shape, np.uint8)
    for found in objects:
        parts, _ = cv2.connectedComponents(found.mask.view(np.uint8), connectivity=8)
        if parts != 2:
            return False
        mask[found.window] |= found.mask
    widened = cv2.dilate(mask, np.ones((2 * reach + 1,) * 2, np.uint8))
    return int(cv2.connectedComponents(widened, connectivity=8)[0]) - 1 == len(objects)


def crop_objects(
    objects: Iterable[LesionObject], row: int, col: int, shape: tuple[int, int]
) -> list[LesionObject]:
    """Return what of the lesions lies in a part of the image, in pixels of that part.

    Parameters
    ----------
    objects
        In pixels of the image.
    row, col
        First of the part.
    shape
        Height and width of the part.
    """
    kept = []
    for found in objects:
        top, left = found.row - row, found.col - col
        height, width = found.mask.shape
        if top >= shape[0] or left >= shape[1] or top + height <= 0 or left + width <= 0:
            continue
        inside = found.mask[max(-top, 0) : shape[0] - top, max(-left, 0) : shape[1] - left]
        part = LesionObject(found.lesion, found.score, max(top, 0), max(left, 0), inside)
        if (rest := trim_box(part)) is not None:
            kept.append(rest)
    return kept


def objects_to_label_planes(
    objects: Iterable[LesionObject], lesions: Sequence[str], shape: tuple[int, int]
) -> list[npt.NDArray[np.int32]]:
    """Return planes of numbers, one for each lesion, that can be turned and warped as masks are.

    Overlapping lesions lie on different planes: mostly there is one. A number gives the class as
    well, see :func:`label_planes_to_objects`.

    Parameters
    ----------
    objects
        Of any classes.
    lesions
        Codes of the classes.
    shape
        Height and width.
    """
    planes: list[npt.NDArray[np.int32]] = []
    for count, found in enumerate(objects):
        free = (p for p in planes if not p[found.window][found.mask].any())
        plane = next(free, None)
        if plane is None:
            plane = np.zeros(shape, np.int32)
            planes.append(plane)
        plane[found.window][found.mask] = 1 + lesions.index(found.lesion) + len(lesions) * count
    return planes


def label_planes_to_objects(
    planes: npt.NDArray[np.int32], lesions: Sequence[str]
) -> tuple[list[LesionObject], npt.NDArray[np.bool_]]:
    """Return the lesions that :func:`objects_to_label_planes` put into planes, and where they lie.

    Parameters
    ----------
    planes
        int32, shape (L, H, W).
    lesions
        Codes of the K classes.

    Returns
    -------
    objects
        With score 1; parts of one number are one lesion.
    covered
        bool, shape (K, H, W): where one of each class lies.
    """
    covered = np.zeros((len(lesions), *planes.shape[1:]), np.bool_)
    objects = []
    for plane in planes:
        for found in objects_of_labels(plane, lesion=""):
            kind = (int(plane[found.window][found.mask][0]) - 1) % len(lesions)
            covered[kind][found.window] |= found.mask
            objects.append(LesionObject(lesions[kind], 1.0, found.row, found.col, found.mask))
    return objects, covered
