"""The widget *Worklist*: analyse many photographs, then open, correct and export them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableView,
    QWidget,
)

from napari_fundus.batch.process import make_batch_job
from napari_fundus.batch.records import BatchReport, ImageOutcome
from napari_fundus.batch.run import run_items
from napari_fundus.batch.worklist import Worklist, WorklistEntry
from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.layouts import make_combo, scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.controls.thread_job import JobSlot, ThreadJob, short_message, show_error
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.worklist.job_form import JobForm
from napari_fundus.gui.worklist.photograph_view import (
    OpenedPhotograph,
    PhotographView,
    prepare_photograph,
)
from napari_fundus.gui.worklist.table import FILTERS, WorklistFilter, WorklistModel
from napari_fundus.image import IMAGE_SUFFIXES
from napari_fundus.plugins import Discovery, find_detectors
from napari_fundus.results.live import LiveResult
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

_TABLE_HEIGHT = 220
"""Least height in pixels."""

_AUTOSAVE_MS = 15_000
"""Time after the last change until it is written."""


class WorklistWidget(QWidget):
    """Analyses many photographs, and shows one after the other to be judged and corrected.

    Parameters
    ----------
    viewer
        The napari viewer.
    discovery
        The detectors to offer; by default all installed ones.
    """

    opened = Signal(object)
    """The entry whose photograph and result are in the viewer now."""
    _outcome = Signal(object)

    def __init__(self, viewer: napari.viewer.Viewer, *, discovery: Discovery | None = None) -> None:
        super().__init__()
        sync_preferences()
        self._viewer = unwrap_viewer(viewer)
        self.worklist: Worklist | None = None
        self.results: ResultsPanel | None = None
        self._current: Path | None = None
        self._opened: OpenedPhotograph | None = None
        self._unsaved = self._saved = False
        self._last_save = Event()
        self._last_save.set()
        self._autosave = single_shot_timer(self, _AUTOSAVE_MS, self._save_correction)
        self._listing, self._opening = JobSlot(self), JobSlot(self)
        self._view = PhotographView(self._viewer, self)
        self.model = WorklistModel()
        self.filter = WorklistFilter(self.model)
        self._build(discovery or find_detectors())
        self._outcome.connect(self._on_outcome)
        on_widget_removed(self, self.shutdown)
        self._update_summary()

    def _build(self, discovery: Discovery) -> None:
        self._layout = layout = scrollable_layout(self)
        self.form = JobForm(discovery)
        self.form.output_changed.connect(self._choose_output)
        layout.addWidget(self.form)
        layout.addLayout(
            _buttons(
                ("Add files…", "Add photographs", self._ask_files),
                ("Add folder…", "Add a folder or a data set with all its photographs", self._ask),
                ("Remove", "Take the selected photographs out of the list", self.remove_selected),
            )
        )
        self.run_bar = RunBar("Detect over all")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.stopped.connect(self._on_stopped)
        layout.addWidget(self.run_bar)
        self.summary = MessageLabel()
        layout.addWidget(self.summary)
        self.state = make_combo(*((title, title) for title in FILTERS))
        self.text = QLineEdit()
        self.text.setPlaceholderText("Name contains…")
        self.text.setClearButtonEnabled(True)
        self.state.currentIndexChanged.connect(lambda _: self._apply_filter())
        self.text.textChanged.connect(lambda _: self._apply_filter())
        line = QHBoxLayout()
        line.addWidget(self.state)
        line.addWidget(self.text, 1)
        layout.addLayout(line)
        layout.addWidget(self._build_table())
        layout.addLayout(
            _buttons(
                ("◀ Previous", "Open the photograph above (Alt+Up)", lambda: self.step(-1)),
                ("Next ▶", "Open the photograph below (Alt+Down)", lambda: self.step(1)),
                ("Next unreviewed", "Open the next that nobody has reviewed", self.open_unreviewed),
            )
        )
        layout.addLayout(
            _buttons(
                (
                    "Reviewed, go on",
                    "Mark this photograph as reviewed and open the next unreviewed (Alt+Return)",
                    self.finish_review,
                ),
                ("Not reviewed", "Take the mark away", lambda: self._mark(reviewed=False)),
                ("Export all…", "Write all results, as corrected, to a folder", self._ask_export),
            )
        )
        for keys, action in (
            ("Alt+Up", lambda: self.step(-1)),
            ("Alt+Down", lambda: self.step(1)),
            ("Alt+Return", self.finish_review),
        ):
            QShortcut(QKeySequence(keys), self).activated.connect(action)
        layout.addStretch(1)

    def _build_table(self) -> QTableView:
        self.table = QTableView()
        self.table.setModel(self.filter)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(
            -1, Qt.SortOrder.AscendingOrder
        )  # as listed, until a title is clicked
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(_TABLE_HEIGHT)
        self.table.setAccessibleName("Photographs")
        self.table.activated.connect(self._open_index)
        self.table.doubleClicked.connect(self._open_index)
        return self.table

    # the list

    def _choose_output(self, folder: Path | None) -> None:
        """Take up the list of a folder, or begin one there."""
        if folder is None or self.run_bar.running:
            return
        if self.worklist is not None and self.worklist.output == folder:
            return
        self._save_correction()
        self._current = None
        try:
            self.worklist = Worklist(folder)
        except FundusError as error:
            self.worklist = None
            self._fail(error)
            return
        config = self.worklist.config
        if config.sources:
            self.form.show_job(config.detector, config.options, config.formats)
        self._set_sources(config.sources)

    def add(self, sources: Iterable[str | Path]) -> None:
        """Add photographs, folders or data sets to the list."""
        if self.worklist is None:
            self.summary.setText("Choose an output folder first.")
            return
        paths = [str(Path(source).expanduser().absolute()) for source in sources]
        try:
            self.worklist.add_again(paths)
        except OSError as error:
            self._fail(error)
        self._set_sources([*self.worklist.config.sources, *paths])

    def _set_sources(self, sources: Iterable[str]) -> None:
        worklist, chosen = self.worklist, list(sources)
        if worklist is None:
            return
        self.summary.setText("Reading the lists…")

        def listed(entries: list[WorklistEntry]) -> None:
            try:
                worklist.set_sources(chosen, entries)
            except OSError as error:
                self._fail(error)
            self._show_entries()

        self._listing.start(lambda _: worklist.find_entries(chosen), listed, self._fail)

    def _show_entries(self) -> None:
        self.model.set_entries(self.worklist.entries if self.worklist is not None else ())
        self.table.resizeColumnsToContents()
        self._update_summary()

    def remove_selected(self) -> None:
        """Take the selected photographs out of the list; files and results stay."""
        if self.worklist is None or self.run_bar.running:
            return
        rows = {
            self.filter.mapToSource(i).row() for i in self.table.selectionModel().selectedRows()
        }
        paths = [self.worklist.entries[row].path for row in rows]
        try:
            self.worklist.remove(paths)
        except OSError as error:
            self._fail(error)
        self._show_entries()

    def _ask_files(self) -> None:
        suffixes = " ".join(f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
        files, _ = QFileDialog.getOpenFileNames(
            self, "Photographs", "", f"Photographs ({suffixes})"
        )
        if files:
            self.add(files)

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder of photographs, or a data set"):
            self.add([folder])

    def _apply_filter(self) -> None:
        self.filter.set_filters(self.state.currentData(), self.text.text())
        self._update_summary()

    def _update_summary(self) -> None:
        entries = self.worklist.entries if self.worklist is not None else []
        if not entries:
            self.summary.setText(
                "Choose an output folder and add photographs. A folder that "
                "<code>napari-fundus detect</code> wrote to can be taken up as well."
            )
            return
        done = sum(entry.status == "done" for entry in entries)
        failed = sum(entry.status == "failed" for entry in entries)
        reviewed = sum(bool(entry.reviewed) for entry in entries)
        parts = [f"{done} of {len(entries)} analysed"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{reviewed} reviewed"] if reviewed else []
        if (shown := self.filter.rowCount()) != len(entries):
            parts.append(f"{shown} shown")
        self.summary.setText(", ".join(parts) + ".")

    # the run

    def run(self) -> None:
        """Analyse all photographs; those with results are left as they are."""
        worklist = self.worklist
        if worklist is None or not worklist.entries:
            self.run_bar.show_message("Choose an output folder and add photographs first.")
            return
        try:
            options, formats = self.form.options(), self.form.formats()
            worklist.set_job(self.form.detector.name, options.model_dump(mode="json"), formats)
            job = make_batch_job(
                worklist.output,
                self.form.detector,
                options=options,
                thresholds=worklist.config.thresholds,
                device=self.form.device,
                formats=formats,
                overwrite=self.form.overwrite.isChecked(),
            )
        except (FundusError, OSError) as error:
            self._fail(error)
            return
        items = [entry.item for entry in worklist.entries]

        def work(monitor: Monitor) -> BatchReport:
            return run_items(items, job, monitor=monitor, on_outcome=self._outcome.emit)

        self.run_bar.start(work, lambda _: None)
        self.form.setEnabled(False)
        self.model.set_running(0)

    def _on_outcome(self, outcome: ImageOutcome) -> None:
        if self.worklist is None:
            return
        row = self.worklist.apply_outcome(outcome)
        self.model.update_row(row)
        self.model.set_running(row + 1 if self.run_bar.running else -1)
        self._update_summary()

    def _on_stopped(self) -> None:
        if self.form.isEnabled():
            return  # an export
        self.form.setEnabled(True)
        self.model.set_running(-1)
        left = sum(e.status == "waiting" for e in self.worklist.entries) if self.worklist else 0
        if left:
            self.run_bar.show_message(
                f"Stopped with {left} to do. “Detect over all” goes on there; so does "
                "<code>napari-fundus detect</code> into the same folder."
            )
        else:
            self.run_bar.show_message("")
        self.table.resizeColumnsToContents()
        self._update_summary()

    # one photograph

    def _open_index(self, index: QModelIndex) -> None:
        if index.isValid():
            self.open(self.filter.mapToSource(index).row())

    def step(self, by: int) -> None:
        """Open the photograph that many rows below the current one, as the table is sorted."""
        row = self.table.currentIndex().row()
        target = row + by if row >= 0 else 0
        if 0 <= target < self.filter.rowCount():
            self._open_index(self.filter.index(target, 0))

    def open_unreviewed(self) -> None:
        """Open the next photograph with a result that nobody has marked as reviewed."""
        if self.worklist is None:
            return
        at = -1 if self._current is None else self.worklist.row(self._current)
        row = self.worklist.next_unreviewed(at)
        if row < 0:
            self.summary.setText("All photographs with a result are reviewed.")
        else:
            self.open(row)

    def open(self, row: int) -> None:
        """Show a photograph of the list with its result; what was corrected before is saved."""
        worklist = self.worklist
        if worklist is None:
            return
        self._save_correction()
        entry = worklist.entries[row]
        self._select(row)
        if entry.item.error:
            self.summary.setText(entry.message)
            return
        self.summary.setText(f"Opening {entry.path.name}…")
        self._opening.start(
            lambda _: prepare_photograph(*worklist.load(row)),
            lambda opened: self._show(entry, self._view.hidden(opened.image.sha256) or opened),
            self._fail,
        )

    def _select(self, row: int) -> None:
        index = self.filter.mapFromSource(self.model.index(row, 0))
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag
            self.table.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.table.scrollTo(index)

    def _show(self, entry: WorklistEntry, opened: OpenedPhotograph) -> None:
        self._close_results()

        def shown(photograph: Layer, layers: list[Layer]) -> None:
            self._viewer.layers.selection.active = photograph
            self._current, self._opened = entry.path, opened
            if opened.live is not None:
                self._follow_changes(opened.live, layers)
                self.results = ResultsPanel(self._viewer, opened.live, layers, parent=self)
                self._layout.insertWidget(self._layout.count() - 1, self.results)
            self._update_summary()
            self.opened.emit(entry)

        self._view.show(opened, shown)

    def _close_results(self) -> None:
        self._current = self._opened = None
        if self.results is not None:
            self.results.shutdown()
            self._layout.removeWidget(self.results)
            self.results.deleteLater()
            self.results = None

    def finish_review(self) -> None:
        """Mark the photograph in the viewer as reviewed, and open the next unreviewed."""
        if not self._mark(reviewed=True) or self.worklist is None or self._current is None:
            return
        if self.worklist.next_unreviewed(self.worklist.row(self._current)) < 0:
            self._save_correction()
        self.open_unreviewed()

    def _mark(self, *, reviewed: bool) -> bool:
        if self.worklist is None or self._current is None:
            self.summary.setText("Open a photograph of the list first.")
            return False
        row = self.worklist.row(self._current)
        try:
            self.worklist.set_reviewed(row, reviewed=reviewed)
        except OSError as error:
            self._fail(error)
            return False
        self.model.update_row(row)
        self._update_summary()
        return True

    def _follow_changes(self, live: LiveResult, layers: Iterable[Layer]) -> None:
        self._unsaved = self._saved = False
        live.settings_changed.connect(self._on_changed)
        live.edited_changed.connect(self._on_changed)
        for layer in layers:
            if isinstance(layer, Labels):
                layer.events.paint.connect(self._on_changed)

    def _on_changed(self, *_: object) -> None:
        self._unsaved = True
        self._autosave.start()

    def _save_correction(self) -> None:
        """Write the result in the viewer in a thread, if a person has changed it."""
        self._autosave.stop()
        worklist, opened, path = self.worklist, self._opened, self._current
        if worklist is None or opened is None or opened.live is None or path is None:
            return
        live, row = opened.live, worklist.row(path)
        original = (dict(live.original.thresholds), live.original.min_area)
        changed = (dict(live.settings.thresholds), live.settings.min_area) != original
        # What was saved and then undone is saved once more.
        if row < 0 or not self._unsaved or not (live.edited or changed or self._saved):
            return
        self._unsaved, self._saved = False, True
        snapshot, image = live.snapshot(), opened.image
        before, done = self._last_save, Event()
        self._last_save = done

        def work(_: Monitor) -> None:
            before.wait()  # the later of two must be written last
            try:
                worklist.save_correction(row, snapshot(), image)
            finally:
                done.set()

        # Not in a slot: whatever is started afterwards must not stop it.
        job = ThreadJob(work)
        job.returned.connect(lambda _: self.model.update_row(row))
        job.failed.connect(self._on_save_failed)
        job.start()

    def _on_save_failed(self, error: Exception) -> None:
        self._unsaved = True
        self._fail(error)

    def _ask_export(self) -> None:
        if self.worklist is None:
            return
        if folder := QFileDialog.getExistingDirectory(self, "Folder to export to"):
            self.export_all(folder)

    def export_all(self, folder: str | Path) -> None:
        """Write all results, as corrected, in the chosen formats to another folder."""
        worklist = self.worklist
        if worklist is None or self.run_bar.running:
            return
        self._save_correction()
        formats = [name for name, box in self.form.format_boxes.items() if box.isChecked()]

        def exported(result: tuple[list[ImageOutcome], list[str]]) -> None:
            outcomes, left = result
            failed = [one for one in outcomes if one.status == "failed"]
            text = f"{len(outcomes) - len(failed)} results were written to {folder}."
            if failed:
                text += f" {len(failed)} were not: {failed[0].path.name}: {failed[0].message}"
            if left:
                text += f" Without result, so left out: {', '.join(left[:5])}"
                text += f" and {len(left) - 5} others." if len(left) > 5 else "."
            self.run_bar.show_message(text)

        self.run_bar.start(
            lambda monitor: worklist.export_all(folder, formats, monitor=monitor), exported
        )

    def _fail(self, error: Exception) -> None:
        self.summary.setText(short_message(error))
        show_error(error)

    def shutdown(self) -> None:
        """Save corrections and stop the run, which can be gone on with; the widget was closed."""
        self._save_correction()
        self.run_bar.cancel_silently()
        self._listing.cancel_silently()
        self._opening.cancel_silently()
        self._view.shutdown()
        self.form.shutdown()
        self._close_results()


def _buttons(*rows: tuple[str, str, Callable[[], object]]) -> QHBoxLayout:
    line = QHBoxLayout()
    for text, tip, action in rows:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.clicked.connect(lambda _=False, action=action: action())
        line.addWidget(button)
    return line
