"""One image in two halves, where there is no second eye to validate on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from napari_fundus.errors import TrainingError
from napari_fundus.training.patches.drawn_objects import crop_objects
from napari_fundus.training.patches.store import StoredImage


def split_image(
    image: StoredImage, lesions: tuple[str, ...], *, least: int
) -> tuple[StoredImage, StoredImage]:
    """Cut an image between two lesions, so that about half of their pixels lie above.

    No pixel is in both halves, but the eye is: their common group says so in the report.

    Parameters
    ----------
    image
        The only one.
    lesions
        Codes of its classes, in the order of the bits.
    least
        Rows that a half must have at least.

    Returns
    -------
    upper, lower
        To train on, and to validate on.

    Raises
    ------
    TrainingError
        There is no lesion, or all of them lie in one half.
    """
    lines = ((image.bits > 0) & image.valid_mask).sum(axis=1)
    upwards, height = np.cumsum(lines), len(lines)
    rows = np.arange(least, height - least + 1)
    above = upwards[rows - 1]
    rows = rows[(above > 0) & (above < upwards[-1])]
    if not len(rows):
        raise TrainingError(
            f"{image.id} is the only image, and its lesions do not lie apart enough to train on "
            "some and validate on the others: mark more of them, or give more images."
        )
    through = (lines[rows - 1] > 0) & (lines[rows] > 0)
    row = int(rows[np.lexsort((np.abs(upwards[rows - 1] - upwards[-1] / 2), through))[0]])
    eye = image.group or image.id
    return (
        _crop_rows(image, slice(None, row), lesions, name=f"{image.id}, upper half", eye=eye),
        _crop_rows(image, slice(row, None), lesions, name=f"{image.id}, lower half", eye=eye),
    )


def _crop_rows(
    image: StoredImage, rows: slice, lesions: tuple[str, ...], *, name: str, eye: str
) -> StoredImage:
    bits = image.bits[rows]
    first = rows.start or 0
    counts: Mapping[str, int] = {
        code: cv2.connectedComponents(((bits >> number) & 1).astype(np.uint8))[0] - 1
        for number, code in enumerate(lesions)
    }
    return replace(
        image,
        id=name,
        group=eye,
        pixels=image.pixels[rows],
        bits=bits,
        field_of_view=image.field_of_view[rows],
        unknown=None if image.unknown is None else image.unknown[rows],
        lesions=counts,
        objects=tuple(crop_objects(image.objects, first, 0, (bits.shape[0], bits.shape[1]))),
    )
