"""The plots of a report, whatever its protocols draw, in a window with a tab for each."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QDialog, QLabel, QScrollArea, QTabWidget, QWidget

from napari_fundus.gui.controls.layouts import column_layout

if TYPE_CHECKING:
    from napari_fundus.evaluation import Report


def report_plots(report: Report | None, folder: Path | None) -> dict[str, bytes]:
    """Return the plots of a report as PNG by name; may be called in a thread.

    Parameters
    ----------
    report
        A report that was just made, whose protocols draw their plots.
    folder
        Otherwise the folder that a report was written to.
    """
    if report is None:
        files = [] if folder is None else sorted(folder.glob("*.png"))
        return {file.stem: file.read_bytes() for file in files}
    pictures = {}
    for name, draw in report.plots().items():
        buffer = BytesIO()
        draw().savefig(buffer, format="png", facecolor="white")
        pictures[name] = buffer.getvalue()
    return pictures


class PlotsWindow(QDialog):
    """Shows pictures by name.

    Parameters
    ----------
    pictures
        Name of each plot to its PNG.
    """

    def __init__(self, pictures: dict[str, bytes], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Plots")
        self.tabs = QTabWidget()
        for name, content in pictures.items():
            pixmap = QPixmap()
            pixmap.loadFromData(content)
            label = QLabel()
            label.setPixmap(pixmap)
            area = QScrollArea()
            area.setWidget(label)
            self.tabs.addTab(area, name.replace("_", " "))
        column_layout(self, self.tabs)
        self.resize(1100, 800)
