"""Two results side by side: the photograph twice, each with one result over it, moved together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.napari_compat import SideBySide, remove_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class PairGrid:
    """Shows A on the left and B on the right, and puts everything back as it was.

    Layers of the two results are moved in the list, and others hidden, while the grid is shown.
    Both ways go in steps for :class:`~napari_fundus.gui.layers.event_loop.StepRunner`: layers come
    and go.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._grid = SideBySide(viewer)
        self._added: list[Layer] = []
        self._before: list[tuple[Layer, bool]] = []

    @property
    def shown(self) -> bool:
        """Whether the grid is on."""
        return self._grid.on

    def show(self, a: LayerGroup, b: LayerGroup, photograph: Layer | None) -> Iterator[None]:
        """Show two results side by side, in steps.

        Parameters
        ----------
        a, b
            The results.
        photograph
            What they were found in; it is shown beneath both.
        """
        yield from self.hide()
        viewer = self._viewer
        self._before = [(layer, layer.visible) for layer in viewer.layers]
        left, right = list(a.labels.values()), list(b.labels.values())
        if photograph is not None and photograph in viewer.layers:
            twin = _copy_layer(photograph)
            yield from self._add(twin)
            left, right = [photograph, *left], [twin, *right]
        shown = [*left, *right]
        # Groups of layers must be of one size: a hidden layer fills the shorter one.
        side = max(len(left), len(right))
        others = [x for x in viewer.layers if x not in shown]
        fill = [side - len(left), side - len(right)]
        while len(others) < sum(fill):
            others.append(_empty_layer(shown[0]))
            yield from self._add(others[-1])
        for layer in viewer.layers:
            layer.visible = layer in shown
        order = [
            *left, *others[: fill[0]],
            *right, *others[fill[0] : sum(fill)],
            *others[sum(fill) :],
        ]  # fmt: skip
        # A person may have removed some meanwhile.
        for index, layer in enumerate(x for x in order if x in viewer.layers):
            viewer.layers.move(viewer.layers.index(layer), index)
        self._grid.show(side)

        yield

    def hide(self) -> Iterator[None]:
        """Put the viewer back in steps: one picture, layers as they were in order and seen."""
        viewer = self._viewer
        if self._grid.on:
            self._grid.hide()
        place = 0
        for layer, visible in self._before:
            if layer in self._viewer.layers:
                layer.visible = visible
                viewer.layers.move(viewer.layers.index(layer), place)
                place += 1
        self._before = []
        added, self._added = self._added, []
        if added:
            remove_layers(viewer, added)
            yield

    def _add(self, layer: Layer) -> Iterator[None]:
        """Add a layer, hidden until all are in their places."""
        layer.visible = False
        self._added.append(layer)
        yield from add_layer_in_steps(self._viewer, layer)


def _empty_layer(like: Layer) -> Layer:
    """Return an empty layer."""
    from napari.layers import Points

    return Points(ndim=like.ndim, name="(space)")


def _copy_layer(photograph: Layer) -> Layer:
    """Return a second layer of the same pixels, which are not copied."""
    from napari.layers import Layer as AnyLayer

    data, meta, kind = photograph.as_layer_data_tuple()
    return AnyLayer.create(data, {**meta, "name": f"{photograph.name} (B)", "metadata": {}}, kind)
