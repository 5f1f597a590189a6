"""A result as it is looked at: thresholds, least area, edits by hand, and what each class shows."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_fundus.landmarks import Landmarks
from napari_fundus.results.boxes import BoxShapes, labels_with_boxes
from napari_fundus.results.detections import Detections
from napari_fundus.results.edits import apply_edited_labels, same_components
from napari_fundus.results.relabel import label_image
from napari_fundus.results.shown_lesions import (
    ShownLesions,
    ThresholdSettings,
    apply_thresholds,
    class_lesions,
    drawn_lesions,
)


class LabelsHolder(Protocol):
    """A layer of labels, or anything else with `data`: an integer array of shape (H, W)."""

    data: Any


class BoxesHolder(Protocol):
    """A layer of boxes, or anything else with its attributes."""

    data: Any
    features: Any
    shape_type: Any


class LiveResult:
    """A result with its thresholds, least area, edits by hand, and what is shown of it now.

    Everything that shows or uses a result looks at one such object: sliders, layers, evaluation,
    comparison, review and export. It knows no window and starts no thread. Whoever shows the
    result takes :meth:`computation`, calls it in a thread, and passes the outcome to :meth:`show`.
    Listeners and layers are referenced weakly.

    Parameters
    ----------
    detections
        The result as the detector gave it.

    Examples
    --------
    >>> import napari_fundus as nf
    >>> live = LiveResult(nf.detect(nf.sample_image_path(), "tophat"))
    >>> live.set_threshold("MA", 0.6)
    >>> live.show(live.computation()())
    >>> len(live.shown["MA"].table) == (live.detections().instances["lesion"] == "MA").sum()
    np.True_
    """

    settings_changed = Signal()
    """A threshold or the least area changed."""
    shown_changed = Signal()
    """What is shown changed, see :attr:`shown`."""
    edited_changed = Signal(str)
    """A class (its code) became edited by hand, or is as found again."""
    landmarks_changed = Signal()
    """Optic disc or fovea were marked by a person."""

    def __init__(self, detections: Detections) -> None:
        self._original = detections
        self._settings = ThresholdSettings(dict(detections.thresholds), detections.min_area)
        self._current = detections
        self._shown: dict[str, ShownLesions] = {}
        self._holders: dict[str, weakref.ref[LabelsHolder]] = {}
        self._box_holders: dict[str, tuple[weakref.ref[BoxesHolder], Callable[[Any], Any]]] = {}
        self._boxed: dict[str, BoxShapes] = {}
        self._painted: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[Any]]] = {}
        self._edited: set[str] = set()
        self._locked: set[str] = set()
        self._presenter: weakref.ref[Any] | None = None
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle result and settings; listeners and layers belong to this object."""
        return _restore, (self._original, self._settings)

    @property
    def original(self) -> Detections:
        """The result at the thresholds of its run."""
        return self._original

    @property
    def settings(self) -> ThresholdSettings:
        """The present thresholds and least area."""
        return self._settings

    @property
    def shown(self) -> Mapping[str, ShownLesions]:
        """Class code to what is shown; a class may be missing or lag behind the settings."""
        return self._shown

    @property
    def up_to_date(self) -> bool:
        """Whether all classes are shown at the settings, with ids that count through them."""
        first_id = 1
        for code in self._original.lesions:
            shown = self._shown.get(code)
            wanted = self._settings.thresholds[code], self._settings.min_area, first_id
            if shown is None or (shown.threshold, shown.min_area, shown.first_id) != wanted:
                return False
            first_id += len(shown.table)
        return True

    @property
    def edited(self) -> frozenset[str]:
        """Classes whose labels thresholds leave alone: a person changed them, or a review locks."""
        return frozenset(self._edited | self._locked | self._boxed.keys())

    def has_threshold(self, code: str) -> bool:
        """Return whether a class has a map and its labels follow the threshold."""
        return code in self._settings.thresholds and code not in self.edited

    def set_threshold(self, code: str, value: float) -> None:
        """Set the threshold of one class.

        Raises
        ------
        OptionsError
            There is no map of the class, or the value does not lie in [0, 1].
        """
        self._original.check_thresholds({code: value})
        thresholds = {**self._settings.thresholds, code: value}
        self._set(ThresholdSettings(thresholds, self._settings.min_area))

    def set_min_area(self, value: int) -> None:
        """Set the least area of a lesion, px.

        Raises
        ------
        OptionsError
            It is below 1.
        """
        self._original.check_thresholds({}, min_area=value)
        self._set(ThresholdSettings(self._settings.thresholds, value))

    def _set(self, settings: ThresholdSettings) -> None:
        if settings != self._settings:
            self._settings = settings
            self._current = self._original.threshold(
                dict(settings.thresholds), min_area=settings.min_area
            )
            self.settings_changed.emit()

    def set_landmarks(self, given: Landmarks) -> None:
        """Set what a person marked of optic disc and fovea."""
        self._original = replace(self._original, given_landmarks=given)
        self._current = replace(self._current, given_landmarks=given)
        self.landmarks_changed.emit()

    def computation(
        self, *, renumber: bool = True, outlined: Collection[str] = ()
    ) -> Callable[[], dict[str, ShownLesions]]:
        """Return a function that computes what is to be shown now; it may be called in a thread.

        Parameters
        ----------
        renumber
            As for :func:`apply_thresholds`.
        outlined
            Classes whose outlines are computed, too.
        """
        detections, settings, before = self._original, self._settings, dict(self._shown)

        def compute() -> dict[str, ShownLesions]:
            shown = apply_thresholds(detections, settings, before, renumber=renumber)
            for code in outlined:
                assert shown[code].outlines is not None  # noqa: S101  # to have it computed
            return shown

        return compute

    def show(self, shown: Mapping[str, ShownLesions]) -> None:
        """Take what :meth:`computation` returned as what is shown now."""
        self._shown = dict(shown)
        self.shown_changed.emit()

    def claim(self, presenter: Any) -> bool:
        """Return whether `presenter` is the one that computes and shows: the first to ask is."""
        if self._presenter is None or self._presenter() is None:
            self._presenter = weakref.ref(presenter)
        return not self._closed and self._presenter() is presenter

    def release(self, presenter: Any) -> None:
        """Let another presenter compute and show."""
        if self._presenter is not None and self._presenter() is presenter:
            self._presenter = None

    def close(self) -> None:
        """Refuse all presenters from now on: the layers are to show another result."""
        self._closed = True

    @property
    def closed(self) -> bool:
        """Whether its layers show another result by now."""
        return self._closed

    def attach(self, code: str, holder: LabelsHolder) -> None:
        """Set where the labels of a class are that a person may change."""
        self._holders[code] = weakref.ref(holder)

    def attach_boxes(self, code: str, holder: BoxesHolder, displayed: Callable[[Any], Any]) -> None:
        """Set where the boxes of a class are that a person may change.

        `displayed` is called with the holder, and returns the boxes that the result put there.
        """
        self._box_holders[code] = weakref.ref(holder), displayed

    def check_boxes(self, code: str) -> None:
        """Compare the boxes of a class with the result's, after some were changed."""
        boxes, before = self._boxes(code), self.edited
        if boxes is not None and boxes.changed:
            self._boxed[code] = boxes
        else:
            self._boxed.pop(code, None)
        if before != self.edited:
            self.edited_changed.emit(code)

    def _boxes(self, code: str) -> BoxShapes | None:
        known = self._box_holders.get(code)
        holder = None if known is None else known[0]()
        if known is None or holder is None:
            return None
        attributes = {"shape_type": holder.shape_type, "features": holder.features}
        return BoxShapes.of_layer(holder.data, attributes, known[1](holder))

    def labels(self, code: str) -> npt.NDArray[Any] | None:
        """Return the labels of a class as they are now, not a copy; None where they are gone."""
        holder = self._holders[code]() if code in self._holders else None
        return None if holder is None else np.asarray(holder.data)

    def add_stroke(
        self, code: str, pixels: npt.NDArray[np.int64], before: npt.NDArray[Any]
    ) -> None:
        """Take note that a person changed labels: flat indices, and the values before.

        The labels need not have changed yet; :meth:`check_edits` compares them.
        """
        if not len(pixels):
            return
        if code in self._painted:
            known, values = self._painted[code]
            new = ~np.isin(pixels, known)
            pixels = np.concatenate([known, pixels[new]])
            before = np.concatenate([values, np.asarray(before)[new]])
        self._painted[code] = pixels, before
        self._set_edited(code, edited=True)

    def check_edits(self, code: str) -> None:
        """Compare the labels with what was shown, after something was undone or done again."""
        labels = self.labels(code)
        if code in self._painted and labels is not None:
            pixels, before = self._painted[code]
            edited = bool((labels.reshape(-1)[pixels] != before).any())
            self._set_edited(code, edited=edited)

    def rebase_edits(self, code: str) -> None:
        """Compare with the present labels from now on: the result itself was shown anew."""
        labels = self.labels(code)
        if code in self._painted and labels is not None:
            pixels, _ = self._painted[code]
            self._painted[code] = pixels, labels.reshape(-1)[pixels]

    def lock(self, codes: Iterable[str]) -> None:
        """Let thresholds leave classes alone: a review has begun to change their labels."""
        for code in codes:
            if code in self._original.lesions and code not in self._locked:
                was_edited = code in self._edited | self._boxed.keys()
                self._locked.add(code)
                if not was_edited:
                    self.edited_changed.emit(code)

    def unlock(self, codes: Iterable[str]) -> None:
        """Let thresholds move classes again after a review, unless their labels were changed."""
        for code in codes:
            if code in self._locked:
                self._locked.discard(code)
                if self._differs(code):
                    self._edited.add(code)
                else:
                    self._edited.discard(code)
                    self._painted.pop(code, None)
                    if code not in self._boxed:
                        self.edited_changed.emit(code)

    def _differs(self, code: str) -> bool:
        """Return whether the labels cut other lesions than were shown, whatever their ids are."""
        labels, shown = self.labels(code), self._shown.get(code)
        if labels is None:
            return code in self._edited
        if shown is None:
            return not same_components(labels, self._original.labels[code])
        found = shown.components
        return not same_components(labels, label_image(found.shape, found.pixels, shown.ids))

    def _set_edited(self, code: str, *, edited: bool) -> None:
        if edited != (code in self._edited):
            (self._edited.add if edited else self._edited.discard)(code)
            if code not in self._locked | self._boxed.keys():
                self.edited_changed.emit(code)

    def detections(self, *, edits: bool = True) -> Detections:
        """Return the result at the present settings, with what was drawn by hand."""
        return self.snapshot(edits=edits)()

    def snapshot(self, *, edits: bool = True) -> Callable[[], Detections]:
        """Return a function that makes :meth:`detections` of this moment, maybe in a thread."""
        current = self._current
        drawn = [
            draw for code in sorted(self.edited if edits else ()) if (draw := self._drawn(code))
        ]
        return lambda: (
            apply_edited_labels(current, dict(draw() for draw in drawn)) if drawn else current
        )

    def _drawn(self, code: str) -> Callable[[], tuple[str, npt.NDArray[Any]]] | None:
        """Return a function that gives the labels of this moment, with what boxes change there."""
        labels = self.labels(code)
        if labels is None:
            return None
        copied, boxes = np.array(labels), self._boxed.get(code)
        return lambda: (
            code,
            copied if boxes is None else labels_with_boxes(copied, boxes, name=f"{code} boxes"),
        )

    def class_snapshot(self, code: str) -> Callable[[], ShownLesions]:
        """Return a function that gives one class as it is at this moment, maybe in a thread."""
        if not self.has_threshold(code) and (draw := self._drawn(code)) is not None:
            return lambda: drawn_lesions(draw()[1], code)
        shown = self._shown.get(code)
        first_id = 1 if shown is None else shown.first_id
        return partial(
            class_lesions, self._original, code, self._settings, shown, first_id=first_id
        )


def _restore(detections: Detections, settings: ThresholdSettings) -> LiveResult:
    live = LiveResult(detections)
    live._set(settings)
    return live
