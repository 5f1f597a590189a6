"""What was reviewed, and where the corrections go: classes, region, folder, saving, training."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_fundus.lesions import describe
from napari_fundus.results.layer_metadata import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel


def default_folder() -> Path:
    """Return where corrections go unless another folder is chosen."""
    from platformdirs import user_documents_path

    return user_documents_path() / "napari-fundus corrections"


class SaveBox(QWidget):
    """Asks which classes were reviewed and where, and into which folder to save.

    A class is ticked as soon as one of its lesions was judged, unless the reviewer decides
    otherwise.

    Parameters
    ----------
    viewer
        Its shapes layers are offered as regions.
    """

    save_clicked = Signal()
    train_clicked = Signal()
    draw_region_clicked = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._shapes: list[Shapes] = []
        self._user_set_classes: set[str] = set()
        self.classes: dict[str, QCheckBox] = {}
        self._build()
        for emitter in (viewer.layers.events.inserted, viewer.layers.events.removed):
            emitter.connect(self._list_regions)
        self._list_regions()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        column.addLayout(form)
        boxes = QWidget()
        self._boxes = QHBoxLayout(boxes)
        self._boxes.setContentsMargins(0, 0, 0, 0)
        boxes.setToolTip(
            "<qt>Tick a class if you looked for it in all of the region. Of a class that is not "
            "ticked nothing is saved: that it is absent would be learned otherwise.</qt>"
        )
        form.addRow("Reviewed", boxes)
        self.region = QComboBox()
        self.region.setToolTip(
            "<qt>Where you looked. Outside nothing is learned and nothing counts as wrong.</qt>"
        )
        self.region.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        draw = QPushButton("Draw…")
        draw.setToolTip("Draw polygons around what you review")
        draw.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        draw.clicked.connect(lambda _=False: self.draw_region_clicked.emit())
        line = QHBoxLayout()
        line.addWidget(self.region, 1)
        line.addWidget(draw)
        form.addRow("Region", line)
        self.folder = QLineEdit(str(default_folder()))
        self.folder.setToolTip("A folder of corrections: new, empty, or with some already")
        browse = QToolButton()
        browse.setText("…")
        browse.setAccessibleName("Choose the folder of corrections")
        browse.clicked.connect(lambda _=False: self._browse())
        line = QHBoxLayout()
        line.addWidget(self.folder, 1)
        line.addWidget(browse)
        form.addRow("Folder", line)
        buttons = QHBoxLayout()
        self.save_button = QPushButton("Save corrections")
        self.save_button.clicked.connect(lambda _=False: self.save_clicked.emit())
        self.train_button = QPushButton("Train on these")
        self.train_button.setToolTip("Fine-tune a detector on the folder of corrections")
        self.train_button.clicked.connect(lambda _=False: self.train_clicked.emit())
        self.train_button.setEnabled(False)
        buttons.addWidget(self.save_button)
        buttons.addWidget(self.train_button)
        column.addLayout(buttons)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column.addWidget(self.message)
        self.say("")

    def offer(self, codes: list[str]) -> None:
        """List the classes; those listed before keep their ticks."""
        for code in codes:
            if code not in self.classes:
                box = QCheckBox(code)
                box.setToolTip(describe(code).plural)
                box.clicked.connect(lambda _=False, code=code: self._user_set_classes.add(code))
                self.classes[code] = box
                self._boxes.addWidget(box)

    def clear(self) -> None:
        """Forget the classes: another image is under review."""
        for box in self.classes.values():
            self._boxes.removeWidget(box)
            box.deleteLater()
        self.classes = {}
        self._user_set_classes = set()
        self.say("")

    def touched(self, codes: set[str]) -> None:
        """Tick just those classes in which something was judged, where nobody decided."""
        for code, box in self.classes.items():
            if code not in self._user_set_classes:
                box.setChecked(code in codes)

    def reviewed(self) -> list[str]:
        """Return the classes ticked."""
        return [code for code, box in self.classes.items() if box.isChecked()]

    def set_reviewed(self, codes: list[str]) -> None:
        """Tick these classes and no other, as the reviewer's decision."""
        for code, box in self.classes.items():
            box.setChecked(code in codes)
            self._user_set_classes.add(code)

    def region_layer(self) -> Shapes | None:
        """Return the shapes layer that bounds what was looked at; None for everywhere."""
        index = self.region.currentIndex() - 1
        return self._shapes[index] if 0 <= index < len(self._shapes) else None

    def set_region(self, layer: Shapes | None) -> None:
        """Choose a shapes layer as region, or everywhere."""
        self._list_regions()
        indices = [n for n, shapes in enumerate(self._shapes) if shapes is layer]
        self.region.setCurrentIndex(indices[0] + 1 if indices else 0)

    def say(self, text: str) -> None:
        """Show a line below the buttons; none hides it."""
        self.message.setText(escape(text))
        self.message.setVisible(bool(text))

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of corrections", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def _list_regions(self, event: Any = None) -> None:
        chosen = self.region_layer()
        self._shapes = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Shapes) and METADATA_KEY not in layer.metadata
        ]
        self.region.clear()
        self.region.addItem("whole field of view")
        for layer in self._shapes:
            self.region.addItem(f"inside {layer.name}")
        indices = [n for n, layer in enumerate(self._shapes) if layer is chosen]
        self.region.setCurrentIndex(indices[0] + 1 if indices else 0)

    def shutdown(self) -> None:
        """Stop listening to the viewer."""
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed):
            emitter.disconnect(self._list_regions)
