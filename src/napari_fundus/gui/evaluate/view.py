"""What *Evaluate against truth* looks like: choices, legend, slider, and three tabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_fundus.evaluation.assessment import Assessment
from napari_fundus.evaluation.dataset_curves import curve_protocol
from napari_fundus.gui.controls.layouts import (
    column_layout,
    form_layout,
    make_combo,
    scrollable_layout,
)
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.sliders import ClassRow
from napari_fundus.gui.evaluate.curve_plot import CurvePlot
from napari_fundus.gui.evaluate.dataset_panel import DatasetPanel
from napari_fundus.gui.evaluate.error_map import ERROR_CATEGORIES, Legend
from napari_fundus.gui.evaluate.layer_groups import LayerGroupCombo, list_results, list_truths
from napari_fundus.gui.evaluate.lesion_outcomes import (
    COLUMNS,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    lesion_table,
)
from napari_fundus.gui.evaluate.metric_tables import MetricTables
from napari_fundus.gui.layers.go_to import LesionTable
from napari_fundus.lesions import describe
from napari_fundus.metrics.curves import Curve, CurveKind

if TYPE_CHECKING:
    from napari.components import ViewerModel


_OUTCOME_FILTERS: tuple[tuple[str, frozenset[str] | None], ...] = (
    ("missed and false positives", frozenset({FALSE_NEGATIVE, FALSE_POSITIVE})),
    ("missed", frozenset({FALSE_NEGATIVE})),
    ("false positives", frozenset({FALSE_POSITIVE})),
    ("found", frozenset({TRUE_POSITIVE})),
    ("all", None),
)


class EvaluateView(QWidget):
    """The controls; knows nothing of jobs.

    Parameters
    ----------
    viewer
        Whose layers are offered.
    parent
        The widget that it fills.
    """

    lesion_chosen = Signal(str)
    layers_chosen = Signal()
    threshold_moved = Signal(float)
    lesion_activated = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._row: ClassRow | None = None
        self._assessment: Assessment | None = None
        column = scrollable_layout(parent)
        self.result_box = LayerGroupCombo(viewer, list_results)
        self.truth_box = LayerGroupCombo(viewer, list_truths)
        self.colours = make_combo(("in one layer", False), ("in a layer for each class", True))
        self.colours.currentIndexChanged.connect(lambda _: self.layers_chosen.emit())
        column.addLayout(
            form_layout(
                ("Result", self.result_box), ("Truth", self.truth_box), ("Colours", self.colours)
            )
        )
        self.message = MessageLabel()
        column.addWidget(self.message)
        self.body = QWidget()
        column.addWidget(self.body)
        column.addStretch(1)
        self.class_box = QComboBox()
        self.class_box.currentIndexChanged.connect(self._on_class)
        self.legend = Legend(ERROR_CATEGORIES)
        self._slot = QVBoxLayout()
        self.tabs = QTabWidget()
        self.tabs.addTab(self._figures_tab(), "Figures")
        self.tabs.addTab(self._list_tab(), "Lesions")
        self.tabs.addTab(self._curves_tab(), "Curves")
        chooser = form_layout(("Class", self.class_box))
        column_layout(self.body, chooser, self.legend, self._slot, self.tabs, spacing=6)
        self.setVisible(False)
        self.reset()

    def _figures_tab(self) -> QWidget:
        self.metric_tables = MetricTables()
        self.metric_tables.class_chosen.connect(self.lesion_chosen)
        return self.metric_tables

    def _list_tab(self) -> QWidget:
        tab = QWidget()
        column = QVBoxLayout(tab)
        column.setContentsMargins(0, 4, 0, 0)
        self.listed = make_combo(*_OUTCOME_FILTERS)
        self.listed.currentIndexChanged.connect(lambda _: self._show_list())
        self.list = LesionTable(COLUMNS)
        self.list.setToolTip("Click a row to go there; a click in the picture chooses its row")
        self.list.row_chosen.connect(self.lesion_activated)
        column.addWidget(self.listed)
        column.addWidget(self.list)
        return tab

    def _curves_tab(self) -> QWidget:
        tab = QWidget()
        column = QVBoxLayout(tab)
        column.setContentsMargins(0, 4, 0, 0)
        self.curve_scope_combo = make_combo(("of this image", False), ("of a whole set", True))
        self.curve_scope_combo.currentIndexChanged.connect(self._on_of_what)
        column.addWidget(self.curve_scope_combo)
        self.dataset_panel = DatasetPanel()
        self.dataset_panel.setVisible(False)
        column.addWidget(self.dataset_panel)
        self.plots: dict[CurveKind, CurvePlot] = {}
        self._plots_column = QVBoxLayout()
        column.addLayout(self._plots_column)
        column.addStretch(1)
        return tab

    @property
    def per_class(self) -> bool:
        """Whether each class shall have a layer of its own."""
        return bool(self.colours.currentData())

    @property
    def whole_set(self) -> bool:
        """Whether the curves of a whole set are chosen, rather than those of the image."""
        return bool(self.curve_scope_combo.currentData())

    @property
    def lesion(self) -> str | None:
        """The chosen class."""
        code = self.class_box.currentData()
        return None if code is None else str(code)

    def reset(self) -> None:
        """Show nothing of a result."""
        self._assessment = None
        self.body.setVisible(False)
        self.metric_tables.show_metrics(None)
        self.dataset_panel.set_result(None)

    def set_classes(self, codes: Sequence[str]) -> None:
        """Offer classes, keeping the choice where it is among them."""
        before = self.lesion
        with signals_blocked(self.class_box):
            self.class_box.clear()
            for code in codes:
                name = describe(code).plural
                self.class_box.addItem(f"{name[:1].upper()}{name[1:]}", code)
            self.class_box.setCurrentIndex(max(self.class_box.findData(before), 0))
        self._make_row()
        self.body.setVisible(True)

    def select(self, code: str) -> None:
        """Choose a class."""
        index = self.class_box.findData(code)
        if index >= 0 and index != self.class_box.currentIndex():
            with signals_blocked(self.class_box):
                self.class_box.setCurrentIndex(index)
            self._make_row()

    def _on_class(self, _: int) -> None:
        self._make_row()
        if self.lesion is not None:
            self.lesion_chosen.emit(self.lesion)

    def _make_row(self) -> None:
        """Put the slider of the chosen class in place of the one before."""
        if self._row is not None:
            self._slot.removeWidget(self._row)
            self._row.hide()
            self._row.deleteLater()
            self._row = None
        if self.lesion is not None:
            self._row = ClassRow(self.lesion, 0.5)
            self._row.changed.connect(self.threshold_moved)
            self._slot.addWidget(self._row)

    @property
    def slider(self) -> ClassRow | None:
        """The slider of the chosen class."""
        return self._row

    def show_class(self, assessment: Assessment, *, threshold: float | None) -> None:
        """Show the chosen class's counts, slider and list; no threshold locks the slider."""
        code = self.lesion
        if code is None:
            return
        self._assessment = assessment
        row = assessment.row(code)
        self.legend.set_counts((row["found"], row["false_positives"], row["missed"]))
        if self._row is not None:
            self._row.set_count(int(row["detections"]))
            self._row.setEnabled(threshold is not None)
            if threshold is not None and not self._row.slider.isSliderDown():
                with signals_blocked(self._row):
                    self._row.spin.setValue(threshold)
        self.metric_tables.mark(code)
        self._show_list()

    def _show_list(self) -> None:
        if self._assessment is not None:
            self.list.set_data_frame(
                lesion_table(
                    self._assessment, lesion=self.lesion, outcomes=self.listed.currentData()
                )
            )

    def _on_of_what(self, _: int) -> None:
        self.dataset_panel.setVisible(self.whole_set)
        if self.lesion is not None:
            self.lesion_chosen.emit(self.lesion)

    def show_dataset_curves(self, whole: bool) -> None:  # noqa: FBT001  # as Qt's setters are
        """Turn to the curves of a whole set, or of the image."""
        self.curve_scope_combo.setCurrentIndex(int(whole))

    def show_curves(self, curves: Mapping[CurveKind, Mapping[str, Curve]], *, main: str) -> None:
        """Draw curves: of each kind, those of one or several detectors.

        Parameters
        ----------
        curves
            Kind to label of a detector to curve.
        main
            Label of the detector whose result is shown.
        """
        for kind in sorted(curves, key=lambda kind: curve_protocol(kind).plot_order):
            if kind not in self.plots:
                plot = self.plots[kind] = CurvePlot(curve_protocol(kind))
                plot.threshold_picked.connect(self.threshold_moved)
                self._plots_column.addWidget(plot)
        for kind, plot in self.plots.items():
            plot.show_curves(curves.get(kind, {}), main=main)
            plot.setVisible(kind in curves)

    def mark(self, points: Mapping[CurveKind, tuple[float, float] | None]) -> None:
        """Mark the operating point in the plot of each kind."""
        for kind, plot in self.plots.items():
            plot.mark(points.get(kind))

    def shutdown(self) -> None:
        """Stop listening and working: the widget was closed."""
        self.result_box.disconnect_viewer()
        self.truth_box.disconnect_viewer()
        self.dataset_panel.shutdown()
