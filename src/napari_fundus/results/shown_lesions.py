"""The lesions of each class at some thresholds: what a result shows, and one class of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.results.detections import Detections
from napari_fundus.results.outlines import outline_vectors
from napari_fundus.results.relabel import Components, class_components, labelled_components


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
        threshold, min_area = settings.thresholds[code], settings.min_area
        same = old is not None and (old.threshold, old.min_area) == (threshold, min_area)
        if old is not None and same and (old.first_id == first_id or not renumber):
            result[code] = old
        else:
            if old is not None and (old.threshold == threshold or detections.objects_of(code)):
                found = old.components
            else:
                found = class_components(detections, code, threshold=threshold)
            ids, table = found.at_least(min_area, threshold=threshold, first_id=first_id)
            result[code] = ShownLesions(found, threshold, min_area, first_id, ids, table)
        first_id += len(result[code].table)
    return result


@dataclass(frozen=True, eq=False)
class ClassSnapshot:
    """One class of a result at one moment; arrays that may change are copies.

    Attributes
    ----------
    drawn
        Labels that count instead of the map, because a person changed them or there is no map.
    detections, threshold
        What the lesions are made of otherwise.
    components
        The components at the threshold, where they are known.
    min_area
        Least area, px.
    """

    drawn: npt.NDArray[Any] | None = None
    detections: Detections | None = None
    threshold: float = 0.5
    components: Components | None = None
    min_area: int = 1

    def lesions(
        self, code: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pd.DataFrame]:
        """Return pixels, their ids and the table of lesions; may be called in a thread."""
        if self.drawn is not None:
            mask = (self.drawn > 0).astype(np.float32)
            drawn = labelled_components(mask, lesion=code, threshold=0.5)
            return drawn.pixels, *drawn.at_least(1)
        found = self.components
        if found is None:
            assert self.detections is not None  # noqa: S101  # one of the three is given
            found = class_components(self.detections, code, threshold=self.threshold)
        return found.pixels, *found.at_least(self.min_area, threshold=self.threshold)
