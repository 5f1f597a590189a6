"""Three kinds of pixels over the picture: right, wrong, missed; or of both results, or of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_fundus.gui.controls.layouts import colour_chip
from napari_fundus.gui.evaluate.layer_visibility import LayerVisibility
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.placement import lies_at, placement_of
from napari_fundus.results.layer_metadata import (
    METADATA_KEY,
    LayerMetadata,
    layer_identity,
    layer_metadata,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

FlatIndices = npt.NDArray[np.int64]
CategoryPixels = tuple[FlatIndices, FlatIndices, FlatIndices]
"""Flat indices of the pixels of each kind."""

ERROR_CATEGORIES: tuple[tuple[str, str], ...] = (
    ("found", "#2f9bff"),
    ("false positive", "#ffee33"),
    ("missed", "#d6006c"),
)
"""Blue, yellow and magenta: apart from each other with any colour vision, and from the retina."""

AGREEMENT_CATEGORIES: tuple[tuple[str, str], ...] = (
    ("both", "#2f9bff"),
    ("only A", "#ffee33"),
    ("only B", "#d6006c"),
)


class ErrorMapLayers:
    """Labels layers with three values, one for all classes or one a class, updated in place.

    The layers that they are made of are hidden, see `layer_visibility`. When another result is
    chosen, they are kept, empty and hidden: removing a layer takes napari up to half a second.

    Parameters
    ----------
    viewer
        Where they are shown.
    kinds
        Name and hex colour of the values 1, 2 and 3.
    title
        How the layers are called.
    """

    def __init__(
        self, viewer: ViewerModel, kinds: Sequence[tuple[str, str]], *, title: str
    ) -> None:
        self._viewer, self._kinds, self._title = viewer, tuple(kinds), title
        self._layers: dict[str, Labels] = {}
        self._written: dict[str, list[FlatIndices]] = {}
        self._hidden: set[str] = set()
        self.layer_visibility = LayerVisibility(viewer)
        """Hides what lies beneath."""

    @property
    def layers(self) -> list[Labels]:
        """The layers that are shown."""
        return [layer for layer in self._layers.values() if layer in self._viewer.layers]

    def prepare(self, codes: Iterable[str], over: Layer, *, per_class: bool) -> Iterator[None]:
        """Let the layers that :meth:`show` needs come, hidden, and others go, never two in a step.

        For :class:`~napari_fundus.gui.layers.event_loop.StepRunner`.

        Parameters
        ----------
        codes
            The classes that will be shown.
        over, per_class
            As for :meth:`show`.
        """
        names = list(codes) if per_class else [""]
        unfit = set(self._layers) - set(names)
        unfit |= {name for name in self._layers if not self._fits(name, over)}
        for name in unfit:
            # Others are about to cover the same: it is not to be seen in between.
            with self.layer_visibility.paused():
                self._drop(name)
            yield
        for name in names:
            if name not in self._layers:
                layer = self._layers[name] = self._make_layer(name, over)
                self._hidden.add(name)
                yield
                yield from add_layer_in_steps(self._viewer, layer)

    def show(
        self,
        parts: Mapping[str, CategoryPixels],
        over: Layer,
        *,
        per_class: bool,
        covered: Iterable[Layer] = (),
    ) -> None:
        """Show the pixels of all classes, in the main thread; only pixels that are any are touched.

        It is quick where :meth:`prepare` was done before.

        Parameters
        ----------
        parts
            Class code to the pixels of each kind. Where classes meet in one layer, what is wrong
            or missed hides what is right.
        over
            A layer of the picture's size that gives the place.
        per_class
            Whether each class has a layer of its own.
        covered
            What is hidden as long as one of these layers is seen.
        """
        for _ in self.prepare(parts, over, per_class=per_class):
            pass
        groups = (
            {code: [mine] for code, mine in parts.items()}
            if per_class
            else {"": list(parts.values())}
        )
        metadata = _metadata(over)
        for name, group in groups.items():
            layer = self._layers[name]
            layer.metadata[METADATA_KEY] = metadata  # the photograph may be another one now
            flat = layer.data.reshape(-1)
            for pixels in self._written.get(name, ()):
                flat[pixels] = 0
            written = []
            for kind in range(3):
                for mine in group:
                    flat[mine[kind]] = kind + 1
                    written.append(mine[kind])
            self._written[name] = written
            # Setting the data anew would make napari look at all layers' extents again; a thumbnail
            # at each move of a slider would have the list of layers painted anew.
            if name in self._hidden:
                self._hidden.discard(name)
                with self.layer_visibility.paused():
                    layer.visible = True
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.layer_visibility.set_layers(self.layers, covered)

    def rest(self) -> None:
        """Hide the layers until there is something to show again; what they cover stays hidden."""
        for name, layer in self._layers.items():
            flat = layer.data.reshape(-1)
            for pixels in self._written.pop(name, ()):
                flat[pixels] = 0
            if layer.visible:
                with self.layer_visibility.paused():
                    layer.visible = False
                self._hidden.add(name)

    def clear(self) -> None:
        """Take the layers out of the viewer."""
        self.layer_visibility.release()
        for name in list(self._layers):
            self._drop(name)

    def _drop(self, name: str) -> None:
        layer = self._layers.pop(name)
        self._written.pop(name, None)
        self._hidden.discard(name)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _fits(self, name: str, over: Layer) -> bool:
        layer = self._layers[name]
        present = layer in self._viewer.layers
        return (
            present
            and layer.data.shape == tuple(over.data.shape)
            and lies_at(layer, placement_of(over))
        )

    def _make_layer(self, name: str, over: Layer) -> Labels:
        colours: dict[int | None, Any] = {
            value: colour for value, (_, colour) in enumerate(self._kinds, start=1)
        }
        layer = Labels(
            np.zeros(over.data.shape, np.uint8),
            name=f"{self._title}{f': {name}' if name else ''}",
            colormap=DirectLabelColormap(
                color_dict={None: "transparent", 0: "transparent"} | colours
            ),
            opacity=0.9,
            features=pd.DataFrame(
                {"index": [1, 2, 3], "outcome": [kind for kind, _ in self._kinds]}
            ),
            metadata={METADATA_KEY: _metadata(over)},
            visible=False,
            **placement_of(over),
        )
        layer.editable = False
        return layer


def _metadata(over: Layer) -> LayerMetadata:
    return LayerMetadata(
        kind="outcome", source=layer_metadata(over).source, identity=layer_identity(over)
    )


class Legend(QWidget):
    """The three colours with their names, and how many lesions are of each kind."""

    def __init__(self, kinds: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(5)
        # Short enough for a narrow dock; the colours' layer says it in full.
        self._names = [name.removesuffix(" positive") for name, _ in kinds]
        self._labels: list[QLabel] = []
        for name, colour in kinds:
            label = QLabel()
            label.setToolTip(name)
            label.setTextFormat(Qt.TextFormat.RichText)
            line.addWidget(colour_chip(colour))
            line.addWidget(label)
            line.addSpacing(6)
            self._labels.append(label)
        line.addStretch(1)
        self.set_counts(None)

    def set_counts(self, counts: Sequence[int] | None) -> None:
        """Show a number beside each name; None shows none."""
        for index, (name, label) in enumerate(zip(self._names, self._labels, strict=True)):
            label.setText(name if counts is None else f"{name} <b>{counts[index]}</b>")
