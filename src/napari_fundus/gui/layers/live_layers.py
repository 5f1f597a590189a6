"""The layers of a live result: they follow its thresholds, and it learns what is drawn in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_fundus.gui.controls.thread_job import JobSlot
from napari_fundus.gui.layers.box_layer import features_of
from napari_fundus.gui.layers.event_loop import StepRunner, single_shot_timer
from napari_fundus.gui.layers.live_box_layers import BoundingBoxLayers
from napari_fundus.gui.layers.napari_compat import stroke_pixels
from napari_fundus.results.boxes import DISPLAYED_BOXES
from napari_fundus.results.layer_metadata import layer_metadata
from napari_fundus.results.live import LiveResult
from napari_fundus.results.relabel import label_image
from napari_fundus.results.shown_lesions import ShownLesions, ThresholdSettings
from napari_fundus.results.slice_stack import SliceStack

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

_THROTTLE_MS = 10
"""Changes of settings within this time are answered together."""

_IDLE_MS = 250
"""Time without changes after which ids are made consecutive over all classes again."""


class LiveLayers(QObject):
    """Shows a live result in its layers, and reports strokes in them to it.

    Of several for one result, one alone computes and writes, see `LiveResult.claim`.

    Parameters
    ----------
    viewer
        The viewer that holds the layers.
    live
        The result.
    layers
        Its layers; found by class and kind in their metadata.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        live: LiveResult,
        layers: Iterable[Layer],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._live = viewer, live
        self.labels: dict[str, Labels] = {}
        """Class code to the layer of its labels."""
        boxes: dict[str, Layer] = {}
        for layer in layers:
            metadata = layer_metadata(layer)
            if metadata.kind in ("labels", "boxes") and metadata.live is live:
                (self.labels if metadata.kind == "labels" else boxes)[str(metadata.lesion)] = layer
        self.boxes = BoundingBoxLayers(viewer, live.original, self.labels, boxes)
        """The layers of bounding boxes."""
        self._watched: dict[str, Layer] = {}
        self._written: Mapping[str, ShownLesions] = dict(live.shown)
        self._step_runner = StepRunner(self)
        self._job = JobSlot(self)
        self._stale = self._own_change = False
        self._throttle_timer = single_shot_timer(self, _THROTTLE_MS, self._compute)
        self._idle_timer = single_shot_timer(self, _IDLE_MS, lambda: self._compute(renumber=True))
        for code, layer in self.labels.items():
            live.attach(code, _plane_of(layer))
            layer.events.paint.connect(self._on_painted)
            layer.events.set_data.connect(self._on_data)
        for code, layer in boxes.items():
            self._watch_boxes(code, layer)
        live.settings_changed.connect(self._schedule)
        live.edited_changed.connect(self._on_edited)
        if not live.shown and live.claim(self):
            # The components at the first thresholds, so that the first move is as quick as others.
            self._start(live.computation(), self._on_first)
        elif live.shown and not live.up_to_date:
            # Thresholds were moved by what shows no layers, or while these were not shown.
            self._schedule()

    @property
    def busy(self) -> bool:
        """Whether the layers do not show yet what the settings ask for."""
        waiting = self._throttle_timer.isActive() or self._idle_timer.isActive()
        working = self._job.busy or self._step_runner.busy
        return waiting or working or not self._live.up_to_date

    def _schedule(self) -> None:
        if self._live.claim(self):
            self._idle_timer.stop()
            if not self._throttle_timer.isActive():
                self._throttle_timer.start()

    def _compute(self, *, renumber: bool = False) -> None:
        if self._job.busy:
            self._stale = True
            return
        outlined = self.boxes.outlined_classes if renumber else ()
        self._start(
            self._live.computation(renumber=renumber, outlined=outlined),
            lambda shown: self._show(shown, renumber=renumber),
        )

    def _start(self, compute: Callable[[], Any], on_returned: Callable[[Any], None]) -> None:
        self._job.start(lambda _: compute(), on_returned).ended.connect(self._on_ended)

    def _on_ended(self) -> None:
        if self._stale:
            self._stale = False
            self._compute()

    def _on_first(self, shown: Mapping[str, ShownLesions]) -> None:
        """Take what the layers show already, unless thresholds were moved before there were any."""
        original, settings = self._live.original, self._live.settings
        if settings == ThresholdSettings(dict(original.thresholds), original.min_area):
            self._written = shown
            self.boxes.set_displayed(shown)
            self._live.show(shown)
        else:
            self._show(shown, renumber=True)

    def _show(self, shown: Mapping[str, ShownLesions], *, renumber: bool) -> None:
        written = dict(self._written)
        for code, lesions in shown.items():
            layer = self.labels.get(code)
            if layer is None or layer not in self._viewer.layers or code in self._live.edited:
                continue
            if lesions is not written.get(code) and layer_metadata(layer).live is self._live:
                self._own_change = True
                show_labels(layer, lesions, written.get(code))
                layer.features = features_of(lesions.table)
                self._own_change = False
                self._live.rebase_edits(code)
                written[code] = lesions
        self._written = written
        if renumber:
            self._step_runner.start(
                self.boxes.update_steps(shown, self._live.edited), self._watch_new_boxes
            )
        else:
            self._idle_timer.start()
        self._live.show(shown)

    def _watch_boxes(self, code: str, layer: Layer) -> None:
        if layer_metadata(layer).kind == "boxes" and hasattr(layer, "shape_type"):
            self._watched[code] = layer
            self._live.attach_boxes(code, layer, _displayed_boxes)
            layer.events.data.connect(self._on_boxes)

    def _watch_new_boxes(self) -> None:
        """Watch the boxes of classes of which nothing was found at first."""
        for code, layer in self.boxes.layers.items():
            if self._watched.get(code) is not layer:
                self._watch_boxes(code, layer)

    def _on_boxes(self, event: Any) -> None:
        if str(getattr(event, "action", "")) in ("adding", "changing", "removing"):
            return  # the layer has not changed yet
        code = next(code for code, layer in self._watched.items() if layer is event.source)
        if layer_metadata(event.source).live is self._live:
            self._live.check_boxes(code)

    def _code_of(self, event: Any) -> str:
        return next(code for code, layer in self.labels.items() if layer is event.source)

    def _on_painted(self, event: Any) -> None:
        if event.value:
            self._live.add_stroke(self._code_of(event), *stroke_pixels(event.source, event.value))

    def _on_data(self, event: Any) -> None:
        # napari reports undoing and redoing by this event alone.
        if not self._own_change:
            self._live.check_edits(self._code_of(event))

    def _on_edited(self, code: str) -> None:
        if code not in self._live.edited:
            self._schedule()

    def edited_layers(self) -> list[Layer]:
        """Return the layers that a person changed."""
        return [self.labels[code] for code in sorted(self._live.edited & self.labels.keys())]

    def close(self) -> None:
        """Stop all work and disconnect from result and layers."""
        self._throttle_timer.stop()
        self._idle_timer.stop()
        self._step_runner.stop()
        self._live.settings_changed.disconnect(self._schedule)
        self._live.edited_changed.disconnect(self._on_edited)
        self._live.release(self)
        for layer in self.labels.values():
            layer.events.paint.disconnect(self._on_painted)
            layer.events.set_data.disconnect(self._on_data)
        for layer in self._watched.values():
            layer.events.data.disconnect(self._on_boxes)
        self._job.cancel_silently()


def _displayed_boxes(layer: Layer) -> Any:
    return layer_metadata(layer).extra.get(DISPLAYED_BOXES)


def show_labels(layer: Labels, lesions: ShownLesions, before: ShownLesions | None) -> None:
    """Write new labels into `layer`, in place where its type is wide enough; in the main thread.

    Setting ``layer.data`` to a new array costs several times as much: napari then looks at all
    layers' extents and dimensions again.

    Parameters
    ----------
    layer
        The labels layer of the class.
    lesions
        What it is to show.
    before
        What it shows, if that is known.
    """
    if lesions is before:
        return
    holder, ids, found = _plane_of(layer), lesions.ids, lesions.components
    data = holder.data
    largest = int(ids.max()) if len(ids) else 0
    if data.shape != found.shape or largest > np.iinfo(data.dtype).max:
        holder.data = label_image(found.shape, found.pixels, ids)
        return
    flat = data.reshape(-1)
    if before is None:
        flat.fill(0)
    else:
        flat[before.components.pixels] = 0
    flat[found.pixels] = ids
    layer.refresh(extent=False)


def _plane_of(layer: Labels) -> Any:
    """Return what holds the labels as an array (H, W): a layer, or the slice of one of a stack."""
    data = layer.data
    return data.view(layer_metadata(layer).index) if isinstance(data, SliceStack) else layer
