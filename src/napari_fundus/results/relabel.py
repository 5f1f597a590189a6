"""Labels at a new threshold, fast enough to follow a slider: the same as `label_map` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.results.detections import Detections
from napari_fundus.results.instances import map_components, passes_thresholds, rasterized_table
from napari_fundus.results.objects import LesionObject, rasterize_objects


@dataclass(frozen=True, eq=False)
class Components:
    """The lesions of one class without a limit on their area.

    They are the connected components of a map at one threshold, or all objects of the class.

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

    def at_least(
        self, min_area: int, *, threshold: float = 0.0, first_id: int = 1
    ) -> tuple[Any, pd.DataFrame]:
        """Return the id of each pixel (0 where its lesion is not shown), and the table.

        Takes a few milliseconds: nothing of the size of the image is touched.

        Parameters
        ----------
        min_area
            Least area of a lesion, px.
        threshold
            Least score. Components of a map all reach the one that they were found at.
        first_id
            Id of the first lesion.
        """
        keep = passes_thresholds(self.table, threshold=threshold, min_area=min_area)
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


def class_components(detections: Detections, lesion: str, *, threshold: float) -> Components:
    """Return the lesions of a class: its objects at any threshold, else components of its map."""
    objects = detections.objects_of(lesion)
    if objects:
        return components_from_objects(objects, lesion=lesion, shape=detections.shape)
    return labelled_components(detections.probability[lesion], lesion=lesion, threshold=threshold)


def components_from_objects(
    objects: Sequence[LesionObject], *, lesion: str, shape: tuple[int, int]
) -> Components:
    """Return all objects of a class as :func:`~.instances.label_objects` paints them.

    They serve every threshold: `Components.at_least` chooses among them.
    """
    painted = rasterize_objects(objects, shape)
    table = rasterized_table(painted, lesion=lesion, shape=shape)
    return Components(lesion, shape, painted.pixels, painted.owner, table)


def labelled_components(
    probability: npt.NDArray[np.float32], *, lesion: str, threshold: float
) -> Components:
    """Find the 8-connected components of `probability` at or above `threshold`.

    Order and numbers are those of :func:`napari_fundus.results.instances.label_map`, so that ids on
    the screen are ids in the file.

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
    parts, table = map_components(probability, lesion=lesion, threshold=threshold)
    return Components(lesion, (height, width), parts.pixels, parts.part, table)
