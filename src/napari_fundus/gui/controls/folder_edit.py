"""The choice of a folder: typed, or in a dialog."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget


class FolderEdit(QWidget):
    """A line edit for a folder, with a button that opens a dialog."""

    changed = Signal()

    def __init__(self, title: str, hint: str = "") -> None:
        super().__init__()
        self._title = title
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setAccessibleName(title)
        self.line.textChanged.connect(lambda _: self.changed.emit())
        self.button = QToolButton()
        self.button.setText("…")
        self.button.setAccessibleName(f"Choose {title.lower()}")
        self.button.clicked.connect(self._ask)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)

    def path(self) -> Path | None:
        """Return the folder, or None where the line is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: str | Path | None) -> None:
        """Show a folder."""
        self.line.setText("" if path is None else str(path))

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, self._title, self.line.text()):
            self.line.setText(folder)
