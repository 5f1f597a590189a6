"""Where a training starts: weights or none, and which of them are trained."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QSpinBox,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_fundus.checkpoints import ModelCard, read_card
from napari_fundus.errors import CheckpointError
from napari_fundus.gui.controls.checkpoint_choice import usable_checkpoints
from napari_fundus.gui.controls.layouts import column_layout, shrink_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.thread_job import show_error

_FILE = "…file"

_SCHEMES = {
    "interleaved": "Interleaved Freezing",
    "full": "All weights",
    "freeze": "All but the first",
    "freeze_bn": "… norms trained",
    "none": "None: only validate",
}
"""Scheme to its title."""


class StartCheckpointCombo(QComboBox):
    """From scratch, weights by name, or a file."""

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._detector = ""
        self._card: ModelCard | None = None
        shrink_combo(self, 10)
        self.setAccessibleName("Weights to start from")
        self.activated.connect(self._activated)
        self.currentIndexChanged.connect(lambda _: self._changed())

    def set_detector(self, detector: str) -> None:
        """Offer the weights of a detector; nothing but from scratch is chosen."""
        self._detector = detector
        self._fill()
        self._changed()

    def refresh(self) -> None:
        """Read the list anew, keeping the choice."""
        chosen, title = self.currentData(), self.currentText()
        self._fill()
        if self.findData(chosen) < 0:
            self.insertItem(self.count() - 1, title, chosen)
        with signals_blocked(self):
            self.setCurrentIndex(self.findData(chosen))

    def _fill(self) -> None:
        with signals_blocked(self):
            self.clear()
            self.addItem("From scratch", "")
            for info in usable_checkpoints(self._detector):
                self.addItem(info.name, info.name)
            self.addItem("A file…", _FILE)

    def checkpoint(self) -> str | None:
        """Return name or path of the weights, or None for none."""
        data = str(self.currentData() or "")
        return data if data and data != _FILE else None

    def card(self) -> ModelCard | None:
        """Return the card of the chosen weights."""
        return self._card

    def choose(self, name: str | Path | None) -> None:
        """Choose weights by name or path; None for none.

        Raises
        ------
        CheckpointError
            The file is none of weights for this detector, or no weights are called so.
        """
        wanted = "" if name is None else str(name)
        index = self.findData(wanted)
        if index < 0:
            path = Path(wanted)
            if not path.is_file():
                raise CheckpointError(f"No weights for {self._detector!r} are called {wanted!r}.")
            card = read_card(path)
            if card.detector != self._detector:
                raise CheckpointError(
                    f"{path} holds weights of {card.detector!r}, not of {self._detector!r}."
                )
            index = self.count() - 1
            self.insertItem(index, f"{card.name} ({path.name})", str(path.resolve()))
        self.setCurrentIndex(index)

    def _activated(self, index: int) -> None:
        """Ask for a file where that was chosen."""
        if self.itemData(index) != _FILE:
            return
        path, _ = QFileDialog.getOpenFileName(self, "Weights to start from", "", "*.safetensors")
        try:
            self.choose(path or None)
        except CheckpointError as error:
            self.setCurrentIndex(0)
            show_error(error)

    def _changed(self) -> None:
        self._card = None
        name = self.checkpoint()
        if name is not None:
            path = next(
                (i.path for i in usable_checkpoints(self._detector) if i.name == name), Path(name)
            )
            self._card = read_card(path) if path is not None and path.is_file() else None
        self.chosen.emit()


class SchemeChoice(QWidget):
    """Which weights are trained: the schemes of the voting paper, its own first."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout()
        self.combo = shrink_combo(QComboBox(), 10)
        self.combo.setAccessibleName("Fine-tuning scheme")
        self.combo.setToolTip(
            "<qt>Which weights are trained. Interleaved Freezing keeps the first convolutions, and "
            "every other one behind them; all but the first keeps so many, from the input on; with "
            "norms trained, their batch norms are trained all the same.</qt>"
        )
        self.count = QSpinBox()
        self.count.setRange(1, 9999)
        self.count.setValue(11)
        self.count.setAccessibleName("Convolutions that stay")
        row.addWidget(self.combo, 1)
        row.addWidget(self.count)
        self.reason = MessageLabel()
        self.reason.setEnabled(False)
        column_layout(self, row, self.reason, spacing=2)
        self.combo.currentIndexChanged.connect(lambda _: self._show_state())
        self.count.valueChanged.connect(lambda _: self.changed.emit())
        self.offer(fine_tuning=False)

    def offer(self, *, fine_tuning: bool, schemes_unsupported_reason: str = "") -> None:
        """Offer what there is.

        Parameters
        ----------
        fine_tuning
            Whether there are weights to start from; then Interleaved Freezing is the first choice.
        schemes_unsupported_reason
            Why the weights can only be trained all together.
        """
        chosen = self.combo.currentData()
        offered = ["full"]
        if fine_tuning and not schemes_unsupported_reason:
            offered = list(_SCHEMES)
        elif fine_tuning:
            offered = ["full", "none"]
        with signals_blocked(self.combo):
            self.combo.clear()
            for name in offered:
                self.combo.addItem(_SCHEMES[name], name)
            found = self.combo.findData(chosen) if self.isEnabled() else 0
            self.combo.setCurrentIndex(max(found, 0))
        self.setEnabled(fine_tuning)
        self.reason.setText(
            schemes_unsupported_reason if fine_tuning else "Nothing to keep: from scratch."
        )
        self._show_state()

    def scheme(self) -> str:
        """Return the scheme, as the settings have it."""
        kind = str(self.combo.currentData() or "full")
        if kind.startswith("freeze"):
            return f"freeze_{self.count.value()}{kind.removeprefix('freeze')}"
        return kind

    def set_scheme(self, scheme: str) -> None:
        """Choose a scheme, as the settings have it; one that is not offered changes nothing."""
        found = re.fullmatch(r"freeze_(\d+)(_bn)?", scheme)
        index = self.combo.findData(f"freeze{found[2] or ''}" if found else scheme)
        if index >= 0:
            self.combo.setCurrentIndex(index)
            if found:
                self.count.setValue(int(found[1]))

    def _show_state(self) -> None:
        self.count.setVisible(str(self.combo.currentData()).startswith("freeze"))
        self.changed.emit()
