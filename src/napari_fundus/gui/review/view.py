"""What *Review lesions* looks like: result, verdicts, queue, and the form that saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFrame, QWidget

from napari_fundus.gui.controls.layouts import scrollable_layout
from napari_fundus.gui.review.cursor import ReviewCursor
from napari_fundus.gui.review.queue_view import QueueView, lesion_html
from napari_fundus.gui.review.result_selector import ResultSelector
from napari_fundus.gui.review.review_buttons import VerdictPanel
from napari_fundus.gui.review.save_box import SaveBox
from napari_fundus.gui.review.save_request import judged_classes

if TYPE_CHECKING:
    from napari.components import ViewerModel

NO_RESULT_MESSAGE = "Detect lesions first: their labels are reviewed here."


class ReviewView:
    """The controls; knows nothing of jobs, and gives no command by itself.

    Parameters
    ----------
    viewer
        Whose layers are offered as regions.
    parent
        The widget that it fills.
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget) -> None:
        column = scrollable_layout(parent)
        self.results = ResultSelector()
        self.judge = VerdictPanel()
        self.list = QueueView()
        self.save_box = SaveBox(viewer)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        for part in (self.results, self.judge, self.list, line, self.save_box):
            column.addWidget(part)
        column.addStretch(1)

    def show_state(self, cursor: ReviewCursor, *, loading: bool) -> None:
        """Show the current review, or why there is none."""
        review, queue, lesion = cursor.review, cursor.queue, cursor.current
        self.list.show_state(review, queue)
        history: tuple[str | None, str | None] = (None, None)
        if review is not None and queue is not None:
            codes = list(review.labels)
            self.list.offer(codes, queue)
            self.save_box.offer(codes)
            self.save_box.touched(judged_classes(review))
            history = review.stack.undo_title, review.stack.redo_title
        for name, button in self.judge.buttons.items():
            button.setEnabled(review is not None and (lesion is not None or name == "draw"))
        self.judge.show_history(*history)
        self.judge.show_mode(cursor.mode, zoomed=cursor.zoomed)
        if lesion is not None and queue is not None:
            self.judge.about.setText(lesion_html(lesion))
        elif review is not None:
            self.judge.about.setText("No lesion here. Draw those that you see.")
        else:
            self.judge.about.setText("Reading the labels…" if loading else NO_RESULT_MESSAGE)
