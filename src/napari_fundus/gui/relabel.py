"""Labels at a new threshold, fast enough to follow a slider: the same as `label_map` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.instances import label_pixels

__all__ = ["Components", "components", "label_image"]


@dataclass(frozen=True, eq=False)
class Components:
    """The connected components of one class at one threshold, without a limit on their area.

    Attributes
    ----------
    lesion
        Code of the class.
    shape
        Height and width of the image.
    pixels
        int64, the flat indices of all foreground pixels, ascending.
    label
        int64, as long as `pixels`: which row of `table` (from 0) each belongs to.
    table
        One row a component with the columns `INSTANCE_COLUMNS`; ids count from 1.
    """

    lesion: str
    shape: tuple[int, int]
    pixels: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    table: pd.DataFrame

    def at_least(self, min_area: int, *, first_id: int = 1) -> tuple[Any, pd.DataFrame]:
        """Return the id of each pixel (0 where its lesion is too small), and the table.

        Takes a few milliseconds: nothing of the size of the image is touched.
        """
        keep = self.table["area_px"].to_numpy() >= min_area
        ids = np.zeros(len(keep), np.int64)
        ids[keep] = np.arange(first_id, first_id + int(keep.sum()))
        table = self.table[keep].reset_index(drop=True)
        table["id"] = ids[keep]
        return ids[self.label], table


def label_image(
    shape: tuple[int, int], pixels: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return the labels as an image: uint16 while the ids fit, else int32.

    napari draws 8 and 16 bits as they are, but converts wider types pixel by pixel, which takes
    most of the time that a slider has.
    """
    small = not len(ids) or int(ids.max()) <= np.iinfo(np.uint16).max
    labels: npt.NDArray[Any] = np.zeros(shape, np.uint16 if small else np.int32)
    labels.ravel()[pixels] = ids
    return labels


def components(
    probability: npt.NDArray[np.float32], *, lesion: str, threshold: float
) -> Components:
    """Find the 8-connected components of `probability` at or above `threshold`.

    Order and numbers are those of :func:`napari_fundus.instances.label_map`, so that ids on the
    screen are ids in the file.

    Parameters
    ----------
    probability
        float32, shape (H, W), values in [0, 1].
    lesion
        Code of the class, for the table.
    threshold
        In [0, 1]; pixels of probability 0 never belong to a lesion.
    """
    height, width = probability.shape
    parts, table = label_pixels(probability, lesion=lesion, threshold=threshold)
    return Components(lesion, (height, width), parts.pixels, parts.part, table)
