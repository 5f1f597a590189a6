"""Two results side by side: the photograph twice, each with one result over it, moved together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_fundus.gui.evaluate.choices import Choice
from napari_fundus.gui.napari_compat import SideBySide

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["PairGrid"]


class PairGrid:
    """Shows A on the left and B on the right, and puts everything back as it was.

    Layers of the two results are moved in the list, and others hidden, while the grid is shown.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._grid = SideBySide(viewer)
        self._twin: Layer | None = None
        self._before: list[tuple[Layer, bool]] = []

    @property
    def shown(self) -> bool:
        """Whether the grid is on."""
        return self._grid.on

    def show(self, a: Choice, b: Choice, photograph: Layer | None) -> None:
        """Show two results side by side.

        Parameters
        ----------
        a, b
            The results.
        photograph
            What they were found in; it is shown beneath both.
        """
        self.hide()
        viewer = self._viewer
        self._before = [(layer, layer.visible) for layer in viewer.layers]
        left, right = list(a.labels.values()), list(b.labels.values())
        if photograph is not None and any(photograph is x for x in viewer.layers):
            self._twin = _twin(photograph)
            viewer.layers.selection.clear()
            viewer.add_layer(self._twin)
            left, right = [photograph, *left], [self._twin, *right]
        shown = [*left, *right]
        for layer in viewer.layers:
            layer.visible = any(layer is mine for mine in shown)
        # Groups of layers must be of one size: a hidden layer fills the shorter one.
        side = max(len(left), len(right))
        others = [x for x in viewer.layers if not any(x is mine for mine in shown)]
        fill = [side - len(left), side - len(right)]
        while len(others) < sum(fill):
            others.append(self._filler(photograph or left[0]))
        order = [
            *left, *others[: fill[0]],
            *right, *others[fill[0] : sum(fill)],
            *others[sum(fill) :],
        ]  # fmt: skip
        for place, layer in enumerate(order):
            viewer.layers.move(viewer.layers.index(layer), place)
        self._grid.show(side)

    def hide(self) -> None:
        """Put the viewer back: one picture, layers as they were in order and visibility."""
        if not self._grid.on:
            return
        viewer = self._viewer
        self._grid.hide()
        known = [layer for layer, _ in self._before]
        for layer in list(viewer.layers):
            if layer is self._twin or (
                layer.metadata.get("napari_fundus_filler") and not any(layer is x for x in known)
            ):
                viewer.layers.remove(layer)
        self._twin = None
        place = 0
        for layer, visible in self._before:
            if any(layer is present for present in viewer.layers):
                layer.visible = visible
                viewer.layers.move(viewer.layers.index(layer), place)
                place += 1
        self._before = []

    def _filler(self, like: Layer) -> Layer:
        """Add an empty hidden layer."""
        from napari.layers import Points

        layer = Points(
            ndim=like.ndim,
            name="(space)",
            visible=False,
            metadata={"napari_fundus_filler": True},
        )
        self._viewer.add_layer(layer)
        return layer


def _twin(photograph: Layer) -> Layer:
    """Return a second layer of the same pixels, which are not copied."""
    from napari.layers import Layer as AnyLayer

    data, meta, kind = photograph.as_layer_data_tuple()
    return AnyLayer.create(data, {**meta, "name": f"{photograph.name} (B)", "metadata": {}}, kind)
