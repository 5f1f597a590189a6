"""What was reviewed, and where the corrections go: classes, region, folder, saving, training."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QWidget

from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.layouts import column_layout, form_layout
from napari_fundus.gui.controls.message_label import MessageLabel
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

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._user_set_classes: set[str] = set()
        self.classes: dict[str, QCheckBox] = {}
        self._build(viewer)

    def _build(self, viewer: ViewerModel) -> None:
        boxes = QWidget()
        self._boxes = QHBoxLayout(boxes)
        self._boxes.setContentsMargins(0, 0, 0, 0)
        boxes.setToolTip(
            "<qt>Tick a class if you looked for it in all of the region. Of a class that is not "
            "ticked nothing is saved: that it is absent would be learned otherwise.</qt>"
        )
        self.region = LayerChoice(
            viewer, _may_be_region, nothing="whole field of view", follow_selection=False
        )
        self.region.native.setToolTip(
            "<qt>Where you looked. Outside nothing is learned and nothing counts as wrong.</qt>"
        )
        draw = QPushButton("Draw…")
        draw.setToolTip("Draw polygons around what you review")
        draw.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        draw.clicked.connect(lambda _=False: self.draw_region_clicked.emit())
        region = QHBoxLayout()
        region.addWidget(self.region.native, 1)
        region.addWidget(draw)
        self.folder = FolderEdit("Folder of corrections")
        self.folder.set_path(default_folder())
        self.folder.setToolTip("A folder of corrections: new, empty, or with some already")
        form = form_layout(("Reviewed", boxes), ("Region", region), ("Folder", self.folder))
        buttons = QHBoxLayout()
        self.save_button = QPushButton("Save corrections")
        self.save_button.clicked.connect(lambda _=False: self.save_clicked.emit())
        self.train_button = QPushButton("Train on these")
        self.train_button.setToolTip("Fine-tune a detector on the folder of corrections")
        self.train_button.clicked.connect(lambda _=False: self.train_clicked.emit())
        self.train_button.setEnabled(False)
        buttons.addWidget(self.save_button)
        buttons.addWidget(self.train_button)
        self.message = MessageLabel()
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column_layout(self, form, buttons, self.message)

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
        self.show_message("")

    def touched(self, codes: set[str]) -> None:
        """Tick just those classes in which something was judged, where nobody decided."""
        for code, box in self.classes.items():
            if code not in self._user_set_classes:
                box.setChecked(code in codes)

    def reviewed(self) -> list[str]:
        """Return the classes ticked."""
        return [code for code, box in self.classes.items() if box.isChecked()]

    def region_layer(self) -> Shapes | None:
        """Return the shapes layer that bounds what was looked at; None for everywhere."""
        layer: Shapes | None = self.region.layer()
        return layer

    def set_region(self, layer: Shapes | None) -> None:
        """Choose a shapes layer as region, or everywhere."""
        self.region.choose(layer)

    def show_message(self, text: str) -> None:
        """Show a line below the buttons; none hides it."""
        self.message.setText(escape(text))

    def shutdown(self) -> None:
        """Stop listening to the viewer."""
        self.region.disconnect_viewer()


def _may_be_region(layer: Any) -> bool:
    return isinstance(layer, Shapes) and METADATA_KEY not in layer.metadata
