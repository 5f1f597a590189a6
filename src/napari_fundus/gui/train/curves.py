"""Loss and figures of a training as curves that grow while it runs."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_fundus.training.loop.events import EpochEnd, Step

__all__ = ["TrainingCurves"]

_HEIGHT = 150
_LOSS, _FIGURE, _BEST = "#4fc3f7", "#ffb74d", "#ffffff"


class TrainingCurves(QWidget):
    """Two plots over the epochs: the loss of each report, and one figure of each validation."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.loss = _plot("loss")
        self.figure = _plot("")
        self.choice = QComboBox()
        self.choice.setAccessibleName("Figure shown")
        self.choice.currentIndexChanged.connect(lambda _: self._draw_figure())
        for part in (self.loss, self.choice, self.figure):
            layout.addWidget(part)
        self._loss_line = self.loss.plot(pen=pg.mkPen(_LOSS, width=1.5))
        look = {"symbol": "o", "symbolSize": 5, "symbolBrush": _FIGURE, "symbolPen": None}
        self._figure_line = self.figure.plot(pen=pg.mkPen(_FIGURE, width=1.5), **look)
        self._best_mark = self.figure.plot(
            pen=None, symbol="star", symbolSize=14, symbolBrush=_BEST, symbolPen=None
        )
        self.clear()

    def clear(self, steps_per_epoch: int = 1) -> None:
        """Begin anew; `steps_per_epoch` puts steps and epochs on one axis."""
        self._per_epoch = max(steps_per_epoch, 1)
        self.losses: list[tuple[float, float]] = []
        self.figures: list[tuple[int, Mapping[str, float]]] = []
        self.best: int | None = None
        self._chosen = False
        self.choice.clear()
        self._loss_line.setData([], [])
        self._draw_figure()

    def set_steps_per_epoch(self, count: int) -> None:
        """Put steps and epochs on one axis."""
        self._per_epoch = max(count, 1)

    def set_history(self, history: Sequence[Mapping[str, float]], best: int | None) -> None:
        """Show the epochs that were made before the run was resumed."""
        self.figures = list(enumerate(history))
        self.best = best
        for figures in history[-1:]:
            self._offer(figures)
        self._draw_figure()

    def add_steps(self, steps: Iterable[Step]) -> None:
        """Add reports of the loss."""
        self.losses += [(s.epoch + s.step / self._per_epoch, s.loss) for s in steps]
        # Beyond a few thousand points a curve shows no more, and is slow to draw.
        thinned = self.losses[:: len(self.losses) // 4000 + 1]
        places, values = zip(*thinned, strict=True) if thinned else ((), ())
        self._loss_line.setData(np.array(places, float), np.array(values, float))

    def add_epoch(self, end: EpochEnd) -> None:
        """Add the figures of a validation."""
        self.figures.append((end.epoch, dict(end.metrics)))
        if end.improved:
            self.best = end.epoch
        self._offer(end.metrics)
        if not self._chosen:
            self._chosen = True
            self.choice.setCurrentIndex(max(self.choice.findText(end.metric), 0))
        self._draw_figure()

    def _offer(self, figures: Mapping[str, float]) -> None:
        known = {self.choice.itemText(index) for index in range(self.choice.count())}
        self.choice.addItems([name for name in figures if name not in known])

    def _draw_figure(self) -> None:
        name = self.choice.currentText()
        points = [(epoch + 1, figures[name]) for epoch, figures in self.figures if name in figures]
        # Infinities and gaps would stretch the axes without end.
        points = [(place, value) for place, value in points if np.isfinite(value)]
        places, values = zip(*points, strict=True) if points else ((), ())
        self._figure_line.setData(np.array(places, float), np.array(values, float))
        best = [point for point in points if self.best is not None and point[0] == self.best + 1]
        self._best_mark.setData([p for p, _ in best], [v for _, v in best])
        self.choice.setVisible(self.choice.count() > 0)


def _plot(title: str) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=None)
    plot.setFixedHeight(_HEIGHT)
    plot.setLabel("bottom", "epoch")
    plot.getAxis("left").enableAutoSIPrefix(False)
    if title:
        plot.setLabel("left", title)
    plot.showGrid(x=True, y=True, alpha=0.2)
    plot.setMenuEnabled(False)
    # Scrolling the panel must not zoom the curves.
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    return plot
