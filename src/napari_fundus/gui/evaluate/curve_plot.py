"""FROC and precision-recall curves with the present operating point; a click gives a threshold."""

# mypy: disable-error-code="misc"
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_fundus.metrics.curves import Curve, CurveKind

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Of Okabe and Ito, distinguished with any colour vision; lines differ in dashes too."""

_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)

_MIN_FALSE_POSITIVES = {True: 0.5, False: 1 / 16}
"""False positives at which the logarithmic axis begins: of one image, of many."""

_CLICK_RADIUS_PX = 40
"""Pixels of the screen within which a click belongs to a curve."""

_HEIGHT = 210

_AXIS_COLOUR = "#9a9fa8"
"""Of the axes: to be read on napari's dark theme and on its light one."""


class CurvePlot(QWidget):
    """Draws curves of one kind and class.

    Parameters
    ----------
    kind
        ``"froc"`` or ``"pr"``.
    """

    threshold_picked = Signal(float)
    """The threshold of the point that was clicked."""

    def __init__(self, kind: CurveKind, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self._curves: dict[str, Curve] = {}
        self._one_image = True
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.title = QLabel()
        self.title.setWordWrap(True)
        column.addWidget(self.title)
        self.plot = pg.PlotWidget(background=None)
        self.plot.setFixedHeight(_HEIGHT)
        self.plot.setToolTip("Click a point of the curve: the threshold moves there")
        column.addWidget(self.plot)
        item = self.plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.showGrid(x=True, y=True, alpha=0.25)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(_AXIS_COLOUR)
            axis.setTextPen(_AXIS_COLOUR)
        self._mark = pg.ScatterPlotItem(size=12, brush="#ffffff", pen=pg.mkPen("#000000", width=1))
        self._mark.setZValue(10)
        self.plot.scene().sigMouseClicked.connect(self._on_click)

    def show_curves(
        self, curves: Mapping[str, Curve], *, main: str | None = None, one_image: bool = True
    ) -> None:
        """Draw curves by name.

        Parameters
        ----------
        curves
            Name to curve.
        main
            Name of the one that clicks mean first and that is drawn thick.
        one_image
            Whether false positives are those of one image, not a mean over many.
        """
        self._one_image = one_image
        self._curves = dict(sorted(curves.items(), key=lambda pair: pair[0] != main))
        item = self.plot.getPlotItem()
        item.clear()
        item.addItem(self._mark)
        self._mark.clear()
        lines = []
        for place, (name, curve) in enumerate(self._curves.items()):
            colour = COLOURS[place % len(COLOURS)]
            pen = pg.mkPen(colour, width=2.5 if place == 0 else 1.5, style=_DASHES[place % 3])
            item.plot(*self._drawn(curve), pen=pen, connect="finite")
            area = f"{'CPM' if self.kind == 'froc' else 'AUPR'} {curve.summary:.3f}"
            shown = "" if one_image and self.kind == "froc" else f" {area}"
            if len(self._curves) > 1 or shown:
                lines.append(f'<span style="color:{colour}">━</span> {name}{shown}')
        what = "FROC of lesions" if self.kind == "froc" else "Precision and recall of pixels"
        self.title.setText("<br>".join([f"<b>{what}</b>", *lines]))
        self._set_axes()

    def mark(self, x: float | None, y: float | None) -> None:
        """Mark the operating point; None takes the mark away."""
        self._mark.clear()
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            self._mark.setData(pos=np.array([[float(self._across(np.array(x))), y]]))

    @property
    def marked(self) -> tuple[float, float] | None:
        """Where the mark stands, in the units of the curve; None without one."""
        points = self._mark.points()
        if not len(points):
            return None
        place = points[0].pos()
        x = place.x() if self.kind == "pr" else 2 ** place.x()
        return float(x), float(place.y())

    def pick(self, x: float, y: float) -> None:
        """Choose the point of the first curve that is nearest to a place, as a click does.

        Parameters
        ----------
        x, y
            In the units of the curve: recall and precision, or false positives and sensitivity.
        """
        self._pick(self._to_screen(float(self._across(np.array(x))), y), near=math.inf)

    def _across(self, x: Any) -> Any:
        if self.kind == "pr":
            return x
        return np.log2(np.maximum(x, _MIN_FALSE_POSITIVES[self._one_image]))

    def _drawn(self, curve: Curve) -> tuple[Any, Any]:
        return self._across(curve.x), curve.y

    def _set_axes(self) -> None:
        item = self.plot.getPlotItem()
        item.setYRange(0, 1, padding=0.03)
        froc = self.kind == "froc"
        item.setLabel("left", "sensitivity" if froc else "precision")
        if not froc:
            item.setLabel("bottom", "recall")
            item.setXRange(0, 1, padding=0.03)
            return
        item.setLabel("bottom", "false positives" + ("" if self._one_image else " an image"))
        least = _MIN_FALSE_POSITIVES[self._one_image]
        most = max([8.0, *(float(c.x.max(initial=0)) for c in self._curves.values())])
        item.setXRange(math.log2(least), math.log2(most), padding=0.03)
        step = max(1, round((math.log2(most) - math.log2(least)) / 7))
        powers = range(int(math.log2(least)), int(math.log2(most)) + 1, step)
        item.getAxis("bottom").setTicks([[(p, _power(p, least)) for p in powers]])

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
            points = [
                self._to_screen(float(x), float(y))
                for x, y in zip(*(part[usable] for part in self._drawn(curve)), strict=True)
            ]
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
