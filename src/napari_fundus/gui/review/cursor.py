"""The current review: its commands, the position in the queue, and what the viewer shows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_fundus.gui.review.label_layers import LabelLayers
from napari_fundus.gui.review.navigation import Navigator
from napari_fundus.review.commands import Command
from napari_fundus.review.external_undo import follow_external_undo
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.queue import ReviewQueue
from napari_fundus.review.session import Review

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ReviewCursor(QObject):
    """What a reviewer does, once a result lies ready: judge, go on, draw, undo.

    Parameters
    ----------
    viewer
        The viewer.
    waiting
        Whether labels are being read anew, so that no command may be given.
    """

    changed = Signal()
    command_done = Signal()
    """A command was carried out, undone or done again."""

    def __init__(
        self, viewer: ViewerModel, waiting: Callable[[], bool], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.review: Review | None = None
        self.queue: ReviewQueue | None = None
        self.zoomed = False
        self._label_layers: LabelLayers | None = None
        self._waiting = waiting
        self._navigator = Navigator(viewer, self._on_clicked)

    @property
    def current(self) -> ReviewedLesion | None:
        """The lesion under review."""
        return self.queue.current if self.queue is not None else None

    @property
    def mode(self) -> str:
        """``"paint"`` or ``"erase"`` while such a tool is at hand in one of the layers."""
        return self._label_layers.mode if self._label_layers is not None else "pan_zoom"

    def begin(self, review: Review, order: str, label_layers: LabelLayers) -> None:
        """Make a review the current one."""
        if label_layers is not self._label_layers:
            label_layers.painted.connect(self._on_painted)
            label_layers.reverted.connect(self._on_reverted)
            label_layers.mode_changed.connect(self.changed)
        self._label_layers, self.review = label_layers, review
        self.queue = ReviewQueue(review.lesions, order)
        self._navigator.follow(next(iter(label_layers.layers.values())))
        label_layers.set_next_id(review.next_id)
        self.show()

    def end(self) -> None:
        """Put the review away."""
        self._label_layers = self.review = None
        self._navigator.clear()

    def shutdown(self) -> None:
        """End everything: the widget was closed."""
        self.end()
        self._navigator.shutdown()

    def judge(self, what: str, *arguments: Any) -> None:
        """Accept, reject or relabel the lesion under review, and go on to the next open one."""
        self.flush_strokes()
        lesion, review, queue = self.current, self.review, self.queue
        if lesion is None or review is None or queue is None or self._waiting():
            return
        if what == "relabel" and self._label_layers is not None:
            self._label_layers.add(review, *arguments)
        command = getattr(review, what)(lesion.id, *arguments)
        queue.go_to_next_unjudged()
        self._after(command)

    def step(self, count: int) -> None:
        """Go forwards or backwards in the queue."""
        if self.queue is not None:
            self.queue.step(count)
            self.show()

    def select(self, identity: int) -> None:
        """Go to a lesion, wherever it stands."""
        if self.queue is not None and self.review is not None and identity in self.review.lesions:
            if not self.queue.select(identity):
                self.queue.set_order(self.queue.order)
                self.queue.select(identity)
            self.zoomed = True
            self.show()

    def set_order(self, order: str, lesion: str | None) -> None:
        """Put the queue in another order, and begin at its start."""
        if self.queue is not None:
            self.queue.set_order(order, lesion)
            self.queue.position = 0
            self.show()

    def toggle_zoom(self) -> None:
        """Show the whole image, or the lesion."""
        self.zoomed = not self.zoomed
        if not self.zoomed:
            self._navigator.show_all()
        self.show()

    def draw(self, code: str) -> None:
        """Take the brush for a class, or put it down."""
        if self._label_layers is not None and self.review is not None:
            self._label_layers.add(self.review, code)
            self._label_layers.hold("paint", code)
            self.changed.emit()

    def erase(self) -> None:
        """Take the eraser for the class of the lesion under review, or put it down."""
        if self._label_layers is not None:
            lesion = self.current
            code = lesion.lesion if lesion is not None else next(iter(self._label_layers.layers))
            self._label_layers.hold("erase", code)
            self.changed.emit()

    def undo(self) -> None:
        """Take the last command back."""
        self.flush_strokes()
        if self.review is not None and not self._waiting():
            self._after(self.review.undo(), back=True)

    def redo(self) -> None:
        """Do again what was undone last."""
        self.flush_strokes()
        if self.review is not None and not self._waiting():
            self._after(self.review.redo(), back=True)

    def flush_strokes(self) -> None:
        """Take note of strokes that napari has not reported in full yet."""
        if self._label_layers is not None:
            self._label_layers.flush_strokes()

    def _on_painted(self, code: str, pixels: Any, before: Any) -> None:
        if self.review is not None:
            self._after(self.review.stroke(code, pixels, before))

    def _on_reverted(self, code: str) -> None:
        """Follow napari's own undo and redo, which change the pixels of strokes alone."""
        if self.review is not None and not self._waiting():
            command = follow_external_undo(self.review, code)
            if command is not None:
                self._after(command, back=True)

    def _after(self, command: Command | None, *, back: bool = False) -> None:
        """Show what a command did; `back` goes to the lesion that it is about."""
        if command is not None and self.review is not None and self.queue is not None:
            if self._label_layers is not None:
                if self.review.begun:
                    self._label_layers.lock_thresholds()
                else:
                    self._label_layers.unlock_thresholds()
                codes = {row.code for row in command.rows}
                self._label_layers.show_tables({c: self.review.tables[c] for c in codes})
                self._label_layers.set_next_id(self.review.next_id)
            self.queue.refresh()
            if back and command.focus is not None:
                self.queue.select(command.focus)
            self.command_done.emit()
        self.show()

    def show(self) -> None:
        """Mark the lesion under review, and tell the widget."""
        lesion = self.current
        if lesion is None:
            self._navigator.clear()
        else:
            self._navigator.show(lesion, zoom=self.zoomed)
            if self._label_layers is not None and self.mode == "pan_zoom":
                self._label_layers.activate(lesion.lesion)
        self.changed.emit()

    def _on_clicked(self, point: tuple[float, float]) -> None:
        if self.review is not None:
            lesion = self.review.at(*point)
            if lesion is not None:
                self.select(lesion.id)
