"""Which result is reviewed and which one it is compared with; and what was left unfinished."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fundus.gui.controls.layouts import column_layout, form_layout, shrink_combo
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.review.autosave import SavedReview


class ResultSelector(QWidget):
    """Two lists of the viewer's results, and a banner that offers unfinished reviews."""

    chosen = Signal(object, object)
    """A result was chosen, and another one or None to compare with."""
    restore_clicked = Signal()
    discard_clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._results: list[LayerGroup] = []
        self.result, self.other = QComboBox(), QComboBox()
        for combo in (self.result, self.other):
            shrink_combo(combo, 10)
            combo.activated.connect(self._on_activated)
        self.other.setToolTip(
            "<qt>A second detector's result on the same image: what only one of the two found is "
            "marked ◦ and can come first.</qt>"
        )
        self.banner = QFrame()
        self.banner.setFrameShape(QFrame.Shape.StyledPanel)
        inside = QVBoxLayout(self.banner)
        inside.setContentsMargins(6, 4, 6, 4)
        self.banner_text = MessageLabel()
        inside.addWidget(self.banner_text)
        line = QHBoxLayout()
        for text, signal in (("Take up", self.restore_clicked), ("Discard", self.discard_clicked)):
            button = QPushButton(text)
            button.clicked.connect(lambda _=False, signal=signal: signal.emit())
            line.addWidget(button)
        self.banner.setToolTip(
            "<qt>Until then this review is kept beside it. <i>Take up</i> merges both: where both "
            "judged a lesion, the later verdict counts. <i>Discard</i> deletes what is offered "
            "here, and nothing of this review.</qt>"
        )
        inside.addLayout(line)
        form = form_layout(("Result", self.result), ("Compare with", self.other))
        column_layout(self, form, self.banner, spacing=6)
        self.banner.setVisible(False)

    def show_results(
        self, results: list[LayerGroup], chosen: LayerGroup | None, other: LayerGroup | None
    ) -> None:
        """List results, and show which are chosen."""
        self._results = results
        for combo in (self.result, self.other):
            combo.clear()
        self.other.addItem("nothing", None)
        for number, found in enumerate(results):
            self.result.addItem(found.title, number)
            self.other.addItem(found.title, number)
        keys = [found.layer_ids for found in results]
        if chosen is not None and chosen.layer_ids in keys:
            self.result.setCurrentIndex(keys.index(chosen.layer_ids))
        if other is not None and other.layer_ids in keys:
            self.other.setCurrentIndex(1 + keys.index(other.layer_ids))

    def offer(self, unfinished: Sequence[SavedReview]) -> None:
        """Offer to take up unfinished reviews; none hides the banner."""
        if unfinished:
            each = [f"{x.judged} verdicts, {x.time.replace('T', ' ')[:16]} UTC" for x in unfinished]
            one = "An unfinished review" if len(each) == 1 else f"{len(each)} unfinished reviews"
            self.banner_text.setText(f"{one} of this image: {'; '.join(each)}.")
        self.banner.setVisible(bool(unfinished))

    def _on_activated(self, _: int) -> None:
        number, second = self.result.currentData(), self.other.currentData()
        if number is not None:
            other = None if second in (None, number) else self._results[second]
            self.chosen.emit(self._results[number], other)
