"""The widget *Data set browser*: filters a data set's samples and shows one with its truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_fundus.datasets import Dataset, Sample, find_datasets, open_dataset
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.photographs import hide_photograph, show_photograph
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.sample_list import (
    SampleFilter,
    SampleListModel,
    describe_annotation,
)
from napari_fundus.gui.controls.thread_job import JobSlot, show_error
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.build import (
    LayerTuple,
    centre_layer,
    image_layer,
    make_layer,
    truth_layers,
    with_source,
)
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import (
    on_widget_removed,
    remove_layers,
    unwrap_viewer,
)
from napari_fundus.lesions import describe
from napari_fundus.results.layer_metadata import layer_metadata
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


def sample_layers(sample: Sample, monitor: Monitor | None = None) -> list[LayerTuple]:
    """Return a sample's image, the labels of every annotated class, and its centres, as layers.

    Reads files, so it should not run in the main thread.
    """
    monitor = monitor or Monitor()
    image = sample.image()
    masks = {}
    for code in monitor.track(sorted(sample.annotated), message="reading the truth"):
        masks[code] = sample.mask(code, image.shape)
    landmarks = sample.landmarks(image.shape)
    layers = [
        image_layer(image, landmarks),
        *truth_layers(masks, name=image.name, identity=image.identity),
    ]
    if sample.centres:
        layers.append(centre_layer(sample.centres, image))
    return layers


class BrowserWidget(QWidget):
    """A list of the samples of a data set, with the chosen one in the viewer.

    The layers of the previous sample are removed. Where a person has worked on them (results were
    made of the photograph, truth was painted on) they are kept, hidden, and shown again when the
    sample is chosen again.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    opened = Signal(object)
    """Emitted with the data set when its lists have been read."""
    shown = Signal(object)
    """Emitted with the sample when its layers are in the viewer."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._layers: list[Layer] = []
        self._painted: WeakSet[Layer] = WeakSet()
        self._kept: dict[tuple[Path, str], list[Layer]] = {}
        self._shown_key: tuple[Path, str] | None = None
        self._job = JobSlot(self)
        self._step_runner = StepRunner(self)
        self._shape: tuple[int, int] | None = None
        self.dataset: Dataset | None = None
        self.model = SampleListModel()
        self.filter = SampleFilter()
        self.filter.setSourceModel(self.model)
        self._build()
        on_widget_removed(self, self.shutdown)

    def _build(self) -> None:
        self.setMinimumWidth(330)
        layout = QVBoxLayout(self)
        layout.setSpacing(6)
        self.title = MessageLabel(
            "Open the folder of a data set, as it was downloaded and unpacked."
        )
        self.open_button = QPushButton("Open folder…")
        self.open_button.clicked.connect(self._ask_folder)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.open_button)
        layout.addLayout(head)
        layout.addLayout(self._build_filters())
        self.list = QListView()
        self.list.setModel(self.filter)
        self.list.setUniformItemSizes(True)
        self.list.setStyleSheet("QListView::item { padding: 3px 2px; }")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.selectionModel().currentChanged.connect(self._on_current)
        layout.addWidget(self.list, 1)
        layout.addLayout(self._build_steps())
        self.message = MessageLabel()
        layout.addWidget(self.message)
        self.problem_list = QListWidget()
        self.problem_list.setWordWrap(True)
        self.problem_list.setMaximumHeight(140)
        self.problems = collapsible_box("Problems", self.problem_list)
        self.problems.setVisible(False)
        layout.addWidget(self.problems)

    def _build_filters(self) -> QGridLayout:
        self.split, self.grade, self.lesion = QComboBox(), QComboBox(), QComboBox()
        self.text = QLineEdit()
        self.text.setPlaceholderText("Name contains…")
        self.text.setClearButtonEnabled(True)
        self.text.textChanged.connect(self._apply_filter)
        grid = QGridLayout()
        for column, (title, combo, tip) in enumerate(
            (
                ("Split", self.split, "Training, validation or test part"),
                ("Grade", self.grade, "Grade of diabetic retinopathy, 0 to 4"),
                ("Lesion", self.lesion, "Images in which experts drew this class"),
            )
        ):
            combo.setToolTip(tip)
            combo.addItem("all", None)
            combo.currentIndexChanged.connect(self._apply_filter)
            label = QLabel(title)
            label.setToolTip(tip)
            grid.addWidget(label, 0, column)
            grid.addWidget(combo, 1, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.text, 2, 0, 1, 3)
        return grid

    def _build_steps(self) -> QHBoxLayout:
        line = QHBoxLayout()
        self.position = QLabel()
        self.position.setAlignment(Qt.AlignmentFlag.AlignCenter)
        for text, keys, step in (("◀ Previous", "Alt+Left", -1), ("Next ▶", "Alt+Right", 1)):
            button = QPushButton(text)
            button.setToolTip(keys)
            button.clicked.connect(lambda _=False, step=step: self.step(step))
            QShortcut(QKeySequence(keys), self).activated.connect(lambda step=step: self.step(step))
            line.addWidget(button, 1)
            if step < 0:
                line.addWidget(self.position, 1)
        return line

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a data set")
        if folder:
            self.open(Path(folder))

    def open(self, folder: str | Path) -> None:
        """Open a data set in a thread; the first sample is shown when its lists are read."""
        self.message.setText(f"Reading the lists of {folder}…")
        self._job.start(lambda _: open_dataset(folder), self.show_dataset, self._failed)

    def show_dataset(self, dataset: Dataset) -> None:
        """List the samples of `dataset`."""
        self.dataset = dataset
        self.title.setText(f"<b>{dataset.title}</b><br>{_count(len(dataset))}")
        self.title.setToolTip(
            "\n".join(filter(None, (str(dataset.root), dataset.reference, dataset.licence)))
        )
        self.model.set_dataset(dataset)
        _fill(self.split, ((s, s) for s in sorted({s.split for s in dataset if s.split})))
        grades = sorted({s.grades["dr"] for s in dataset if "dr" in s.grades})
        _fill(self.grade, ((str(grade), grade) for grade in grades))
        codes = sorted({str(code) for s in dataset for code in s.truths})
        _fill(self.lesion, ((code, code) for code in codes))
        for row, code in enumerate(codes, start=1):
            tip = describe(code).plural
            self.lesion.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        self.problem_list.clear()
        for problem in dataset.problems:
            self.problem_list.addItem(f"{problem.path}: {problem.message}")
        plugins = find_datasets().problems
        self.problem_list.addItems(list(map(str, plugins)))
        count = len(dataset.problems) + len(plugins)
        self.problems.setText(f"{count} problem{'s' * (count != 1)}")
        self.problems.setVisible(bool(count))
        self.message.setText("")
        self._apply_filter()
        self.opened.emit(dataset)
        if self.filter.rowCount():
            self.go(0)

    def _apply_filter(self) -> None:
        self.filter.set_filters(
            split=self.split.currentData(),
            grade=self.grade.currentData(),
            lesion=self.lesion.currentData(),
            text=self.text.text(),
        )
        self._update_position()

    def _update_position(self) -> None:
        row, count = self.list.currentIndex().row(), self.filter.rowCount()
        self.position.setText(f"{row + 1} of {count}" if row >= 0 else _count(count))

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) sample of the list."""
        row = self.list.currentIndex().row()
        self.go(row + by if row >= 0 else 0)

    def go(self, row: int) -> None:
        """Go to a row of the list, if there is one."""
        if 0 <= row < self.filter.rowCount():
            index = self.filter.index(row, 0)
            self.list.selectionModel().setCurrentIndex(
                index, QItemSelectionModel.SelectionFlag.ClearAndSelect
            )
            self.list.scrollTo(index)

    def current(self) -> Sample | None:
        """Return the chosen sample."""
        index = self.filter.mapToSource(self.list.currentIndex())
        return self.model.samples[index.row()] if index.isValid() else None

    def _on_current(self, *_: Any) -> None:
        self._update_position()
        sample = self.current()
        if sample is None:
            return
        key = self._key(sample)
        kept = self._layers if key == self._shown_key else self._kept.get(key, [])
        if kept and kept[0] in self._viewer.layers and not self._step_runner.busy:
            self._job.cancel_silently()
            self._step_runner.start(self._return_steps(key), lambda: self._shown(sample))
            return
        self.message.setText(f"Reading {sample.id}…")
        self._job.start(
            lambda monitor: sample_layers(sample, monitor),
            lambda layers: self._show(sample, layers),
            self._failed,
        )

    def _failed(self, error: Exception) -> None:
        self.message.setText(str(error))
        show_error(error)

    def _key(self, sample: Sample) -> tuple[Path, str]:
        assert self.dataset is not None  # noqa: S101  # samples come from nowhere else
        return self.dataset.root, sample.id

    def _show(self, sample: Sample, tuples: list[LayerTuple]) -> None:
        # The last click counts: layers that an earlier one has added are removed too.
        self._step_runner.start(
            self._replace_layer_steps(self._key(sample), tuples), lambda: self._shown(sample)
        )

    def _replace_layer_steps(
        self, key: tuple[Path, str], tuples: list[LayerTuple]
    ) -> Iterator[None]:
        """Take the layers of the previous sample away, and let one come in each step."""
        self._leave_sample()
        self._shown_key = key
        yield
        photograph: Layer | None = None
        for one in tuples:
            layer = make_layer(one if photograph is None else with_source(one, photograph))
            photograph = photograph or layer
            self._layers.append(layer)
            yield
            if hasattr(layer.events, "paint"):
                layer.events.paint.connect(self._on_painted)
            yield from add_layer_in_steps(self._viewer, layer)

    def _return_steps(self, key: tuple[Path, str]) -> Iterator[None]:
        """Show a sample again whose layers were kept."""
        if key != self._shown_key:
            self._leave_sample()
            self._layers = self._kept.pop(key)
            self._shown_key = key
        show_photograph(self._viewer, self._layers[0])
        yield

    def _leave_sample(self) -> None:
        """Remove the layers of the sample, or hide them with the work that was done on them."""
        present = [layer for layer in self._layers if layer in self._viewer.layers]
        worked_on = any(layer in self._painted for layer in present) or any(
            layer_metadata(layer).source is self._layers[0]
            for layer in self._viewer.layers
            if layer not in present and self._layers
        )
        if worked_on and self._shown_key is not None:
            self._kept[self._shown_key] = self._layers
            hide_photograph(self._viewer, self._layers[0])
        else:
            remove_layers(self._viewer, present)
        self._layers, self._shown_key = [], None

    def _on_painted(self, event: Any) -> None:
        self._painted.add(event.source)

    def _shown(self, sample: Sample) -> None:
        photograph = self._layers[0]
        self._viewer.layers.selection.active = photograph
        shape = photograph.data.shape[:2]
        if shape != self._shape:
            self._viewer.reset_view()
            self._shape = shape
        self.message.setText(describe_annotation(sample))
        self.shown.emit(sample)

    def shutdown(self) -> None:
        """Stop reading; called when the widget is closed."""
        self._step_runner.stop()
        self._job.cancel_silently()


def _fill(combo: QComboBox, items: Iterable[tuple[str, Any]]) -> None:
    with signals_blocked(combo):
        combo.clear()
        combo.addItem("all", None)
        for text, value in items:
            combo.addItem(text, value)
        combo.setEnabled(combo.count() > 1)


def _count(samples: int) -> str:
    """Return the number of samples in words: ``"1 sample"``."""
    return f"{samples:,} sample{'' if samples == 1 else 's'}"
