"""The widget *Compare two results*: agreement in colours, a table of differences, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.agreement import BOTH, ONLY_A, ONLY_B, Agreement, compare
from napari_fundus.gui.compare.grid import PairGrid
from napari_fundus.gui.compare.tables import COLUMNS, summary_html
from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.layouts import (
    column_layout,
    form_layout,
    make_combo,
    scrollable_layout,
)
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.photographs import find_photograph
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.thread_job import JobSlot, short_message, show_error
from napari_fundus.gui.evaluate.error_map import AGREEMENT_CATEGORIES, ErrorMapLayers, Legend
from napari_fundus.gui.evaluate.layer_groups import (
    LayerGroup,
    LayerGroupCombo,
    doubt,
    incompatibility,
    lesion_layers,
    list_results,
    list_truths,
)
from napari_fundus.gui.layers.event_loop import StepRunner, single_shot_timer
from napari_fundus.gui.layers.go_to import LesionTable, go_to
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.lesions import describe
from napari_fundus.results.layer_metadata import as_array

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels, Layer

_IDLE_MS = 300
"""Time without slider events after which two results are compared anew."""


class CompareWidget(QWidget):
    """Shows where two results on one image agree, lesion by lesion.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    updated = Signal()
    """Table and colours are those of the present results."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._job = JobSlot(self)
        self._watched = Connections()
        self._error_map = ErrorMapLayers(viewer, AGREEMENT_CATEGORIES, title="agreement")
        self._grid = PairGrid(viewer)
        self._step_runner, self._grid_runner = StepRunner(self), StepRunner(self)
        self.agreement: Agreement | None = None
        """What was found; None before the first comparison."""
        self._later = single_shot_timer(self, _IDLE_MS, self._compare)
        self._build()
        on_widget_removed(self, self.shutdown)
        self._follow(self.b_box, self.a_box)

    def _build(self) -> None:
        column = scrollable_layout(self)
        self.a_box = LayerGroupCombo(self._viewer, list_results, preferred=1)
        self.b_box = LayerGroupCombo(self._viewer, list_results)
        self.truth_box = LayerGroupCombo(self._viewer, list_truths)
        self.a_box.chosen.connect(lambda: self._follow(self.a_box, self.b_box))
        self.b_box.chosen.connect(lambda: self._follow(self.b_box, self.a_box))
        self.truth_box.chosen.connect(self._begin)
        column.addLayout(
            form_layout(("A", self.a_box), ("B", self.b_box), ("Truth", self.truth_box))
        )
        self.message = MessageLabel()
        column.addWidget(self.message)
        self.body = QWidget()
        column.addWidget(self.body)
        column.addStretch(1)
        self.side_button = QPushButton("Side by side")
        self.side_button.setCheckable(True)
        self.side_button.setToolTip("Show A on the left and B on the right, moved together")
        self.side_button.toggled.connect(self.show_side_by_side)
        self.legend = Legend(AGREEMENT_CATEGORIES)
        self.summary = MessageLabel()
        self.class_box = QComboBox()
        self.where_box = make_combo(
            ("only in one of them", (ONLY_A, ONLY_B)),
            ("only in A", (ONLY_A,)),
            ("only in B", (ONLY_B,)),
            ("in both", (BOTH,)),
            ("all", (BOTH, ONLY_A, ONLY_B)),
        )
        for combo in (self.class_box, self.where_box):
            combo.currentIndexChanged.connect(lambda _: self._show_list())
        self.list = LesionTable(COLUMNS)
        self.list.setToolTip("Click a row to go there")
        self.list.row_chosen.connect(self._go)
        filters = form_layout(("Class", self.class_box), ("Lesions", self.where_box))
        column_layout(
            self.body, self.side_button, self.legend, self.summary, filters, self.list, spacing=6
        )
        self.body.setVisible(False)

    @property
    def busy(self) -> bool:
        """Whether a comparison is on its way."""
        moving = self._step_runner.busy or self._grid_runner.busy
        return self._job.busy or self._later.isActive() or moving

    @property
    def layers(self) -> list[Labels]:
        """The layer that shows pixels of both (1), only of A (2), and only of B (3)."""
        return self._error_map.layers

    @property
    def table(self) -> pd.DataFrame:
        """One row a lesion, as `Agreement.lesions`; empty before the first comparison."""
        return pd.DataFrame() if self.agreement is None else self.agreement.lesions

    def choose(
        self,
        a: Layer | Iterable[Layer],
        b: Layer | Iterable[Layer],
        truth: Layer | Iterable[Layer] | None = None,
    ) -> None:
        """Choose what is compared; `updated` is emitted when the table is there.

        Parameters
        ----------
        a, b
            Layers of two results; one of each is enough.
        truth
            Layers of a truth that judges both; None keeps the one chosen.

        Raises
        ------
        OptionsError
            They are no such layers.
        """
        for box, layers, what in (
            (self.a_box, a, "result"),
            (self.b_box, b, "result"),
            (self.truth_box, truth, "truth"),
        ):
            if layers is not None and not box.choose(layers):
                raise OptionsError(f"These are no layers of a {what}.")

    def show_side_by_side(self, on: bool) -> None:  # noqa: FBT001  # a slot of toggled
        """Show the two results side by side, or all layers over each other again."""
        a, b = self.a_box.choice(), self.b_box.choice()
        if on and a is not None and b is not None and self.agreement is not None:
            stack = a.source if getattr(a.source, "ndim", 2) > 2 else None
            photograph = find_photograph(self._viewer, next(iter(a.labels.values()))) or stack
            steps = self._grid.show(a, b, photograph)
        else:
            steps = self._grid.hide()
        self._grid_runner.start(
            self._with_visibility_paused(steps), self._update_side_button, first_step_now=True
        )

    def _with_visibility_paused(self, steps: Iterator[None]) -> Iterator[None]:
        with self._error_map.layer_visibility.paused():
            yield from steps

    def _update_side_button(self) -> None:
        if not self._grid.shown:
            self._error_map.layer_visibility.update()
        with signals_blocked(self.side_button):
            self.side_button.setChecked(self._grid.shown)

    def _follow(self, chosen: LayerGroupCombo, other: LayerGroupCombo) -> None:
        """Turn to a second result and a truth of the chosen one's photograph, if there are such."""
        if (choice := chosen.choice()) is not None:
            other.follow(choice.identity, other_than=choice.key)
            self.truth_box.follow(choice.identity)
        self._begin()

    def _begin(self) -> None:
        self._drop()
        a, b, truth = self.a_box.choice(), self.b_box.choice(), self.truth_box.choice()
        reason = _incompatibility(a, b)
        self.message.setText(reason or _remarks(a, b, truth))
        if a is None or b is None or reason:
            self._error_map.clear()
            return
        for choice in (a, b):
            self._watched.connect(self._schedule, *choice.change_signals())
        self._later.start(0)

    def _schedule(self, event: Any = None) -> None:
        self._later.start(_IDLE_MS)

    def _compare(self) -> None:
        a, b, truth = self.a_box.choice(), self.b_box.choice(), self.truth_box.choice()
        if a is None or b is None or a.live is None or b.live is None or _incompatibility(a, b):
            return
        result_a, result_b = a.live.snapshot(), b.live.snapshot()
        masks = {}
        if truth is not None and not incompatibility("A", a, "the truth", truth):
            masks = {code: layer.data for code, layer in truth.labels.items()}

        def work(_: Any) -> Agreement:
            truths = {code: np.asarray(as_array(data)) for code, data in masks.items()}
            return compare(result_a(), result_b(), truth=truths)

        self._job.start(work, self._show, self._failed)

    def _failed(self, error: Exception) -> None:
        self.message.setText(short_message(error))
        show_error(error)

    def _show(self, agreement: Agreement) -> None:
        self.agreement = agreement
        a = self.a_box.choice()
        if a is None:
            return
        over = next(iter(a.labels.values()))
        steps = self._error_map.prepare(agreement.pixels, over, per_class=False)
        self._step_runner.start(
            steps, lambda: self._show_agreement(agreement, over), first_step_now=True
        )

    def _show_agreement(self, agreement: Agreement, over: Layer) -> None:
        """Show colours, counts and list."""
        parts = {code: (p.both, p.only_a, p.only_b) for code, p in agreement.pixels.items()}
        self._error_map.show(
            parts, over, per_class=False, covered=lesion_layers(self._viewer, over)
        )
        where = agreement.lesions["where"]
        self.legend.set_counts([int((where == name).sum()) for name in (BOTH, ONLY_A, ONLY_B)])
        self.summary.setText(summary_html(agreement))
        before = self.class_box.currentData()
        with signals_blocked(self.class_box):
            self.class_box.clear()
            self.class_box.addItem("all", None)
            for code in agreement.summary["lesion"]:
                self.class_box.addItem(describe(code).plural, code)
            self.class_box.setCurrentIndex(max(self.class_box.findData(before), 0))
        self._show_list()
        self.body.setVisible(True)
        self.updated.emit()

    def _show_list(self) -> None:
        if self.agreement is None:
            return
        table = self.agreement.lesions
        table = table[table["where"].isin(self.where_box.currentData())]
        if (code := self.class_box.currentData()) is not None:
            table = table[table["lesion"] == code]
        largest = table[["area_a", "area_b"]].max(axis=1).sort_values(ascending=False)
        self.list.set_data_frame(table.loc[largest.index])

    def _go(self, row: dict[str, Any]) -> None:
        a = self.a_box.choice()
        if a is not None:
            size = 2 * np.sqrt(max(row["area_a"], row["area_b"]) / np.pi)
            layer = next(iter(a.labels.values()))
            go_to(self._viewer, layer, row["centroid_row"], row["centroid_col"], size=float(size))

    def _drop(self) -> None:
        self._later.stop()
        self._watched.disconnect()
        self._job.cancel_silently()
        self._step_runner.stop()
        self.show_side_by_side(False)
        self.agreement = None
        self._error_map.rest()
        self.body.setVisible(False)

    def shutdown(self) -> None:
        """Stop all work and listen no more: the widget was closed."""
        for box in (self.a_box, self.b_box, self.truth_box):
            box.disconnect_viewer()
        self._drop()
        self._grid_runner.finish()
        self._error_map.clear()


def _incompatibility(a: LayerGroup | None, b: LayerGroup | None) -> str:
    """Return why the two cannot be compared; empty if they can."""
    if a is None or b is None or a.key == b.key:
        return (
            "Find lesions in the same image twice, with two methods or two sets of weights, and "
            "choose the two results as A and B."
        )
    for choice in (a, b):
        if choice.live is None:
            return f"{choice.title} was read from a file without maps: run its detector again."
    return incompatibility("A", a, "B", b)


def _remarks(a: LayerGroup | None, b: LayerGroup | None, truth: LayerGroup | None) -> str:
    """Return what a person should know of two results that can be compared."""
    if a is None or b is None:
        return ""
    found = [doubt("A", a, "B", b)]
    if truth is not None:
        unusable = incompatibility("A", a, "the truth", truth)
        found.append(
            f"⚠ The truth is left out. {unusable}"
            if unusable
            else doubt("A", a, "the truth", truth)
        )
    return " ".join(line for line in found if line)
