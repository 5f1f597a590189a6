"""The widget *Review lesions*: go through what was found, put it right, keep the corrections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.thread_job import ThreadJob, show_error
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.review.controller import ReviewController
from napari_fundus.gui.review.keys import ReviewKeys
from napari_fundus.gui.review.result_layers import find_result_layers, result_layers_from
from napari_fundus.gui.review.review_buttons import RELABEL_KEYS
from napari_fundus.gui.review.save_box import default_folder
from napari_fundus.gui.review.save_request import count_unjudged
from napari_fundus.gui.review.view import NO_RESULT_MESSAGE, ReviewView
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.queue import ReviewQueue
from napari_fundus.review.session import Review

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels


class ReviewWidget(QWidget):
    """Goes through the lesions of a result, and saves the corrections as a data set.

    Parameters
    ----------
    viewer
        The napari viewer.
    autosave_folder
        Where unfinished reviews are kept; by default the user's data folder.
    """

    loaded = Signal()
    """A result is under review."""
    saved = Signal(object)
    """Corrections were saved: path of the image's folder."""
    train_requested = Signal(object)
    """A training on a folder of corrections was asked for: its path."""

    def __init__(
        self, viewer: napari.viewer.Viewer, *, autosave_folder: Path | None = None
    ) -> None:
        super().__init__()
        sync_preferences()
        viewer = unwrap_viewer(viewer)
        self._viewer = viewer
        self.controller = ReviewController(viewer, autosave_folder=autosave_folder, parent=self)
        view = self.view = ReviewView(viewer, self)
        self.results, self.judge = view.results, view.judge
        self.list, self.save_box = view.list, view.save_box
        view.results.chosen.connect(self.controller.load)
        view.results.restore_clicked.connect(self.recover)
        view.results.discard_clicked.connect(self.discard_unfinished)
        view.judge.asked.connect(self._on_asked)
        view.list.chosen.connect(self.select)
        view.list.order_changed.connect(self._on_arranged)
        view.save_box.save_clicked.connect(lambda: self.save())
        view.save_box.train_clicked.connect(self.request_training)
        view.save_box.draw_region_clicked.connect(self.draw_region)
        self.controller.changed.connect(self._show_state)
        self.controller.loaded.connect(self._on_loaded)
        self.controller.failed.connect(self._on_failed)
        self.controller.ended.connect(self._on_ended)
        self._keys = ReviewKeys(
            viewer,
            {
                "A": self.accept,
                "R": self.reject,
                "N": self.next,
                "P": self.previous,
                "Z": self.toggle_zoom,
                "D": self.draw,
                "E": self.erase,
                "Control-Z": self.undo,
                "Control-Shift-Z": self.redo,
                **{key: partial(self.relabel, code) for key, code in RELABEL_KEYS.items()},
            },
        )
        self._listing_timer = single_shot_timer(self, 200, self._list_results)
        events = viewer.layers.events
        self._connections = Connections()
        self._connections.connect(self._schedule_listing, events.inserted, events.removed)
        on_widget_removed(self, self.shutdown)
        self._show_state()
        self._list_results()

    @property
    def review(self) -> Review | None:
        """The review that is under way."""
        return self.controller.review

    @property
    def queue(self) -> ReviewQueue | None:
        """The lesions in their order, and the place in it."""
        return self.controller.cursor.queue

    @property
    def current(self) -> ReviewedLesion | None:
        """The lesion under review."""
        return self.controller.cursor.current

    @property
    def ready(self) -> bool:
        """Whether a result is loaded, so that it can be reviewed."""
        return self.controller.review is not None and not self.controller.loading

    @property
    def busy(self) -> bool:
        """Whether loading, saving or autosaving is under way."""
        return self.controller.busy

    def set_layers(
        self,
        layers: Sequence[Labels] | None = None,
        *,
        photograph: Image | None = None,
        other: Sequence[Labels] | None = None,
    ) -> None:
        """Take a result under review; `loaded` is emitted when it is ready.

        Parameters
        ----------
        layers
            Its labels layers, one a class; None takes the newest result in the viewer.
        photograph
            The image layer; None takes the one that the layers tell of.
        other
            Labels layers of a second detector to compare with.
        """
        if layers is None:
            results = find_result_layers(self._viewer)
            if not results:
                self.save_box.show_message(NO_RESULT_MESSAGE)
                return
            found = results[0]
        else:
            found = result_layers_from(self._viewer, list(layers), photograph)
        second = result_layers_from(self._viewer, list(other)) if other else None
        self.controller.load(found, second)

    def accept(self) -> None:
        """Say that the lesion is right, and go on to the next one without a verdict."""
        self.controller.cursor.judge("accept")

    def reject(self) -> None:
        """Say that there is no lesion; it leaves the labels."""
        self.controller.cursor.judge("reject")

    def relabel(self, code: str) -> None:
        """Say that the lesion is of another class; it moves there."""
        self.controller.cursor.judge("relabel", code)

    def next(self) -> None:
        """Go to the next lesion."""
        self.controller.cursor.step(1)

    def previous(self) -> None:
        """Go to the lesion before."""
        self.controller.cursor.step(-1)

    def select(self, identity: int) -> None:
        """Go to a lesion."""
        self.controller.cursor.select(identity)

    def toggle_zoom(self) -> None:
        """Show the whole image, or the lesion."""
        self.controller.cursor.toggle_zoom()

    def draw(self, code: str | None = None) -> None:
        """Take the brush for a class, by default the one chosen; or put it down."""
        self.controller.cursor.draw(code or self.judge.drawn.currentData())

    def erase(self) -> None:
        """Take the eraser for the class of the lesion under review, or put it down."""
        self.controller.cursor.erase()

    def undo(self) -> None:
        """Take the last command back."""
        self.controller.cursor.undo()

    def redo(self) -> None:
        """Do again what was undone last."""
        self.controller.cursor.redo()

    def draw_region(self) -> None:
        """Add a shapes layer and take its polygon tool, to draw what is reviewed."""
        layer = self.controller.add_region()
        self.save_box.set_region(layer)

    def save(self, folder: str | Path | None = None) -> ThreadJob | None:
        """Save the corrections in a thread; `saved` is emitted when they are on the disk.

        Parameters
        ----------
        folder
            Of corrections; None takes the one in the form.
        """
        if folder is not None:
            self.save_box.folder.set_path(folder)
        reviewed = self.save_box.reviewed()
        if self.review is None or not reviewed:
            self.save_box.show_message(
                NO_RESULT_MESSAGE
                if self.review is None
                else "Tick the classes that you reviewed: of the others nothing is known."
            )
            return None
        target = self.save_box.folder.path() or default_folder()
        job = self.controller.save(target, reviewed, self.save_box.region_layer())
        if job is not None:
            self.save_box.show_message("Saving…")
            self.save_box.save_button.setEnabled(False)
            job.returned.connect(lambda place: self._on_saved(place, reviewed))
            job.ended.connect(lambda: self.save_box.save_button.setEnabled(True))
        return job

    def _on_saved(self, place: Path, reviewed: list[str]) -> None:
        text = f"Saved {', '.join(reviewed)} in {place}."
        if self.review is not None and (left := count_unjudged(self.review, reviewed)):
            text += f" {left} without a verdict went along as they were found."
        self.save_box.show_message(text)
        self.save_box.train_button.setEnabled(True)
        self.saved.emit(place)

    def request_training(self) -> None:
        """Open the widget that trains, on the corrections and from the result's own weights."""
        folder = self.save_box.folder.path() or default_folder()
        window = getattr(self._viewer, "window", None)
        if window is not None:
            _, trainer = window.add_plugin_dock_widget(
                "napari-fundus", "Train or fine-tune", tabify=True
            )
            trainer.set_data(folder)
            found = self.controller.found
            if found is not None and found.detector:
                ran = found.provenance
                path = str(ran.get("options", {}).get("checkpoint") or "")
                weights = path if Path(path).is_file() else ran.get("checkpoint")
                trainer.start_from(found.detector, weights)
        self.train_requested.emit(folder)

    def recover(self) -> None:
        """Take up the unfinished review of this image."""
        self.results.offer(())
        self.controller.recover()

    def discard_unfinished(self) -> None:
        """Delete the unfinished review of this image."""
        self.results.offer(())
        self.controller.discard_unfinished()

    def _on_asked(self, name: str, argument: object) -> None:
        method = getattr(self, name)
        if argument is None:
            method()
        else:
            method(argument)

    def _on_arranged(self, order: str, lesion: object) -> None:
        self.controller.cursor.set_order(order, None if lesion is None else str(lesion))

    def _schedule_listing(self, event: Any = None) -> None:
        # A result comes as many layers, one an event-loop turn.
        self._listing_timer.start()

    def _list_results(self) -> None:
        results = find_result_layers(self._viewer)
        self.results.show_results(results, self.controller.found, self.controller.other)
        if self.controller.found is None and results and not self.controller.loading:
            self.controller.load(results[0], None)

    def _on_loaded(self) -> None:
        self.save_box.clear()
        self._keys.hold()
        self.results.offer(self.controller.unfinished)
        self._show_state()
        self._list_results()
        self.loaded.emit()

    def _on_failed(self, error: Exception) -> None:
        self.save_box.show_message(str(error))
        show_error(error)

    def _on_ended(self, reason: str) -> None:
        self._keys.release()
        self.results.offer(())
        self._show_state()
        self.save_box.show_message(reason)

    def _show_state(self) -> None:
        self.view.show_state(self.controller.cursor, loading=self.controller.loading)

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Take the keys while the widget is seen."""
        super().showEvent(event)
        if self.ready:
            self._keys.hold()

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Give the keys back."""
        super().hideEvent(event)
        self._keys.release()

    def shutdown(self) -> None:
        """Save what is unfinished and stop listening: the widget was closed."""
        self._connections.disconnect()
        self._listing_timer.stop()
        self._keys.release()
        self.save_box.shutdown()
        self.controller.shutdown()
