"""The boxes of a result's lesions, which follow its thresholds once these are at rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from napari_fundus.gui.layers.boxes import MAX_BOXES, box_layer, set_boxes
from napari_fundus.gui.layers.build import add_layers
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.gui.layers.rethreshold import ShownLesions
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

__all__ = ["BoundingBoxLayers"]


class BoundingBoxLayers:
    """Keeps a layer of boxes for each class of which any lesion is shown.

    Parameters
    ----------
    viewer
        The viewer that holds the layers.
    run
        The result as the detector gave it.
    labels
        Class code to the layer of its labels.
    layers
        Class code to the layer of its boxes, where there is one.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        run: Detections,
        labels: Mapping[str, Labels],
        layers: Mapping[str, Layer],
    ) -> None:
        self._viewer = viewer
        self._codes = run.lesions if run.has_boxes else ()
        self._labels = labels
        self._tables: dict[str, pd.DataFrame] = {}
        self.layers = dict(layers)
        """Class code to layer."""

    @property
    def outlined(self) -> list[str]:
        """Classes of so many lesions that outlines stand for their boxes."""
        return [code for code, x in self.layers.items() if type(x).__name__ == "Vectors"]

    def keep(self, shown: Mapping[str, ShownLesions]) -> None:
        """Take note of what the layers show already."""
        self._tables = {code: now.table for code, now in shown.items()}

    def steps(self, shown: Mapping[str, ShownLesions], edited: Collection[str]) -> Iterator[None]:
        """Show the boxes of what is now shown, a layer a step: shapes take longer than labels.

        Parameters
        ----------
        shown
            What each class shows.
        edited
            Classes that a person painted in, which are left as they are.
        """
        for code in self._codes:
            now, layer = shown.get(code), self.layers.get(code)
            if now is None or now.table is self._tables.get(code) or code in edited:
                continue
            if layer is None:
                if not len(now.table) or not self._add(code, now.table):
                    continue
            elif self._has(layer):
                set_boxes(layer, now)
            else:
                continue
            self._tables[code] = now.table
            yield

    def _has(self, layer: Layer) -> bool:
        return any(layer is present for present in self._viewer.layers)

    def _add(self, code: str, table: pd.DataFrame) -> bool:
        """Add the boxes of a class of which nothing was found at first, if its labels are there."""
        labels = self._labels.get(code)
        if labels is None or not self._has(labels):
            return False
        common = {
            "name": labels.name,
            "visible": labels.visible,
            "metadata": {METADATA_KEY: {**labels.metadata[METADATA_KEY], "kind": "boxes"}},
            **placement_of(labels),
        }
        surest = table.nlargest(MAX_BOXES, "score")
        active = self._viewer.layers.selection.active
        (layer,) = add_layers(self._viewer, [box_layer(surest, labels.data, code, common)])
        self._viewer.layers.selection.active = active
        self.layers[code] = layer
        return True
