"""The canvas of curves: a plot with a grid, without menu, that the mouse wheel does not zoom."""

from __future__ import annotations

import pyqtgraph as pg

PLOT_GROUND = "#262930"
"""Of the plot in any theme: every colour of a curve has a contrast of 3 : 1 with it or more."""


def curve_canvas(height: int, x_name: str, y_name: str) -> pg.PlotWidget:
    """Return an empty plot.

    Parameters
    ----------
    height
        In pixels of the screen: the plot is in a panel that scrolls.
    x_name, y_name
        What the axes are.
    """
    plot = pg.PlotWidget(background=PLOT_GROUND)
    plot.setFixedHeight(height)
    plot.setLabel("bottom", x_name)
    plot.setLabel("left", y_name)
    plot.getAxis("left").enableAutoSIPrefix(False)
    plot.showGrid(x=True, y=True, alpha=0.25)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    return plot
