"""Two unfinished reviews of one image become one, and no verdict is lost."""

from __future__ import annotations

import numpy as np

from napari_fundus.review.autosave import SavedReview
from napari_fundus.review.merge import merge_reviews
from napari_fundus.review.session import Review


def kept(review: Review) -> SavedReview:
    labels = {code: array.copy() for code, array in review.labels.items()}
    lesions = list(review.lesions.values())
    return SavedReview(labels, dict(review.tables), lesions, history=review.stack.done)


def opened(saved: SavedReview) -> Review:
    review = Review(saved.labels, saved.tables, saved.lesions)
    review.stack.restore(saved.history)
    return review


def verdicts(review: Review) -> dict[int, tuple[str | None, str]]:
    return {x.id: (x.verdict, x.lesion) for x in review.lesions.values() if x.verdict}


def draw(review: Review, code: str, rows: slice, columns: slice) -> None:
    inside = np.zeros(review.shape, bool)
    inside[rows, columns] = True
    pixels = np.flatnonzero(inside & (review.labels[code] == 0))
    before = review.labels[code].reshape(-1)[pixels].copy()
    review.labels[code].reshape(-1)[pixels] = review.next_id
    review.stroke(code, pixels, before)


def test_verdicts_of_both_are_kept_and_each_can_be_undone(lab) -> None:
    one, two = lab.start(lab.parts()), lab.start(lab.parts())
    ids = sorted(one.lesions)
    one.accept(ids[0])
    one.reject(ids[1])
    before = lab.snapshot(one)
    two.reject(ids[2])
    two.relabel(ids[3], "SE" if two.lesions[ids[3]].lesion != "SE" else "MA")
    merged = opened(merge_reviews([kept(one), kept(two)]))
    assert verdicts(merged) == {**verdicts(one), **verdicts(two)}
    assert len(verdicts(merged)) == 4
    lab.assert_consistent(merged)
    merged.undo()
    merged.undo()
    assert verdicts(merged) == {
        x.id: (x.verdict, x.lesion) for x in before[2].values() if x.verdict
    }
    for code, array in before[0].items():
        np.testing.assert_array_equal(merged.labels[code], array)


def test_where_both_judged_a_lesion_the_later_verdict_counts(lab) -> None:
    one, two = lab.start(lab.parts()), lab.start(lab.parts())
    first, second = sorted(one.lesions)[:2]
    one.reject(first)
    one.accept(second)
    two.accept(first)
    two.reject(second)
    merged = opened(merge_reviews([kept(one), kept(two)]))
    assert [merged.lesions[i].verdict for i in (first, second)] == ["accepted", "rejected"]
    assert [merged.lesions[i].present for i in (first, second)] == [True, False]
    lab.assert_consistent(merged)


def test_lesions_drawn_in_both_stay_two_unless_they_are_the_same(lab) -> None:
    one, two = lab.start(lab.parts()), lab.start(lab.parts())
    draw(one, "MA", slice(0, 2), slice(0, 4))
    draw(two, "MA", slice(0, 2), slice(0, 4))
    draw(two, "MA", slice(46, 48), slice(0, 5))
    merged = opened(merge_reviews([kept(one), kept(two)]))
    drawn = sorted(x.area for x in merged.lesions.values() if x.verdict == "drawn")
    assert drawn == [8, 10]
    lab.assert_consistent(merged)


def test_a_lesion_that_was_edited_later_has_the_later_pixels(lab) -> None:
    one, two = lab.start(lab.parts()), lab.start(lab.parts())
    lesion = next(x for x in two.lesions.values() if x.lesion == "HE")
    pixels = two.pixels_of(lesion)[: lesion.area // 2]
    before = two.labels["HE"].reshape(-1)[pixels].copy()
    two.labels["HE"].reshape(-1)[pixels] = 0
    two.stroke("HE", pixels, before)
    one.accept(lesion.id)
    merged = opened(merge_reviews([kept(one), kept(two)]))
    assert merged.lesions[lesion.id].verdict == "edited"
    np.testing.assert_array_equal(merged.labels["HE"], two.labels["HE"])
    lab.assert_consistent(merged)


def test_a_review_of_another_detector_keeps_its_verdicts_and_its_further_classes(lab) -> None:
    one, two = lab.start(lab.parts(0, ("MA", "HE"))), lab.start(lab.parts(3, ("MA", "EX")))
    a, b = min(one.lesions), sorted(two.lesions)[:2]
    one.reject(a)
    two.accept(b[0])
    two.reject(b[1])
    merged = opened(merge_reviews([kept(one), kept(two)]))
    assert len(verdicts(merged)) == 3
    assert sorted(v for v, _ in verdicts(merged).values()) == ["accepted", "rejected", "rejected"]
    exudates = [x for x in merged.lesions.values() if x.lesion == "EX"]
    assert len(exudates) == sum(x.lesion == "EX" for x in two.lesions.values())
    assert np.array_equal(merged.labels["EX"] > 0, two.labels["EX"] > 0)
    lab.assert_consistent(merged)


def test_what_is_merged_is_left_as_it_is(lab) -> None:
    one, two = lab.start(lab.parts()), lab.start(lab.parts())
    one.reject(min(one.lesions))
    two.reject(sorted(two.lesions)[1])
    first, second = kept(one), kept(two)
    arrays = [x.labels[c].copy() for x in (first, second) for c in x.labels]
    merge_reviews([first, second])
    for array, again in zip(
        arrays, [x.labels[c] for x in (first, second) for c in x.labels], strict=True
    ):
        np.testing.assert_array_equal(array, again)
