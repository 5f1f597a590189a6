"""Where a run goes: the name of its weights, its folder, and what is there already."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_fundus.checkpoints import models_folder
from napari_fundus.gui.controls.folder_edit import FolderEdit
from napari_fundus.gui.controls.layouts import form_layout, make_combo
from napari_fundus.training.loop.state import BEST_FILE, LAST_FILE


def runs_folder() -> Path:
    """Return the folder that runs go to unless another is chosen."""
    return models_folder().parent / "runs"


class RunFolderForm(QWidget):
    """Name and folder; where a run lies there already, whether to go on with it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.name.setToolTip("What the weights are found by: letters, digits, . _ -")
        self.name.setAccessibleName("Name of the weights")
        self.parent_folder = FolderEdit("Folder of runs")
        self.parent_folder.set_path(runs_folder())
        self.existing = make_combo(("go on with it", "resume"), ("replace it", "overwrite"))
        self.existing.setAccessibleName("The run in this folder")
        self._form = form_layout(
            ("Name", self.name),
            ("Runs go to", self.parent_folder),
            ("Has a run:", self.existing),
            parent=self,
        )
        self.name.textChanged.connect(lambda _: self.refresh())
        self.parent_folder.changed.connect(self.refresh)
        self.refresh()

    def folder(self) -> Path:
        """Return the folder of the run."""
        parent: Path = self.parent_folder.path() or runs_folder()
        return parent / str(self.name.text()).strip()

    def suggest(self, detector: str, *, fine_tuning: bool) -> None:
        """Show a name that no run has yet, unless the user has written another."""
        if self.name.isModified() and self.name.text().strip():
            return
        stem = f"{detector}-{'tuned' if fine_tuning else 'own'}"
        number = 1
        parent = self.parent_folder.path() or runs_folder()
        while (parent / f"{stem}-{number}").exists() or (
            models_folder() / f"{stem}-{number}.safetensors"
        ).exists():
            number += 1
        self.name.setText(f"{stem}-{number}")

    def show_run(self, folder: Path) -> None:
        """Choose the folder of a run to go on with."""
        self.parent_folder.set_path(folder.resolve().parent)
        self.name.setText(folder.resolve().name)
        self.name.setModified(True)
        self.existing.setCurrentIndex(0)

    def has_run(self) -> bool:
        """Whether the folder holds a run."""
        folder = self.folder()
        return bool(self.name.text().strip()) and any(
            (folder / n).exists() for n in (LAST_FILE, BEST_FILE)
        )

    def resume(self) -> bool:
        """Whether the run that is there is to go on."""
        return self.has_run() and self.existing.currentData() == "resume"

    def overwrite(self) -> bool:
        """Whether the run that is there is to be replaced."""
        return self.has_run() and self.existing.currentData() == "overwrite"

    def refresh(self) -> None:
        """Look again whether there is a run."""
        present = self.has_run()
        self._form.labelForField(self.existing).setVisible(present)
        self.existing.setVisible(present)
        self.changed.emit()
