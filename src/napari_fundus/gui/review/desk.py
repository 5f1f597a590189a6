"""What the review widget works on: a result's layers, the review of them, and its copy on disk."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_fundus.errors import FundusError
from napari_fundus.gui.placement import source_of
from napari_fundus.gui.review.autosave import Saved, discard
from napari_fundus.gui.review.commands import Command
from napari_fundus.gui.review.found import Found
from napari_fundus.gui.review.keeper import Keeper
from napari_fundus.gui.review.lesion import Lesion
from napari_fundus.gui.review.loading import Loaded, load
from napari_fundus.gui.review.navigation import Navigator
from napari_fundus.gui.review.queue import Queue
from napari_fundus.gui.review.reading import Read, read_for_review, take_up
from napari_fundus.gui.review.region import add_region
from napari_fundus.gui.review.saving import Order, save_corrections
from napari_fundus.gui.review.session import Review
from napari_fundus.gui.review.sheets import Sheets
from napari_fundus.gui.work import Job
from napari_fundus.image import FundusImage

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

__all__ = ["Desk"]

_STALE_MS = 400
"""Time after which labels that a slider moves are read again."""


class Desk(QObject):
    """The review under way, and everything in the viewer that belongs to it.

    Parameters
    ----------
    viewer
        The viewer.
    autosave_folder
        Where unfinished reviews are kept; None for the user's data folder.
    """

    changed = Signal()
    loaded = Signal()
    failed = Signal(object)
    ended = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        *,
        autosave_folder: Path | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._folder = viewer, autosave_folder
        self.review: Review | None = None
        self.queue: Queue | None = None
        self.found: Found | None = None
        self.other: Found | None = None
        self.unfinished: Saved | None = None
        self.zoomed = False
        self._sheets: Sheets | None = None
        self._image: FundusImage | None = None
        self._path: Path | None = None
        self._reading: Job | None = None
        self._saving: Job | None = None
        self._revision = 0
        self._navigator = Navigator(viewer, self._on_clicked)
        self._keeper = Keeper(self._state, self)
        self._keeper.failed.connect(self.failed)
        self._stale = QTimer(self)
        self._stale.setSingleShot(True)
        self._stale.setInterval(_STALE_MS)
        self._stale.timeout.connect(self._read_again)

    @property
    def loading(self) -> bool:
        """Whether labels are being read."""
        return self._reading is not None or self._stale.isActive()

    @property
    def busy(self) -> bool:
        """Whether anything goes on in a thread or waits for it."""
        return self.loading or self._saving is not None or self._keeper.busy

    @property
    def current(self) -> Lesion | None:
        """The lesion under review."""
        return self.queue.current if self.queue is not None else None

    @property
    def mode(self) -> str:
        """``"paint"`` or ``"erase"`` while such a tool is at hand in one of the layers."""
        return self._sheets.mode if self._sheets is not None else "pan_zoom"

    def load(self, found: Found, other: Found | None) -> None:
        """Read a result's labels in a thread; `loaded` tells when they are ready."""
        self.close()
        if self._reading is not None:
            self._reading.forget()
        self.found, self.other = found, other
        parts = found.parts()
        others = None if other is None else other.parts()
        name = other.detector if other is not None else ""
        source = None if found.photograph is None else source_of(found.photograph)
        sha256, folder = str(found.provenance.get("image_sha256", "")), self._folder
        job = Job(
            lambda _: read_for_review(load(parts, others, name=name), source, sha256, folder), self
        )
        job.returned.connect(self._on_read)
        job.failed.connect(self._on_unreadable)
        job.ended.connect(self._on_reading_ended)
        self._reading = job
        self.changed.emit()
        job.start()

    def _on_reading_ended(self) -> None:
        self._reading = None

    def _on_unreadable(self, error: Exception) -> None:
        self.found = self.other = None
        self.failed.emit(error)

    def _on_read(self, read: Read) -> None:
        if self.found is None:
            return
        self._reading = None
        self._image, self._path, self.unfinished = read.image, read.path, read.unfinished
        self._sheets = Sheets(self._viewer, self.found)
        self._sheets.painted.connect(self._on_painted)
        self._sheets.overtaken.connect(self._on_overtaken)
        self._sheets.removed.connect(self._on_removed)
        self._sheets.mode_changed.connect(self.changed)
        self._sheets.take(read.loaded.labels)
        self._start(read.loaded, self.queue.order if self.queue is not None else "highest")
        # An earlier one stays until it was taken up or given up.
        self._keeper.keep(read.path if read.unfinished is None else None)
        if read.problem is not None:
            self.failed.emit(read.problem)
        self.loaded.emit()

    def _start(self, loaded: Loaded | Saved, order: str) -> None:
        sheets = self._sheets
        if sheets is None:
            return
        self.review = Review(loaded.labels, loaded.tables, loaded.lesions, write=sheets.write)
        self.queue = Queue(self.review.lesions, order)
        self._navigator.follow(next(iter(sheets.layers.values())))
        sheets.ready_for(self.review.next_id)
        self._show()

    def judge(self, what: str, *arguments: Any) -> None:
        """Accept, reject or relabel the lesion under review, and go on to the next open one."""
        self._settle()
        lesion, review, queue = self.current, self.review, self.queue
        if lesion is None or review is None or queue is None or self.loading:
            return
        if what == "relabel" and self._sheets is not None:
            self._sheets.add(review, *arguments)
        command = getattr(review, what)(lesion.id, *arguments)
        queue.next_open()
        self._after(command)

    def step(self, count: int) -> None:
        """Go forwards or backwards in the queue."""
        if self.queue is not None:
            self.queue.step(count)
            self._show()

    def select(self, identity: int) -> None:
        """Go to a lesion, wherever it stands."""
        if self.queue is not None and self.review is not None and identity in self.review.lesions:
            if not self.queue.select(identity):
                self.queue.arrange(self.queue.order)
                self.queue.select(identity)
            self.zoomed = True
            self._show()

    def arrange(self, order: str, lesion: str | None) -> None:
        """Put the queue in another order, and begin at its start."""
        if self.queue is not None:
            self.queue.arrange(order, lesion)
            self.queue.position = 0
            self._show()

    def toggle_zoom(self) -> None:
        """Show the whole image, or the lesion."""
        self.zoomed = not self.zoomed
        if not self.zoomed:
            self._navigator.show_all()
        self._show()

    def draw(self, code: str) -> None:
        """Take the brush for a class, or put it down."""
        if self._sheets is not None and self.review is not None:
            self._sheets.add(self.review, code)
            self._sheets.hold("paint", code)
            self.changed.emit()

    def erase(self) -> None:
        """Take the eraser for the class of the lesion under review, or put it down."""
        if self._sheets is not None:
            code = (
                self.current.lesion if self.current is not None else next(iter(self._sheets.layers))
            )
            self._sheets.hold("erase", code)
            self.changed.emit()

    def undo(self) -> None:
        """Take the last command back."""
        self._settle()
        if self.review is not None and not self.loading:
            self._after(self.review.undo(), back=True)

    def redo(self) -> None:
        """Do again what was undone last."""
        self._settle()
        if self.review is not None and not self.loading:
            self._after(self.review.redo(), back=True)

    def _settle(self) -> None:
        """Take note of strokes that napari has not yet told of in full."""
        if self._sheets is not None:
            self._sheets.settle()

    def _on_painted(self, code: str, pixels: Any, before: Any) -> None:
        if self.review is not None:
            self._after(self.review.stroke(code, pixels, before))

    def _after(self, command: Command | None, *, back: bool = False) -> None:
        """Show what a command did; `back` goes to the lesion that it is about."""
        if command is not None and self.review is not None and self.queue is not None:
            self._revision += 1
            if self._sheets is not None:
                self._sheets.claim()
                codes = {row.code for row in command.rows}
                self._sheets.show_tables({c: self.review.tables[c] for c in codes})
                self._sheets.ready_for(self.review.next_id)
            self.queue.refresh()
            if back and command.focus is not None:
                self.queue.select(command.focus)
            self._keeper.touch()
        self._show()

    def _show(self) -> None:
        """Mark the lesion under review, and tell the widget."""
        lesion = self.current
        if lesion is None:
            self._navigator.clear()
        else:
            self._navigator.show(lesion, zoom=self.zoomed)
            if self._sheets is not None and self.mode == "pan_zoom":
                self._sheets.activate(lesion.lesion)
        self.changed.emit()

    def _on_clicked(self, point: tuple[float, float]) -> None:
        if self.review is not None:
            lesion = self.review.at(*point)
            if lesion is not None:
                self.select(lesion.id)

    def _on_overtaken(self) -> None:
        """Read labels again that a slider has changed, unless the review has begun."""
        if self.review is not None and not len(self.review.stack):
            self._stale.start()

    def _read_again(self) -> None:
        if self.found is not None:
            self.load(self.found, self.other)

    def _on_removed(self) -> None:
        begun = self.review is not None and len(self.review.stack) > 0
        self.close()
        self.found = self.other = None
        self.ended.emit(
            "A layer under review was removed, so the review has ended. What you did is kept: open "
            "the widget on the image again to take it up."
            if begun
            else ""
        )

    def add_region(self) -> Shapes:
        """Add a shapes layer over the image with the polygon tool in hand."""
        return add_region(self._viewer, self._sheets.placement if self._sheets is not None else {})

    def save(self, folder: Path, reviewed: list[str], region: Shapes | None) -> Job | None:
        """Write the corrections in a thread; None if that cannot begin."""
        self._settle()
        if self.review is None or self._sheets is None or self.found is None:
            return None
        try:
            order = Order.of(self.review, self.found, self._image, reviewed, region)
        except FundusError as error:
            self.failed.emit(error)
            return None
        revision = self._revision

        def done(_: Path) -> None:
            if revision == self._revision:
                self._keeper.finish()

        job = Job(lambda _: save_corrections(order, folder), self)
        job.returned.connect(done)
        job.ended.connect(self._on_saving_ended)
        self._saving = job
        return job.start()

    def _on_saving_ended(self) -> None:
        self._saving = None

    def _state(self) -> Saved:
        review, queue = self.review, self.queue
        if review is None or queue is None:
            raise FundusError("There is no review to keep.")
        labels = {code: array.copy() for code, array in review.labels.items()}
        settings = {"order": queue.order, "lesion": queue.current.id if queue.current else None}
        return Saved(labels, dict(review.tables), list(review.lesions.values()), settings)

    def recover(self) -> None:
        """Take up the unfinished review of this image."""
        saved, sheets, review = self.unfinished, self._sheets, self.review
        if saved is not None and sheets is not None and review is not None:
            self.unfinished = None
            sheets.claim()
            take_up(saved, sheets, review, self._on_taken_up, self)

    def _on_taken_up(self, saved: Saved) -> None:
        self._start(saved, str(saved.settings.get("order", "highest")))
        if self.queue is not None and saved.settings.get("lesion") is not None:
            self.queue.select(saved.settings["lesion"])
        self._keeper.keep(self._path)
        self._keeper.touch()
        self._show()
        self.loaded.emit()

    def discard_unfinished(self) -> None:
        """Delete the unfinished review, and keep the present one from now on."""
        self.unfinished = None
        if self._path is not None:
            discard(self._path)
        self._keeper.keep(self._path)
        if self.review is not None and len(self.review.stack):
            self._keeper.touch()

    def close(self) -> None:
        """End the review; what is unfinished is kept on the disk."""
        self._stale.stop()
        self._settle()
        self._keeper.flush()
        self._keeper.keep(None)
        if self._sheets is not None:
            self._sheets.release()
            self._sheets = None
        self.review = self.unfinished = None
        self._navigator.clear()

    def forget(self) -> None:
        """End everything: the widget was closed."""
        if self._reading is not None:
            self._reading.forget()
            self._reading = None
        self.close()
        self._navigator.forget()
