"""Loss and validation metrics of a training as curves that grow while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QComboBox, QWidget

from napari_fundus.gui.controls.curve_canvas import curve_canvas
from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.training.loop.events import EpochEnd, Step

_HEIGHT = 150
_LOSS, _METRIC, _BEST = "#4fc3f7", "#ffb74d", "#ffffff"


class TrainingCurves(QWidget):
    """Two plots over the epochs: the loss of each report, and one metric of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_plot = curve_canvas(_HEIGHT, "epoch", "loss")
        self.metric_plot = curve_canvas(_HEIGHT, "epoch", "")
        self.metric_combo = QComboBox()
        self.metric_combo.setAccessibleName("Metric shown")
        self.metric_combo.currentIndexChanged.connect(lambda _: self._draw_metric())
        column_layout(self, self.loss_plot, self.metric_combo, self.metric_plot, spacing=2)
        self._loss_line = self.loss_plot.plot(pen=pg.mkPen(_LOSS, width=1.5))
        look = {"symbol": "o", "symbolSize": 5, "symbolBrush": _METRIC, "symbolPen": None}
        self._metric_line = self.metric_plot.plot(pen=pg.mkPen(_METRIC, width=1.5), **look)
        self._best_mark = self.metric_plot.plot(
            pen=None, symbol="star", symbolSize=14, symbolBrush=_BEST, symbolPen=None
        )
        self.clear()

    def clear(self, steps_per_epoch: int = 1) -> None:
        """Remove all curves; `steps_per_epoch` puts steps and epochs on one axis."""
        self._per_epoch = max(steps_per_epoch, 1)
        self.losses: list[tuple[float, float]] = []
        self.metric_history: list[tuple[int, Mapping[str, float]]] = []
        self.best: int | None = None
        self._metric_is_set = False
        self.metric_combo.clear()
        self._loss_line.setData([], [])
        self._draw_metric()

    def set_steps_per_epoch(self, count: int) -> None:
        """Put steps and epochs on one axis."""
        self._per_epoch = max(count, 1)

    def set_history(self, history: Sequence[Mapping[str, float]], best: int | None) -> None:
        """Show the epochs from before the run was resumed."""
        self.metric_history = list(enumerate(history))
        self.best = best
        for metrics in history[-1:]:
            self._offer_metrics(metrics)
        self._draw_metric()

    def add_steps(self, steps: Iterable[Step]) -> None:
        """Add reports of the loss."""
        self.losses += [(s.epoch + s.step / self._per_epoch, s.loss) for s in steps]
        # Beyond a few thousand points a curve shows no more, and is slow to draw.
        thinned = self.losses[:: len(self.losses) // 4000 + 1]
        epochs, values = zip(*thinned, strict=True) if thinned else ((), ())
        self._loss_line.setData(np.array(epochs, float), np.array(values, float))

    def add_epoch(self, end: EpochEnd) -> None:
        """Add the metrics of a validation."""
        self.metric_history.append((end.epoch, dict(end.metrics)))
        if end.improved:
            self.best = end.epoch
        self._offer_metrics(end.metrics)
        if not self._metric_is_set:
            self._metric_is_set = True
            self.metric_combo.setCurrentIndex(max(self.metric_combo.findText(end.metric), 0))
        self._draw_metric()

    def _offer_metrics(self, metrics: Mapping[str, float]) -> None:
        offered = {self.metric_combo.itemText(index) for index in range(self.metric_combo.count())}
        self.metric_combo.addItems([name for name in metrics if name not in offered])

    def _draw_metric(self) -> None:
        name = self.metric_combo.currentText()
        points = [
            (epoch + 1, metrics[name]) for epoch, metrics in self.metric_history if name in metrics
        ]
        # Infinities and gaps would stretch the axes without end.
        points = [(epoch, value) for epoch, value in points if np.isfinite(value)]
        epochs, values = zip(*points, strict=True) if points else ((), ())
        self._metric_line.setData(np.array(epochs, float), np.array(values, float))
        best = [point for point in points if self.best is not None and point[0] == self.best + 1]
        self._best_mark.setData([p for p, _ in best], [v for _, v in best])
        self.metric_combo.setVisible(self.metric_combo.count() > 0)
