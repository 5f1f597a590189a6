"""New thresholds on the kept maps and objects: what to compute in a thread, and how to show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.gui.layers.boxes import outline_vectors
from napari_fundus.results.detections import Detections
from napari_fundus.results.relabel import Components, class_components, label_image

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["ShownLesions", "ThresholdSettings", "apply_thresholds", "show_labels"]


@dataclass(frozen=True)
class ThresholdSettings:
    """Where the sliders stand.

    Attributes
    ----------
    thresholds
        Class code to threshold.
    min_area
        Least area in pixels.
    """

    thresholds: Mapping[str, float]
    min_area: int


@dataclass(frozen=True, eq=False)
class ShownLesions:
    """What a class shows at some settings.

    Attributes
    ----------
    components
        All components at its threshold, or all objects.
    threshold, min_area, first_id
        What the table was made with.
    ids
        The id of each of the components' pixels; None where nothing changed.
    table
        One row a lesion.
    """

    components: Components
    threshold: float
    min_area: int
    first_id: int
    ids: npt.NDArray[np.int64] | None
    table: pd.DataFrame = field(repr=False)

    @cached_property
    def outlines(self) -> npt.NDArray[np.float32]:
        """The lesions' outlines, see `boxes.outline_vectors`; to be asked for in a thread first."""
        found = self.components
        ids, _ = found.at_least(self.min_area, threshold=self.threshold)
        return outline_vectors(found.pixels, ids, found.shape)


def apply_thresholds(
    detections: Detections,
    settings: ThresholdSettings,
    before: Mapping[str, ShownLesions],
    *,
    renumber: bool,
) -> dict[str, ShownLesions]:
    """Return what every class shows at `settings`; for a thread, touches no layer.

    Parameters
    ----------
    detections
        The result whose maps are kept.
    settings
        Where the sliders stand.
    before
        What was shown; may be empty.
    renumber
        Whether classes that changed in nothing but the number that their ids begin with get new
        labels too. That may wait until the slider rests.
    """
    result: dict[str, ShownLesions] = {}
    first_id = 1
    for code in detections.lesions:
        old = before.get(code)
        threshold = settings.thresholds[code]
        if old is not None and (old.threshold == threshold or detections.objects_of(code)):
            found = old.components
        else:
            found = class_components(detections, code, threshold=threshold)
        same = old is not None and (old.threshold, old.min_area) == (threshold, settings.min_area)
        if old is not None and same and (old.first_id == first_id or not renumber):
            result[code] = ShownLesions(
                found, threshold, settings.min_area, old.first_id, None, old.table
            )
        else:
            ids, table = found.at_least(settings.min_area, threshold=threshold, first_id=first_id)
            result[code] = ShownLesions(found, threshold, settings.min_area, first_id, ids, table)
        first_id += len(result[code].table)
    return result


def show_labels(layer: Labels, now: ShownLesions, before: ShownLesions | None) -> None:
    """Write new labels into `layer`, in place where its type is wide enough; in the main thread.

    Setting ``layer.data`` to a new array costs several times as much: napari then looks at all
    layers' extents and dimensions again.

    Parameters
    ----------
    layer
        The labels layer of the class.
    now
        What it is to show; `now.ids` is not None.
    before
        What it shows, if that is known.
    """
    ids = now.ids
    if ids is None:
        return
    data = layer.data
    largest = int(ids.max()) if len(ids) else 0
    if data.shape != now.components.shape or largest > np.iinfo(data.dtype).max:
        layer.data = label_image(now.components.shape, now.components.pixels, ids)
        return
    flat = data.reshape(-1)
    if before is None:
        flat.fill(0)
    else:
        flat[before.components.pixels] = 0
    flat[now.components.pixels] = ids
    layer.refresh(extent=False)
