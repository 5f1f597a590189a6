"""Makes one review of two of the same image: each verdict is kept, the later one where both judged.

Two lesions are the same if the detector gave both the same class, and either the same number and
score (both reviews began with the same result), or pixels of which more than half are shared (of
all that either covers). What only one of the reviews has judged keeps that verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from napari_fundus.review.autosave import SavedReview
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.session import Review

_SAME = 0.5
"""Intersection over union above which two lesions are the same."""


def merge_reviews(reviews: Iterable[SavedReview]) -> SavedReview:
    """Return one review with all verdicts, the oldest review first; arrays given stay as they are.

    Parameters
    ----------
    reviews
        At least one, of labels of the same size. Classes that only a later one has are added with
        their lesions, judged or not.
    """
    return reduce(_merged, reviews)


def _merged(older: SavedReview, newer: SavedReview) -> SavedReview:
    labels = {code: array.copy() for code, array in older.labels.items()}
    review = Review(labels, older.tables, older.lesions)
    review.stack.restore(older.history)
    _widen(review, len(newer.lesions))
    kind = next(iter(review.labels.values())).dtype
    for code in [code for code in newer.labels if code not in labels]:
        review.add_class(code, np.zeros(review.shape, kind), newer.tables[code].head(0))
    source = Review(newer.labels, newer.tables, newer.lesions)
    known = list(review.lesions.values())
    for lesion in newer.lesions:
        if lesion.verdict is None and lesion.lesion in labels:
            continue
        pixels = source.pixels_of(lesion)
        same = _find(lesion, pixels, known, review)
        identity = _add(review, lesion, pixels, source) if same is None else same.id
        if lesion.verdict is not None:
            review.adopt(identity, lesion, pixels)
    return replace(
        newer,
        labels=review.labels,
        tables=review.tables,
        lesions=list(review.lesions.values()),
        history=review.stack.done,
        files=(*older.files, *newer.files),
    )


def _widen(review: Review, more: int) -> None:
    """Give labels 32 bits where so many more ids would not fit."""
    for code, array in review.labels.items():
        if review.next_id + more > np.iinfo(array.dtype).max:
            review.labels[code] = array.astype(np.int32)


def _find(
    lesion: ReviewedLesion,
    pixels: npt.NDArray[np.int64],
    known: list[ReviewedLesion],
    review: Review,
) -> ReviewedLesion | None:
    """Return the same lesion among those known, as the review has it now."""
    alike = [x for x in known if x.detected == lesion.detected and x.source == lesion.source]
    for each in alike:
        if each.id == lesion.id and each.score == lesion.score:
            return review.lesions[each.id]
    for each in alike:
        if each.detected is None and each.lesion != lesion.lesion:
            continue
        if _boxes_meet(each, lesion):
            theirs = review.pixels_of(review.lesions[each.id])
            shared = len(np.intersect1d(theirs, pixels, assume_unique=True))
            if shared > _SAME * (len(theirs) + len(pixels) - shared):
                return review.lesions[each.id]
    return None


def _boxes_meet(one: ReviewedLesion, two: ReviewedLesion) -> bool:
    (top, left, bottom, right), (up, first, down, last) = one.box, two.box
    return top < down and up < bottom and left < last and first < right


def _add(
    review: Review, lesion: ReviewedLesion, pixels: npt.NDArray[np.int64], source: Review
) -> int:
    """Add a lesion that the review does not have, not yet judged, and return its id."""
    table = source.tables[lesion.lesion]
    row = lesion.row if not lesion.present else table[table["index"] == lesion.id].head(1)
    identity, done = review.next_id, review.stack.done
    review.lesions[identity] = replace(lesion, id=identity, verdict=None, pixels=pixels, row=row)
    if lesion.verdict is None and lesion.present:
        review.accept(identity)  # puts it into the labels
        review.lesions[identity] = replace(review.lesions[identity], verdict=None)
        review.stack.restore(done)
    return identity
