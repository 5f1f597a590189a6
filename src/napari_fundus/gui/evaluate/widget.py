"""The widget *Evaluate against truth*: colours over the picture, figures, lists and curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.assessment import Assessment
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.thread_job import JobSlot, short_message, show_error
from napari_fundus.gui.evaluate.error_map import ERROR_CATEGORIES, ErrorMapLayers
from napari_fundus.gui.evaluate.layer_groups import (
    LayerGroup,
    doubt,
    incompatibility,
    lesion_layers,
)
from napari_fundus.gui.evaluate.lesion_outcomes import nearest_lesion
from napari_fundus.gui.evaluate.prepare_truth import (
    PreparedTruth,
    image_curves,
    match_classes,
    operating_points,
    prepare_truth,
)
from napari_fundus.gui.evaluate.view import EvaluateView
from napari_fundus.gui.layers.event_loop import StepRunner, single_shot_timer
from napari_fundus.gui.layers.go_to import go_to
from napari_fundus.gui.layers.live_layers import LiveLayers
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.metrics.curves import Curve, CurveKind
from napari_fundus.metrics.lesion_matching import ClassMatch
from napari_fundus.results.layer_metadata import layer_snapshot
from napari_fundus.results.live import LiveResult

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels, Layer

    from napari_fundus.evaluation import DatasetCurves

_THROTTLE_MS = 5
"""Changes within this time are answered together."""

_TRUTH_MS = 400
"""Time without painting after which the truth is read again."""


class EvaluateWidget(QWidget):
    """Shows what a result gets right, misses and makes up, by a truth on the same image.

    Colours and figures follow the thresholds while they are dragged, here or in *Detect lesions*.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    updated = Signal()
    """Figures and colours are those of the present thresholds."""
    curves_ready = Signal()
    """The curves of the image are drawn."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._result: LayerGroup | None = None
        self._truth: LayerGroup | None = None
        self._live_layers: LiveLayers | None = None
        self._result_changes, self._truth_changes = Connections(), Connections()
        self._prepared: PreparedTruth | None = None
        self._matches: Mapping[str, ClassMatch] = {}
        self._preparing, self._matching, self._drawing_curves = (JobSlot(self) for _ in range(3))
        self._stale = False
        self._error_map = ErrorMapLayers(viewer, ERROR_CATEGORIES, title="outcome")
        self._step_runner = StepRunner(self)
        self._clicked: list[Labels] = []
        self.assessment: Assessment | None = None
        """Figures of all classes at the present thresholds; None before the first are there."""
        self.curves: dict[tuple[CurveKind, str], Curve] = {}
        """Curves of the image, by kind (``"froc"``, ``"pr"``) and class."""
        self.set_curves: DatasetCurves | None = None
        """Curves of a whole set, once a run or a report gave them."""
        self._doubt = ""
        self.view = EvaluateView(viewer, self)
        self._throttle_timer = single_shot_timer(self, _THROTTLE_MS, self._match)
        self._truth_timer = single_shot_timer(self, _TRUTH_MS, self._prepare)
        view = self.view
        view.result_box.chosen.connect(self._on_result_chosen)
        view.truth_box.chosen.connect(self._begin)
        view.lesion_chosen.connect(self.select)
        view.layers_chosen.connect(lambda: self._draw())
        view.threshold_moved.connect(lambda value: self.set_threshold(value))
        view.lesion_activated.connect(self._go)
        view.dataset_panel.loaded.connect(self._on_set)
        on_widget_removed(self, self.shutdown)
        self._on_result_chosen()

    @property
    def busy(self) -> bool:
        """Whether an answer to what was chosen or moved is still on its way."""
        moving = self._live_layers is not None and self._live_layers.busy
        waiting = (
            self._throttle_timer.isActive()
            or self._truth_timer.isActive()
            or self._step_runner.busy
        )
        working = self._preparing.busy or self._matching.busy or self._drawing_curves.busy
        return working or waiting or moving

    @property
    def layers(self) -> list[Labels]:
        """The layers that show what is found, made up and missed: values 1, 2 and 3."""
        return self._error_map.layers

    @property
    def _live(self) -> LiveResult | None:
        return None if self._result is None else self._result.live

    @property
    def lesion(self) -> str | None:
        """The class that slider, list and curves are of."""
        return self.view.lesion

    def choose(self, result: Layer | Iterable[Layer], truth: Layer | Iterable[Layer]) -> None:
        """Choose what is compared with what; `updated` is emitted when the metrics are there.

        Parameters
        ----------
        result
            Layers of a result; one is enough.
        truth
            Layers of a truth: the experts' masks or drawn labels; one is enough.

        Raises
        ------
        OptionsError
            They are no such layers.
        """
        if not self.view.result_box.choose(result):
            raise OptionsError("These are no layers of a result: run Detect lesions first.")
        if not self.view.truth_box.choose(truth):
            raise OptionsError(
                "These are no layers of a truth: open a sample of a data set, or name labels after "
                "their class."
            )

    def select(self, lesion: str) -> None:
        """Choose the class that slider, list and curves are of."""
        self.view.select(lesion)
        self._show_class()

    def set_threshold(self, value: float, lesion: str | None = None) -> None:
        """Move the threshold of a class (the chosen one) here and in the results panel."""
        code, live = lesion or self.lesion, self._live
        if live is not None and code is not None and live.has_threshold(code):
            live.set_threshold(code, value)

    def go_to(self, row: int) -> None:
        """Go to a row of the list of lesions, as a click on it does."""
        self.view.list.choose(row)

    def _on_result_chosen(self) -> None:
        """Turn to a truth of the photograph that the result is of, where there is one."""
        if (result := self.view.result_box.choice()) is not None:
            self.view.truth_box.follow(result.identity)
        self._begin()

    def _begin(self) -> None:
        """Start on what is now chosen; what was on its way is dropped."""
        self._drop()
        result, truth = self.view.result_box.choice(), self.view.truth_box.choice()
        reason = _incompatibility(result, truth)
        self.view.message.setText(reason)
        if result is None or truth is None or reason:
            self._error_map.clear()
            return
        self._doubt = doubt("the result", result, "the truth", truth)
        self._truth = truth
        paint = (layer.events.paint for layer in truth.labels.values())
        self._truth_changes.connect(self._on_truth_painted, *paint)
        self._result = result
        self._prepare()

    def _prepare(self) -> None:
        truth, result = self._truth, self._result
        if truth is None or result is None:
            return
        masks = {code: truth.labels[code].data for code in result.labels if code in truth.labels}
        run = None if result.live is None else result.live.original
        self.view.message.setText("Reading the truth…")
        self._preparing.start(
            lambda monitor: prepare_truth(masks, run, monitor), self._on_prepared, self._failed
        )

    def _on_prepared(self, prepared: PreparedTruth) -> None:
        self._prepared = prepared
        self.view.message.setText(self._doubt)
        result = self._result
        if result is None:
            return
        if not self._result_changes:
            self._watch(result)
            self.view.set_classes(list(prepared.truths))
            self.view.dataset_panel.set_result(None if self._live is None else self._live.original)
        self._schedule()
        if (live := self._live) is not None:
            run = live.original
            self._drawing_curves.start(
                lambda monitor: image_curves(prepared, run, monitor), self._on_curves, self._failed
            )

    def _watch(self, result: LayerGroup) -> None:
        """Follow thresholds and strokes, and show the thresholds where nothing else does."""
        if (live := result.live) is not None:
            self._live_layers = LiveLayers(self._viewer, live, result.layers, self)
        self._result_changes.connect(self._schedule, *result.change_signals())

    def _schedule(self, event: Any = None) -> None:
        if not self._throttle_timer.isActive():
            self._throttle_timer.start()

    def _match(self) -> None:
        result, prepared, live = self._result, self._prepared, self._live
        if result is None or prepared is None:
            return
        if self._matching.busy:
            self._stale = True
            return
        snapshots = {code: layer_snapshot(result.labels[code]) for code in prepared.truths}
        title = result.title
        thresholds = {} if live is None else dict(live.settings.thresholds)
        area = 1 if live is None else live.settings.min_area

        def work(_: Any) -> tuple[Mapping[str, ClassMatch], Assessment]:
            matches = match_classes(snapshots, prepared.truths)
            assessment = Assessment.of(
                list(matches.values()),
                title=title,
                thresholds=thresholds,
                min_area=area,
                aupr=prepared.aupr,
            )
            return matches, assessment

        self._matching.start(work, self._on_matched, self._failed)

    def _on_matched(self, result: tuple[Mapping[str, ClassMatch], Assessment]) -> None:
        self._matches, self.assessment = result
        self._draw()
        if self._stale:
            self._stale = False
            self._schedule()

    def _draw(self) -> None:
        """Show the outcome over the picture, in layers that may have to come first; then tell."""
        if not self._matches or self._result is None:
            return
        self._step_runner.start(
            self._draw_steps(self._result), self._show_metrics, first_step_now=True
        )

    def _show_metrics(self) -> None:
        """Show the figures of what is drawn."""
        if self.assessment is not None:
            self.view.metric_tables.show_metrics(self.assessment)
            self._show_class(curves=False)
            self.updated.emit()

    def _draw_steps(self, result: LayerGroup) -> Iterator[None]:
        """Show the outcome, all in one step where its layers are there: a slider may be moving."""
        over = next(iter(result.labels.values()))
        there = True
        for _ in self._error_map.prepare(self._matches, over, per_class=self.view.per_class):
            there = False
            yield
        parts = {
            code: (j.true_positive, j.false_positive, j.false_negative)
            for code, j in self._matches.items()
        }
        self._error_map.show(
            parts, over, per_class=self.view.per_class, covered=lesion_layers(self._viewer, over)
        )
        for layer in self._error_map.layers:
            if layer not in self._clicked:
                layer.mouse_drag_callbacks.append(self._on_canvas)
                self._clicked.append(layer)
        if not there:
            yield

    def _show_class(self, *, curves: bool = True) -> None:
        """Show slider, list and operating point of the chosen class; `curves` draws these anew."""
        code, live = self.lesion, self._live
        if code is None or self._result is None or self.assessment is None:
            return
        row = self.assessment.row(code)
        threshold = None if live is None else live.settings.thresholds.get(code)
        movable = live is not None and live.has_threshold(code)
        self.view.show_class(self.assessment, threshold=threshold if movable else None)
        label = "" if live is None else live.original.provenance.detector
        shown = self._shown_curves(code, label)
        if curves:
            self.view.show_curves(shown, main=label)
        if not self.view.whole_set:
            self.view.mark(operating_points(row))
        elif threshold is not None:
            chosen = {kind: by.get(label, next(iter(by.values()))) for kind, by in shown.items()}
            self.view.mark({kind: curve.at(threshold) for kind, curve in chosen.items()})

    def _shown_curves(self, code: str, label: str) -> dict[CurveKind, dict[str, Curve]]:
        """Return the curves of a class, by kind and detector: of the image or of a whole set."""
        if self.view.whole_set:
            return {} if self.set_curves is None else self.set_curves.of_class(code)
        return {kind: {label: c} for (kind, lesion), c in self.curves.items() if lesion == code}

    def _on_curves(self, curves: dict[tuple[CurveKind, str], Curve]) -> None:
        self.curves = curves
        self._show_class()
        self.curves_ready.emit()

    def _on_set(self, curves: DatasetCurves) -> None:
        self.set_curves = curves
        self.view.show_dataset_curves(True)
        self._show_class()

    def _go(self, row: dict[str, Any]) -> None:
        if self._result is None:
            return
        layer = next(iter(self._result.labels.values()))
        size = max(
            row["bbox_row_stop"] - row["bbox_row_start"],
            row["bbox_col_stop"] - row["bbox_col_start"],
        )
        go_to(self._viewer, layer, row["centroid_row"], row["centroid_col"], size=float(size))

    def _on_canvas(self, layer: Labels, event: Any) -> Any:
        """Choose the lesion that was clicked in the canvas; dragging moves the picture as ever."""
        yield
        if event.type == "mouse_move":
            return
        row, col = layer.world_to_data(event.position)[-2:]
        index = nearest_lesion(self.view.list.frame, float(row), float(col))
        if index is not None:
            self.view.list.choose(index)

    def _on_truth_painted(self, event: Any = None) -> None:
        self._truth_timer.start()

    def _failed(self, error: Exception) -> None:
        self.view.message.setText(short_message(error))
        show_error(error)

    def _drop(self) -> None:
        """Drop the present result and truth, and take the colours away."""
        self._throttle_timer.stop()
        self._truth_timer.stop()
        for job in (self._preparing, self._matching, self._drawing_curves):
            job.cancel_silently()
        self._step_runner.stop()
        self._stale = False
        self._truth_changes.disconnect()
        self._result_changes.disconnect()
        self._truth = self._result = None
        if self._live_layers is not None:
            self._live_layers.close()
            self._live_layers.deleteLater()
            self._live_layers = None
        self._prepared, self._matches, self.assessment, self.curves = None, {}, None, {}
        self._error_map.rest()
        self.view.reset()

    def shutdown(self) -> None:
        """Stop all work and listen no more: the widget was closed."""
        self._drop()
        self._error_map.clear()
        self.view.shutdown()


def _incompatibility(result: LayerGroup | None, truth: LayerGroup | None) -> str:
    """Return why the two cannot be compared; empty if they can."""
    if result is None:
        return (
            "Find lesions first: run Detect lesions, or open a result. Results in the slices of a "
            "stack cannot be evaluated: open the photograph of the slice itself."
        )
    if truth is None:
        return (
            "No truth here: open a sample of a data set, or add a labels layer named after its "
            "class, such as MA."
        )
    return incompatibility("the result", result, "the truth", truth)
