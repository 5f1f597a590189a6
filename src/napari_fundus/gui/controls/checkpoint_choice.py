"""The choice of weights: all that are known here for a detector, or any file."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from napari_fundus.checkpoints import CheckpointInfo, list_checkpoints

__all__ = ["CheckpointCombo", "usable_checkpoints"]


def usable_checkpoints(detector: str) -> list[CheckpointInfo]:
    """Return the sound weights of a detector, those of the user last."""
    found = [i for i in list_checkpoints() if i.detector == detector and not i.problem]
    return sorted(found, key=lambda info: (info.origin == "user", info.name))


class CheckpointCombo(QComboBox):
    """A line for a name or a path, with a list that is read anew whenever it is opened.

    Parameters
    ----------
    detector
        Name of the detector that will use the weights.
    """

    def __init__(self, detector: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._detector = detector
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(10)
        self.refresh()

    def showPopup(self) -> None:  # noqa: N802
        """Open the list, as it is now."""
        self.refresh()
        super().showPopup()

    def refresh(self) -> None:
        """Read the list anew; what is written stays."""
        text = self.currentText()
        self.blockSignals(True)
        self.clear()
        for info in usable_checkpoints(self._detector):
            self.addItem(info.name)
            notes = info.card.notes if info.card is not None else ""
            self.setItemData(self.count() - 1, notes or info.origin, Qt.ItemDataRole.ToolTipRole)
        self.setEditText(text)
        self.blockSignals(False)

    def names(self) -> list[str]:
        """Return the names offered."""
        return [self.itemText(index) for index in range(self.count())]
