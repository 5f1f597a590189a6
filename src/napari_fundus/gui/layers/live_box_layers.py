"""The layers of bounding boxes of a result; they follow its thresholds once these are at rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from napari_fundus.gui.layers.box_layer import MAX_BOXES, box_layer, set_boxes
from napari_fundus.gui.layers.build import add_layers
from napari_fundus.gui.layers.napari_compat import keep_active_layer
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.results.shown_lesions import ShownLesions
from napari_fundus.results.slice_stack import layer_plane

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer


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
    def outlined_classes(self) -> list[str]:
        """Classes of so many lesions that outlines are shown instead of boxes."""
        return [code for code, x in self.layers.items() if type(x).__name__ == "Vectors"]

    def set_displayed(self, shown: Mapping[str, ShownLesions]) -> None:
        """Set what the layers show already."""
        self._tables = {code: lesions.table for code, lesions in shown.items()}

    def update_steps(
        self, shown: Mapping[str, ShownLesions], edited: Collection[str]
    ) -> Iterator[None]:
        """Show the boxes of what is now shown, a layer a step: shapes take longer than labels.

        Parameters
        ----------
        shown
            What each class shows.
        edited
            Classes that a person painted in, which are left as they are.
        """
        for code in self._codes:
            lesions, layer = shown.get(code), self.layers.get(code)
            if lesions is None or lesions.table is self._tables.get(code) or code in edited:
                continue
            if layer is None:
                if not len(lesions.table) or not self._add(code, lesions.table):
                    continue
            elif layer in self._viewer.layers:
                set_boxes(layer, lesions, layer_metadata(layer).index)
            else:
                continue
            self._tables[code] = lesions.table
            yield

    def _add(self, code: str, table: pd.DataFrame) -> bool:
        """Add the boxes of a class of which nothing was found at first, if its labels are there."""
        labels = self._labels.get(code)
        if labels is None or labels not in self._viewer.layers:
            return False
        known = layer_metadata(labels)
        common = {
            "name": labels.name,
            "visible": labels.visible,
            "metadata": {METADATA_KEY: replace(known, kind="boxes")},
            **placement_of(labels),
        }
        surest = table.nlargest(MAX_BOXES, "score")
        box = box_layer(surest, layer_plane(labels, known.index), code, common)
        with keep_active_layer(self._viewer):
            if known.stack is not None:
                layer = known.stack.add(box, known.index)
            else:
                (layer,) = add_layers(self._viewer, [box])
        self.layers[code] = layer
        return True
