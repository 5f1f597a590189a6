"""The reviewer's buttons: verdicts, moving, drawing, undo. Each says its key."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_fundus.gui.controls.layouts import column_layout, make_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.lesions import DR_LESIONS, describe

RELABEL_KEYS = {str(number): str(code) for number, code in enumerate(DR_LESIONS, start=1)}
"""Key to the class that it relabels a lesion to."""


class VerdictPanel(QWidget):
    """Tells of the lesion under review and offers what can be done.

    Every button emits `asked` with the name of a method of the review widget, and its argument or
    None.
    """

    asked = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.about = MessageLabel()
        self.about.setTextFormat(Qt.TextFormat.RichText)
        grid = QGridLayout()
        grid.setSpacing(4)
        column_layout(self, self.about, grid)
        self.buttons: dict[str, QPushButton] = {}
        self._add(grid, 0, 0, 6, "accept", "Accept  A", "The lesion is right")
        self._add(grid, 0, 6, 6, "reject", "Reject  R", "There is no lesion: it leaves the labels")
        for index, (key, code) in enumerate(RELABEL_KEYS.items()):
            tip = f"It is a {describe(code).name}: move it to that class"
            self._add(grid, 1, 3 * index, 3, "relabel", f"{code}  {key}", tip, code)
        self._add(grid, 2, 0, 4, "previous", "Back  P", "Go to the lesion before")
        self._add(grid, 2, 4, 4, "next", "Next  N", "Go to the next lesion, without a verdict")
        self._add(grid, 2, 8, 4, "toggle_zoom", "Zoom  Z", "Whole image, or the lesion")
        self.buttons["toggle_zoom"].setCheckable(True)
        self._add(grid, 3, 0, 4, "draw", "Draw  D", "Paint a lesion of the class at the right")
        self.drawn = make_combo(*((str(code), str(code)) for code in DR_LESIONS))
        self.drawn.setToolTip("The class that is drawn")
        grid.addWidget(self.drawn, 3, 4, 1, 4)
        tip = "Wipe out pixels of the class of the lesion under review"
        self._add(grid, 3, 8, 4, "erase", "Erase  E", tip)
        for name in ("draw", "erase"):
            self.buttons[name].setCheckable(True)
        self._add(grid, 4, 0, 6, "undo", "Undo  Ctrl+Z", "")
        self._add(grid, 4, 6, 6, "redo", "Redo  Ctrl+Shift+Z", "")

    def _add(
        self,
        grid: QGridLayout,
        row: int,
        col: int,
        span: int,
        name: str,
        text: str,
        tip: str,
        argument: str | None = None,
    ) -> None:
        button = QPushButton(text)
        button.setToolTip(tip)
        # So that the reviewer's keys go on to the picture after a click here.
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda _=False: self.asked.emit(name, argument))
        grid.addWidget(button, row, col, 1, span)
        self.buttons[f"{name} {argument}" if argument else name] = button

    def show_history(self, undo: str | None, redo: str | None) -> None:
        """Say what would be undone and done again."""
        for name, title in (("undo", undo), ("redo", redo)):
            self.buttons[name].setEnabled(title is not None)
            self.buttons[name].setToolTip(title or "Nothing")

    def show_mode(self, mode: str, *, zoomed: bool) -> None:
        """Show whether the brush, the eraser or neither is at hand."""
        self.buttons["draw"].setChecked(mode == "paint")
        self.buttons["erase"].setChecked(mode == "erase")
        self.buttons["toggle_zoom"].setChecked(zoomed)
