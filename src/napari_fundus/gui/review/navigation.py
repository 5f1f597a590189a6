"""Where the camera looks: zooming to a lesion, marking it, and clicks on lesions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.gui.layers.add_in_steps import LayerAddQueue
from napari_fundus.gui.layers.go_to import look_at
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata
from napari_fundus.review.lesion import ReviewedLesion

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes

_VIEW_MARGIN = 8.0
"""Side of the view, in sides of the lesion."""

_MIN_VIEW_FRACTION = 27
"""Parts of the image's longer side that the view shows at least: lesions need surroundings."""

_PAD = 4.0
_MARK = "#ffffff"


class Navigator:
    """Moves a viewer's camera between lesions and marks the one under review.

    Parameters
    ----------
    viewer
        The viewer.
    clicked
        Called with row and column, in pixels of the labels, of a click that was no drag.
    """

    def __init__(self, viewer: ViewerModel, clicked: Callable[[tuple[float, float]], None]) -> None:
        self._viewer, self._clicked = viewer, clicked
        self._mark: Shapes | None = None
        self._layer_queue = LayerAddQueue(viewer)
        self._labels: Labels | None = None
        viewer.mouse_drag_callbacks.append(self._on_press)

    def follow(self, labels: Labels) -> None:
        """Take the labels layer whose pixels are meant from now on."""
        self._labels = labels

    def show(self, lesion: ReviewedLesion, *, zoom: bool) -> None:
        """Mark a lesion, and zoom to it if asked to."""
        if self._labels is None:
            return
        self._draw_mark(lesion)
        if zoom:
            top, left, bottom, right = lesion.box
            side = max(
                _VIEW_MARGIN * max(bottom - top, right - left),
                max(self._labels.data.shape) / _MIN_VIEW_FRACTION,
            )
            row, col = (top + bottom - 1) / 2, (left + right - 1) / 2
            look_at(self._viewer, self._labels, row, col, side=side)

    def show_all(self) -> None:
        """Show the whole image."""
        self._viewer.reset_view()

    def _draw_mark(self, lesion: ReviewedLesion) -> None:
        top, left, bottom, right = lesion.box
        low = np.array([top, left]) - 0.5 - _PAD
        high = np.array([bottom, right]) - 0.5 + _PAD
        corners = np.array([low, (low[0], high[1]), high, (high[0], low[1])])
        if self._mark is None or not self._layer_queue.has(self._mark):
            self._mark = self._made_mark(corners)
            self._layer_queue.add(self._mark)
        # Of a new layer too: the rectangle it was made with is not drawn before it changes.
        self._mark.data = [corners]
        self._mark.edge_width = max(float(np.max(high - low)) / 30, 0.8)

    def _made_mark(self, corners: Any) -> Shapes:
        from napari.layers import Shapes

        return Shapes(
            [corners],
            shape_type="rectangle",
            name="lesion under review",
            face_color="transparent",
            edge_color=_MARK,
            metadata={METADATA_KEY: LayerMetadata(kind="mark")},
            **(placement_of(self._labels) if self._labels is not None else {}),
        )

    def clear(self) -> None:
        """Take the mark away."""
        self._layer_queue.stop()
        if self._mark is not None and self._mark in self._viewer.layers:
            self._viewer.layers.remove(self._mark)
        self._mark = None

    def shutdown(self) -> None:
        """Stop listening to the viewer."""
        self.clear()
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Tell a click from a drag: only when the button is let go without a move."""
        active = self._viewer.layers.selection.active
        if self._labels is None or str(getattr(active, "mode", "pan_zoom")) != "pan_zoom":
            return
        position = tuple(event.position)
        yield
        if event.type == "mouse_move":
            return
        row, col = np.asarray(self._labels.world_to_data(position))[-2:]
        self._clicked((float(row), float(col)))
