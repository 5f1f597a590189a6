"""The curves of a protocol with the present operating point; a click gives a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QWidget

from napari_fundus.evaluation.protocols.base import EvaluationProtocol
from napari_fundus.gui.controls.curve_canvas import curve_canvas
from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.metrics.curves import Curve

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Of Okabe and Ito, distinguished with any colour vision; lines differ in dashes too."""

_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)

_LEAST_X = 2.0**-6
"""Where a logarithmic axis begins at the lowest; what lies below is drawn there, 0 among it."""

_CLICK_RADIUS_PX = 40
"""Pixels of the screen within which a click belongs to a curve."""

_HEIGHT = 210

_AXIS_COLOUR = "#9a9fa8"
"""Of the axes."""


class CurvePlot(QWidget):
    """Draws the curves of one protocol and class, of one or several detectors.

    Parameters
    ----------
    protocol
        Says what the axes are.
    """

    threshold_picked = Signal(float)
    """The threshold of the point that was clicked."""

    def __init__(self, protocol: type[EvaluationProtocol]) -> None:
        super().__init__()
        self._protocol = protocol
        self._curves: dict[str, Curve] = {}
        self._least = _LEAST_X
        self.title = MessageLabel()
        self.plot = curve_canvas(_HEIGHT, *protocol.axis_names)
        self.plot.setToolTip("Click a point of the curve: the threshold moves there")
        self.plot.setYRange(0, 1, padding=0.03)
        column_layout(self, self.title, self.plot, spacing=2)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setPen(_AXIS_COLOUR)
            axis.setTextPen(_AXIS_COLOUR)
        self.operating_point = pg.ScatterPlotItem(
            size=12, brush="#ffffff", pen=pg.mkPen("#000000", width=1)
        )
        self.operating_point.setZValue(10)
        self.plot.scene().sigMouseClicked.connect(self._on_click)

    def show_curves(self, curves: Mapping[str, Curve], *, main: str | None = None) -> None:
        """Draw curves by name.

        Parameters
        ----------
        curves
            Name to curve.
        main
            Name of the one that clicks mean first and that is drawn thick.
        """
        self._curves = dict(sorted(curves.items(), key=lambda pair: pair[0] != main))
        self.plot.clear()
        self.plot.addItem(self.operating_point)
        self.operating_point.clear()
        self._set_range()
        lines = [f"<b>{getattr(self._protocol, 'title', '')}</b>"]
        for index, (name, curve) in enumerate(self._curves.items()):
            colour = COLOURS[index % len(COLOURS)]
            pen = pg.mkPen(colour, width=2.5 if index == 0 else 1.5, style=_DASHES[index % 3])
            self.plot.plot(self._across(curve.x), curve.y, pen=pen, connect="finite")
            known = math.isfinite(curve.summary)
            summary = f" {self._protocol.summary_name} {curve.summary:.3f}" if known else ""
            if len(self._curves) > 1 or known:
                lines.append(f'<span style="color:{colour}">━</span> {name}{summary}')
        self.title.setText("<br>".join(lines))

    def mark(self, point: tuple[float, float] | None) -> None:
        """Mark the operating point: x and y; None takes the mark away."""
        self.operating_point.clear()
        if point is not None and all(map(math.isfinite, point)):
            self.operating_point.setData(x=self._across(np.array(point[:1])), y=point[1:])

    def pick(self, x: float, y: float) -> None:
        """Choose the point of the first curve that is nearest to x and y, as a click does."""
        self._pick(self._to_screen(float(self._across(np.array(x))), y), near=math.inf)

    def _across(self, x: Any) -> Any:
        return np.log2(np.maximum(x, self._least)) if self._protocol.log_x else x

    def _set_range(self) -> None:
        """Let the x axis hold all curves; a logarithmic one is labelled with powers of two."""
        x = np.concatenate([np.zeros(1), *(curve.x for curve in self._curves.values())])
        x = x[np.isfinite(x)]
        if not self._protocol.log_x:
            self.plot.setXRange(x.min(), max(x.max(), 1.0), padding=0.03)
            return
        positive = x[x > 0]
        low = math.ceil(math.log2(positive.min())) - 1 if len(positive) else 0
        low = max(low, round(math.log2(_LEAST_X)))
        self._least = 2.0**low
        high = max(math.log2(x.max()) if len(positive) else 0, low + 1)
        self.plot.setXRange(low, high, padding=0.03)
        powers = range(low, int(high) + 1, max(1, round((high - low) / 7)))
        self.plot.getAxis("bottom").setTicks([[(p, _power(p, self._least)) for p in powers]])

    def _to_screen(self, x: float, y: float) -> QPointF:
        return self.plot.getPlotItem().getViewBox().mapViewToScene(QPointF(x, y))

    def _on_click(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pick(event.scenePos(), near=_CLICK_RADIUS_PX)

    def _pick(self, place: QPointF, *, near: float) -> None:
        """Emit the threshold of the nearest point, those of the first curve before others."""
        for curve in self._curves.values():
            usable = np.flatnonzero(np.isfinite(curve.thresholds) & np.isfinite(curve.y))
            if not len(usable):
                continue
            across, up = self._across(curve.x[usable]), curve.y[usable]
            points = [self._to_screen(float(x), float(y)) for x, y in zip(across, up, strict=True)]
            away = [math.hypot(p.x() - place.x(), p.y() - place.y()) for p in points]
            best = int(np.argmin(away))
            if away[best] <= near:
                self.threshold_picked.emit(float(curve.thresholds[usable[best]]))
                return


def _power(power: int, least: float) -> str:
    """Return a power of two as the axis writes it; the least stands for all below."""
    if 2.0**power <= least:
        return "0"
    return f"{2**power}" if power >= 0 else f"1/{2**-power}"
