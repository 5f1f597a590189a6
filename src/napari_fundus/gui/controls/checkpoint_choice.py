"""The choice of weights: those installed for a detector, or any file."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_fundus.checkpoints import CheckpointInfo, list_checkpoints
from napari_fundus.gui.controls.layouts import shrink_combo


def usable_checkpoints(detector: str) -> list[CheckpointInfo]:
    """Return the weights of a detector that have no problem, the user's own last."""
    usable = [i for i in list_checkpoints() if i.detector == detector and not i.problem]
    return sorted(usable, key=lambda info: (info.origin == "user", info.name))


class CheckpointCombo(QComboBox):
    """An editable list of names that is read again each time it is opened; paths can be typed.

    Parameters
    ----------
    detector
        Name of the detector that will use the weights.
    """

    def __init__(self, detector: str) -> None:
        super().__init__()
        self._detector = detector
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        shrink_combo(self, 10)
        self.refresh()

    def showPopup(self) -> None:  # noqa: N802
        """Read the list again and open it."""
        self.refresh()
        super().showPopup()

    def refresh(self) -> None:
        """Read the list again; the text stays."""
        text = self.currentText()
        with signals_blocked(self):
            self.clear()
            for row, info in enumerate(usable_checkpoints(self._detector)):
                self.addItem(info.name)
                notes = info.card.notes if info.card is not None else ""
                self.setItemData(row, notes or info.origin, Qt.ItemDataRole.ToolTipRole)
            self.setEditText(text)

    def names(self) -> list[str]:
        """Return the names offered."""
        return [self.itemText(index) for index in range(self.count())]
