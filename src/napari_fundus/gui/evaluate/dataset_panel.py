"""The whole set: runs the result's detector over a data set, or opens a report that was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.layouts import column_layout, form_layout, make_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.evaluate.plots_window import PlotsWindow, report_plots
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.preferences import cache_folder
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from napari_fundus.evaluation import DatasetCurves, Report

_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class DatasetEvaluation:
    """What a run over a set gives: its curves, and the report they are of."""

    curves: DatasetCurves
    report: Report


def evaluate_selection(
    run: Detections,
    folder: Path,
    *,
    split: str | None,
    cache: Path | None,
    device: str = "auto",
    monitor: Monitor,
) -> DatasetEvaluation:
    """Run the detector of a result, with its options and weights, over a data set.

    Parameters
    ----------
    run
        The result whose detector is meant.
    folder
        Of the data set.
    split
        As in `select_samples`; None leaves the choice to it.
    cache
        Where maps are kept, so that a run that was stopped goes on.
    device
        Where to compute.
    monitor
        Takes progress; may cancel.
    """
    from napari_fundus.datasets import open_dataset
    from napari_fundus.evaluation import (
        Candidate,
        DatasetCurves,
        ReportSource,
        evaluate_dataset,
        select_samples,
    )
    from napari_fundus.evaluation.protocols.discovery import DEFAULT_PROTOCOLS, plugin_protocols
    from napari_fundus.plugins import get_detector

    monitor.step(0.0, "reading the lists")
    dataset = open_dataset(folder)
    provenance = run.provenance
    candidate = Candidate.of(get_detector(provenance.detector), provenance.options)
    chosen: Any = split
    selection = select_samples(dataset, [candidate], split=chosen)
    report = evaluate_dataset(
        selection.samples,
        [candidate],
        protocols=(*DEFAULT_PROTOCOLS, *plugin_protocols()),
        resamples=_RESAMPLES,
        cache=cache,
        device=device,
        monitor=monitor.part(0.02, 0.95),
        source=ReportSource(
            name=dataset.name,
            title=dataset.title,
            licence=dataset.licence,
            root=str(dataset.root),
            split=selection.split,
            note=selection.note,
        ),
        known=dataset,
    )
    monitor.step(0.96, "curves")
    return DatasetEvaluation(DatasetCurves.of(report), report)


class DatasetPanel(QWidget):
    """Chooses a data set and a part of it, evaluates it, and announces the curves."""

    loaded = Signal(object)
    """The curves of a set, as `DatasetCurves`."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Detections | None = None
        self._report: Report | None = None
        self._report_folder: Path | None = None
        self.folder = FolderEdit("Folder of a data set", "as unpacked")
        self.part = make_combo(
            ("held back, else test, else all", None),
            ("held back in training", "held-back"),
            ("testing part", "test"),
            ("validation part", "valid"),
            ("training part", "train"),
            ("all images", "all"),
        )
        self.run_bar = RunBar("Run over the whole set")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.returned.connect(self._measured)
        self.open_button = _button("Open report…", self._ask_report)
        self.open_button.setToolTip("Open a folder that `napari-fundus evaluate` wrote")
        self.save_button = _button("Save report…", self._ask_save)
        self.save_button.setToolTip("Write metrics with intervals, plots and crops into a folder")
        self.plots_button = _button("Plots…", self.show_plots)
        self.plots_button.setToolTip(
            "Show the plots of the report, those of a plugin's protocol among them"
        )
        line = QHBoxLayout()
        for button in (self.open_button, self.save_button, self.plots_button):
            line.addWidget(button)
        self.about = MessageLabel()
        form = form_layout(("Data set", self.folder), ("Images", self.part))
        column_layout(self, form, self.run_bar, line, self.about)
        self.plots_window: PlotsWindow | None = None
        """The window that shows the plots, once it was opened."""
        self._set_report(None, None)

    @property
    def busy(self) -> bool:
        """Whether a run or a report is under way."""
        return self.run_bar.running

    def set_result(self, run: Detections | None) -> None:
        """Set which result's detector is measured."""
        self._run = run

    def run(self) -> None:
        """Start the run."""
        run, folder, split = self._run, self.folder.path(), self.part.currentData()
        if self.run_bar.running:
            return
        if run is None:
            self.run_bar.show_message("Choose a result that keeps its maps, to be measured.")
            return
        if folder is None:
            self.run_bar.show_message("Choose a data set first.")
            return
        cache = cache_folder("maps")
        self.run_bar.start(
            lambda monitor: evaluate_selection(
                run, folder, split=split, cache=cache, monitor=monitor
            )
        )

    def _measured(self, measured: DatasetEvaluation) -> None:
        self._set_report(measured.report, None)
        self._show(measured.curves)

    def _ask_report(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a report")
        if folder:
            self.open_report(folder)

    def open_report(self, path: str | Path) -> None:
        """Open a report's folder, or its ``report.json``, in a thread."""
        from napari_fundus.evaluation import read_curves

        path = Path(path)

        def opened(curves: DatasetCurves) -> None:
            self._set_report(None, path if path.is_dir() else path.parent)
            self._show(curves)

        if not self.busy:
            self.run_bar.start(lambda _: read_curves(path), opened)

    def _set_report(self, report: Report | None, folder: Path | None) -> None:
        """Take a report that was just made, or the folder of one."""
        self._report, self._report_folder = report, folder
        self.save_button.setEnabled(report is not None)
        self.plots_button.setEnabled(report is not None or folder is not None)

    def _show(self, curves: DatasetCurves) -> None:
        self.run_bar.show_message("")
        warnings = "".join(f"<br>⚠ {warning}" for warning in curves.warnings)
        images = f"{curves.images} image{'s' * (curves.images != 1)}"
        self.about.setText(f"<b>{curves.title}</b> · {images}{warnings}")
        self.loaded.emit(curves)

    def _ask_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the report")
        if folder:
            self.save_report(folder)

    def save_report(self, folder: str | Path) -> None:
        """Write the report of the last run into a folder, in a thread; nothing is overwritten."""
        from napari_fundus.evaluation import write_report

        report = self._report
        if report is not None and not self.busy:
            self.run_bar.start(
                lambda monitor: write_report(report, folder, monitor=monitor), self._written
            )

    def _written(self, files: list[Path]) -> None:
        self.run_bar.show_message("")
        show_info(f"Written: {files[-1]}")

    def show_plots(self) -> None:
        """Draw the plots of all protocols in a thread, or read them, and show them in a window."""
        report, folder = self._report, self._report_folder
        if not self.busy:
            self.run_bar.start(lambda _: report_plots(report, folder), self._open_plots)

    def _open_plots(self, pictures: dict[str, bytes]) -> None:
        self.run_bar.show_message("" if pictures else "The report has no plots.")
        if pictures:
            self.plots_window = PlotsWindow(pictures, self)
            self.plots_window.show()

    def shutdown(self) -> None:
        """Stop all work: the widget was closed."""
        self.run_bar.cancel_silently()


def _button(text: str, action: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.clicked.connect(lambda _=False: action())
    return button
