"""Where a review comes from and goes to: a result's layers, its copy on disk, the corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.thread_job import JobSlot, ThreadJob
from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.gui.layers.event_loop import StepRunner, single_shot_timer
from napari_fundus.gui.layers.placement import image_source
from napari_fundus.gui.review.autosaver import AutosaveTimer
from napari_fundus.gui.review.cursor import ReviewCursor
from napari_fundus.gui.review.label_layers import LabelLayers
from napari_fundus.gui.review.load_review import (
    ReviewInput,
    load_review_input,
    restore_steps,
    restored_review,
)
from napari_fundus.gui.review.region import add_region_layer
from napari_fundus.gui.review.result_layers import (
    class_labels,
    result_layers_from,
    show_only_result,
)
from napari_fundus.gui.review.save_request import SaveRequest, save_corrections
from napari_fundus.image import FundusImage
from napari_fundus.review.autosave import SavedReview, delete_autosave
from napari_fundus.review.loading import LoadedReview, load_lesions
from napari_fundus.review.merge import merge_reviews
from napari_fundus.review.session import Review
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

_WRITE_TIMEOUT_S = 20

_STALE_MS = 400
"""Time after which labels that a slider moves are read again."""


class ReviewController(QObject):
    """Lays a result ready for review, keeps what is done safe, and saves the corrections.

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
        self.cursor = ReviewCursor(viewer, lambda: self.loading, self)
        """The current review."""
        self.cursor.changed.connect(self.changed)
        self.cursor.command_done.connect(self._on_worked)
        self.found: LayerGroup | None = None
        self.other: LayerGroup | None = None
        self.unfinished: tuple[SavedReview, ...] = ()
        """Those of earlier sittings that are on offer, the oldest first."""
        self._label_layers: LabelLayers | None = None
        self._image: FundusImage | None = None
        self._path: Path | None = None
        self._reading, self._saving = JobSlot(self), JobSlot(self)
        self._restorer = StepRunner(self)
        self._revision = 0
        self._autosaver = AutosaveTimer(self._state, self)
        self._autosaver.failed.connect(self.failed)
        self._stale = single_shot_timer(self, _STALE_MS, self._read_again)

    @property
    def loading(self) -> bool:
        """Whether labels are being read."""
        return self._reading.busy or self._stale.isActive()

    @property
    def busy(self) -> bool:
        """Whether anything goes on in a thread or waits for it."""
        working = self._saving.busy or self._restorer.busy or self._autosaver.busy
        return self.loading or working

    @property
    def review(self) -> Review | None:
        """The review under way."""
        return self.cursor.review

    def load(self, found: LayerGroup, other: LayerGroup | None) -> None:
        """Read a result's labels in a thread; `loaded` is emitted when they are ready."""
        if self._label_layers is not None:
            self._label_layers.finish_adding()
        self.close()
        if self.found is None or self.found.layer_ids != found.layer_ids:
            show_only_result(self._viewer, found, other)
        self.found, self.other = found, other
        parts = class_labels(found)
        others = None if other is None else class_labels(other)
        name = other.detector if other is not None else ""
        source = None if found.photograph is None else image_source(found.photograph)
        sha256, folder = str(found.provenance.get("image_sha256", "")), self._folder
        written = self._autosaver.written

        def read(_: Monitor) -> ReviewInput:
            lesions = load_lesions(parts, others, name=name)
            written.wait(_WRITE_TIMEOUT_S)  # what was just left unfinished is on offer, too
            return load_review_input(lesions, source, sha256, folder)

        self._reading.start(read, self._on_read, self._on_unreadable)
        self.changed.emit()

    def _on_unreadable(self, error: Exception) -> None:
        self.found = self.other = None
        self.failed.emit(error)

    def _on_read(self, read: ReviewInput) -> None:
        if self.found is None:
            return
        self._image, self._path, self.unfinished = read.image, read.path, read.unfinished
        self._label_layers = LabelLayers(self._viewer, self.found)
        self._label_layers.labels_changed.connect(self._on_labels_changed)
        self._label_layers.removed.connect(self._on_removed)
        self._label_layers.take(read.loaded.labels)
        queue = self.cursor.queue
        self._start(read.loaded, queue.order if queue is not None else "highest")
        # Earlier ones stay until they are taken up or given up: this one has a file of its own.
        self._autosaver.keep(read.path)
        self.loaded.emit()
        for problem in read.problems:
            self.failed.emit(problem)

    def _start(self, loaded: LoadedReview | SavedReview, order: str) -> None:
        label_layers = self._label_layers
        if label_layers is None:
            return
        review = Review(loaded.labels, loaded.tables, loaded.lesions, write=label_layers.write)
        if isinstance(loaded, SavedReview):
            review.stack.restore(loaded.history)
        self.cursor.begin(review, order, label_layers)

    def _on_worked(self) -> None:
        self._revision += 1
        self._autosaver.touch()

    def _on_labels_changed(self) -> None:
        """Read labels again that a slider has changed, unless the review has begun."""
        if self.review is not None and not len(self.review.stack):
            self._stale.start()

    def _read_again(self) -> None:
        if self.found is not None:
            # The layers may show the result of another run now.
            layers, photograph = list(self.found.labels.values()), self.found.photograph
            self.load(result_layers_from(self._viewer, layers, photograph), self.other)

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
        """Add a shapes layer over the image with the polygon tool active."""
        return add_region_layer(
            self._viewer, self._label_layers.placement if self._label_layers is not None else {}
        )

    def save(self, folder: Path, reviewed: list[str], region: Shapes | None) -> ThreadJob | None:
        """Write the corrections in a thread; None if that cannot begin."""
        self.cursor.flush_strokes()
        if self.review is None or self._label_layers is None or self.found is None:
            return None
        try:
            order = SaveRequest.of(self.review, self.found, self._image, reviewed, region)
        except FundusError as error:
            self.failed.emit(error)
            return None
        revision = self._revision

        def done(_: Path) -> None:
            if revision == self._revision:
                self._autosaver.finish()

        return self._saving.start(lambda _: save_corrections(order, folder), done, self.failed.emit)

    def _state(self) -> SavedReview:
        review, queue = self.review, self.cursor.queue
        if review is None or queue is None:
            raise FundusError("There is no review to keep.")
        labels = {code: array.copy() for code, array in review.labels.items()}
        settings = {"order": queue.order, "lesion": queue.current.id if queue.current else None}
        lesions, tables = list(review.lesions.values()), dict(review.tables)
        return SavedReview(labels, tables, lesions, settings, history=review.stack.done)

    def recover(self) -> None:
        """Take up the unfinished reviews of this image, merged with what was done meanwhile."""
        self.cursor.flush_strokes()
        earlier, label_layers, review = self.unfinished, self._label_layers, self.review
        if earlier and label_layers is not None and review is not None:
            self.unfinished = ()
            label_layers.lock_thresholds()
            saved = merge_reviews([*earlier, self._state()])
            self._restorer.start(
                restore_steps(saved, label_layers, review),
                lambda: self._on_restored(restored_review(saved, label_layers)),
            )

    def _on_restored(self, saved: SavedReview) -> None:
        order = saved.settings.get("order", "highest")
        self._start(saved, str(order))
        if self.cursor.queue is not None and saved.settings.get("lesion") is not None:
            self.cursor.queue.select(saved.settings["lesion"])
        self._autosaver.keep(self._path, replaces=saved.files)
        self._autosaver.touch()
        self.cursor.show()
        self.loaded.emit()

    def discard_unfinished(self) -> None:
        """Delete the unfinished reviews on offer; the present one is kept as before."""
        for saved in self.unfinished:
            for path in saved.files:
                delete_autosave(path)
        self.unfinished = ()

    def close(self) -> None:
        """End the review; what is unfinished is kept on the disk."""
        self._stale.stop()
        self._restorer.stop()
        self.cursor.flush_strokes()
        self._autosaver.flush()
        self._autosaver.keep(None)
        if self._label_layers is not None:
            self._label_layers.release()
            self._label_layers = None
        self.unfinished = ()
        self.cursor.end()

    def shutdown(self) -> None:
        """End everything: the widget was closed."""
        self._reading.cancel_silently()
        self.close()
        self.cursor.shutdown()
