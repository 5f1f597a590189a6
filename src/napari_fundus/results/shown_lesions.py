"""What a result shows of each class at some thresholds and least area, for threads to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import objects_of_parts, parts_touch
from napari_fundus.results.outlines import outline_vectors
from napari_fundus.results.relabel import (
    Components,
    class_components,
    components_from_objects,
    labelled_components,
)


@dataclass(frozen=True)
class ThresholdSettings:
    """Thresholds and least area of a result.

    Attributes
    ----------
    thresholds
        Class code to threshold.
    min_area
        Least area of a lesion in pixels.
    """

    thresholds: Mapping[str, float]
    min_area: int


@dataclass(frozen=True, eq=False)
class ShownLesions:
    """The lesions of one class at some settings.

    Attributes
    ----------
    components
        All components at the threshold, or all objects.
    threshold, min_area, first_id
        What `ids` and `table` were made with.
    ids
        The id of each of the components' pixels, 0 where its lesion is not shown.
    table
        One row a lesion.
    """

    components: Components
    threshold: float
    min_area: int
    first_id: int
    ids: npt.NDArray[np.int64]
    table: pd.DataFrame = field(repr=False)

    @cached_property
    def outlines(self) -> npt.NDArray[np.float32]:
        """The lesions' outlines, see `outlines.outline_vectors`; slow the first time."""
        return outline_vectors(self.components.pixels, self.ids, self.components.shape)


def apply_thresholds(
    detections: Detections,
    settings: ThresholdSettings,
    before: Mapping[str, ShownLesions],
    *,
    renumber: bool,
) -> dict[str, ShownLesions]:
    """Return what every class shows at `settings`; may be called in a thread.

    Parameters
    ----------
    detections
        The result whose maps are thresholded.
    settings
        Thresholds and least area.
    before
        What was shown; may be empty. A class that does not change keeps its very object.
    renumber
        Whether a class that changes in nothing but the number that its ids begin with gets new
        ids, too. That may wait until a slider is at rest.
    """
    result: dict[str, ShownLesions] = {}
    first_id = 1
    for code in detections.lesions:
        old = before.get(code)
        wanted = settings.thresholds[code], settings.min_area
        same = old is not None and (old.threshold, old.min_area) == wanted
        if old is not None and same and (old.first_id == first_id or not renumber):
            result[code] = old
        else:
            result[code] = class_lesions(detections, code, settings, old, first_id=first_id)
        first_id += len(result[code].table)
    return result


def class_lesions(
    detections: Detections,
    code: str,
    settings: ThresholdSettings,
    before: ShownLesions | None = None,
    *,
    first_id: int = 1,
) -> ShownLesions:
    """Return what one class shows at `settings`; may be called in a thread.

    Parameters
    ----------
    detections
        The result whose map is thresholded.
    code
        The class.
    settings
        Thresholds and least area.
    before
        What it showed: its components are taken where the threshold leaves them as they are.
    first_id
        Id of the first lesion.
    """
    threshold = settings.thresholds[code]
    if before is not None and (before.threshold == threshold or detections.objects_of(code)):
        found = before.components
    else:
        found = class_components(detections, code, threshold=threshold)
    ids, table = found.at_least(settings.min_area, threshold=threshold, first_id=first_id)
    return ShownLesions(found, threshold, settings.min_area, first_id, ids, table)


def drawn_lesions(labels: npt.NDArray[Any], code: str) -> ShownLesions:
    """Return the lesions of one class that labels show: each 8-connected part of each value."""
    drawn = objects_of_parts(labels, lesion=code)
    if parts_touch(drawn, labels):
        found = components_from_objects(drawn, lesion=code, shape=labels.shape)
    else:
        mask = (labels > 0).astype(np.float32)
        found = labelled_components(mask, lesion=code, threshold=0.5)
    ids, table = found.at_least(1)
    return ShownLesions(found, 0.5, 1, 1, ids, table)
