"""Verdicts, moves and strokes change labels, tables and lesions alike, and can all be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.errors import FundusError
from napari_fundus.review.commands import CommandStack
from napari_fundus.review.session import Review

CODES = ("MA", "HE", "EX", "SE")


def first_of(review: Review, code: str) -> int:
    return min(x.id for x in review.lesions.values() if x.lesion == code)


def paint(review: Review, code: str, rows: slice, cols: slice, value: int):
    """Do to the labels what a brush does, and tell the review."""
    labels = review.labels[code]
    mask = np.zeros(labels.shape, np.bool_)
    mask[rows, cols] = True
    pixels = np.flatnonzero(mask)
    before = labels.reshape(-1)[pixels].copy()
    labels.reshape(-1)[pixels] = value
    return review.stroke(code, pixels, before)


def clear_place(review: Review, code: str) -> tuple[int, int]:
    """Return a place with nothing of the class within 4 pixels."""
    labels = review.labels[code]
    for row in range(5, labels.shape[0] - 5):
        for col in range(5, labels.shape[1] - 5):
            if not labels[row - 4 : row + 5, col - 4 : col + 5].any():
                return row, col
    raise AssertionError("no free place")


def test_accepting_changes_nothing_but_the_verdict(review, lab) -> None:
    before = lab.snapshot(review)
    one = first_of(review, "MA")
    review.accept(one)
    assert review.lesions[one].verdict == "accepted"
    np.testing.assert_array_equal(review.labels["MA"], before[0]["MA"])
    assert review.accept(one) is None  # said already
    assert len(review.stack) == 1


def test_a_rejected_lesion_leaves_labels_and_table(review, lab) -> None:
    one = first_of(review, "MA")
    area = int((review.labels["MA"] == one).sum())
    review.reject(one)
    assert not (review.labels["MA"] == one).any()
    assert one not in set(review.tables["MA"]["index"])
    assert len(review.lesions[one].pixels) == area
    lab.assert_consistent(review)


def test_a_rejected_lesion_that_is_accepted_comes_back_with_its_features(review, lab) -> None:
    one = first_of(review, "MA")
    before = lab.snapshot(review)
    review.reject(one)
    review.accept(one)
    np.testing.assert_array_equal(review.labels["MA"], before[0]["MA"])
    table, was = review.tables["MA"].set_index("index"), before[1]["MA"].set_index("index")
    assert table.loc[one].equals(was.loc[one])
    assert review.lesions[one].verdict == "accepted"


def test_a_relabelled_lesion_keeps_id_and_features(review, lab) -> None:
    one = first_of(review, "MA")
    row = review.tables["MA"].set_index("index").loc[one]
    review.relabel(one, "SE")
    moved = review.tables["SE"].set_index("index").loc[one]
    assert moved["lesion"] == "SE"
    assert moved["score"] == row["score"]
    assert one not in set(review.tables["MA"]["index"])
    lesion = review.lesions[one]
    assert (lesion.lesion, lesion.detected, lesion.verdict) == ("SE", "MA", "relabelled")
    lab.assert_consistent(review)


def test_relabelling_never_covers_another_lesion(review) -> None:
    one = first_of(review, "MA")
    pixels = review.pixels_of(review.lesions[one])
    he = first_of(review, "HE")
    review.labels["HE"][...] = 0
    taken = pixels[: len(pixels) // 2]
    review.labels["HE"].reshape(-1)[taken] = he
    review.relabel(one, "HE")
    flat = review.labels["HE"].reshape(-1)
    assert (flat[taken] == he).all()
    assert (flat[pixels[len(pixels) // 2 :]] == one).all()


def test_relabelling_to_a_class_without_labels_is_refused(lab) -> None:
    review = lab.start(lab.parts(codes=("MA", "EX")))
    with pytest.raises(FundusError, match="no labels of HE"):
        review.relabel(first_of(review, "MA"), "HE")


def test_a_new_stroke_draws_a_lesion_with_an_id_of_its_own(review, lab) -> None:
    row, col = clear_place(review, "MA")
    new = review.next_id
    command = paint(review, "MA", slice(row, row + 3), slice(col, col + 2), new)
    lesion = review.lesions[new]
    assert (lesion.verdict, lesion.detected, lesion.area) == ("drawn", None, 6)
    assert command.focus == new
    assert np.isnan(review.tables["MA"].set_index("index").loc[new, "score"])
    assert review.next_id == new + 1
    lab.assert_consistent(review)


def test_a_stroke_beside_a_lesion_adds_to_it(review, lab) -> None:
    row, col = clear_place(review, "MA")
    new = review.next_id
    paint(review, "MA", slice(row, row + 2), slice(col, col + 2), new)
    paint(review, "MA", slice(row, row + 3), slice(col + 1, col + 4), review.next_id)
    assert review.lesions[new].area == 2 * 2 + 3 * 3 - 2
    assert review.next_id == new + 1
    lab.assert_consistent(review)


def test_painting_with_an_id_of_another_class_draws_a_new_lesion(review, lab) -> None:
    row, col = clear_place(review, "HE")
    foreign, new = first_of(review, "MA"), review.next_id
    paint(review, "HE", slice(row, row + 2), slice(col, col + 2), foreign)
    assert (review.labels["HE"][row : row + 2, col : col + 2] == new).all()
    assert review.lesions[new].verdict == "drawn"
    lab.assert_consistent(review)


def test_erasing_a_part_edits_and_erasing_all_rejects(review, lab) -> None:
    one = first_of(review, "MA")
    top, left, bottom, right = review.lesions[one].box
    area = review.lesions[one].area
    paint(review, "MA", slice(top, top + 1), slice(left, right), 0)
    assert review.lesions[one].verdict == "edited"
    assert review.lesions[one].area < area
    row = review.tables["MA"].set_index("index").loc[one]
    assert row["area_px"] == review.lesions[one].area
    paint(review, "MA", slice(top, bottom), slice(left, right), 0)
    assert review.lesions[one].verdict == "rejected"
    lab.assert_consistent(review)
    review.undo()
    review.undo()
    assert review.lesions[one].area == area


def test_a_stroke_that_changes_nothing_is_no_command(review) -> None:
    row, col = clear_place(review, "MA")
    assert paint(review, "MA", slice(row, row + 1), slice(col, col + 1), 0) is None
    one = first_of(review, "MA")
    top, left, *_ = review.lesions[one].box
    inside = review.labels["MA"][top : top + 1, left : left + 2]
    before = inside.copy()
    # A new id painted on a lesion adds nothing to it.
    paint(review, "MA", slice(top, top + 1), slice(left, left + 2), review.next_id)
    np.testing.assert_array_equal(review.labels["MA"][top : top + 1, left : left + 2], before)


def test_candidates_of_another_detector_come_in_when_accepted(lab) -> None:
    review = lab.start(lab.parts(0), lab.parts(1))
    candidates = [x for x in review.lesions.values() if x.source]
    assert candidates
    assert all(not x.present and x.alone for x in candidates)
    before = lab.snapshot(review)
    free = next(x for x in candidates if not review.labels["HE"].reshape(-1)[x.pixels].any())
    one = candidates[0]
    review.accept(one.id)
    assert (review.labels[one.lesion].reshape(-1)[one.pixels] == one.id).all()
    assert review.lesions[one.id].verdict == "accepted"
    if free is not one:
        review.relabel(free.id, "HE")
    lab.assert_consistent(review)
    while review.undo() is not None:
        pass
    lab.assert_same(review, before)
    review.reject(one.id)
    np.testing.assert_array_equal(review.labels[one.lesion], before[0][one.lesion])
    assert review.lesions[one.id].verdict == "rejected"


def test_lesions_that_both_detectors_found_do_not_stand_alone(lab) -> None:
    parts = lab.parts(0)
    same = lab.start(parts, lab.parts(0))
    assert not any(x.alone for x in same.lesions.values())
    # A class that the other does not look for says nothing.
    fewer = lab.start(lab.parts(0), lab.parts(1, codes=("MA",)))
    assert not any(x.alone for x in fewer.lesions.values() if x.lesion != "MA")


step = st.one_of(
    st.tuples(st.sampled_from(["accept", "reject"]), st.integers(0, 60)),
    st.tuples(st.just("relabel"), st.integers(0, 60), st.sampled_from(CODES)),
    st.tuples(
        st.just("paint"),
        st.sampled_from(CODES),
        st.integers(0, 44),
        st.integers(0, 58),
        st.integers(1, 8),
        st.sampled_from(["new", "erase", "some"]),
        st.integers(0, 60),
    ),
    st.tuples(st.sampled_from(["undo", "redo"])),
)


def do(review: Review, action: tuple) -> None:
    known = sorted(review.lesions)
    match action:
        case "accept" | "reject" as what, which:
            getattr(review, what)(known[which % len(known)])
        case "relabel", which, code:
            review.relabel(known[which % len(known)], code)
        case "paint", code, row, col, size, how, which:
            value = {"new": review.next_id, "erase": 0, "some": known[which % len(known)]}[how]
            paint(review, code, slice(row, row + size), slice(col, col + size), value)
        case (what,):
            getattr(review, what)()


@settings(max_examples=50, deadline=None)
@given(actions=st.lists(step, min_size=1, max_size=16), two=st.booleans())
def test_undo_and_redo_of_anything_give_the_very_same_arrays_and_tables(actions, two, lab) -> None:
    review = lab.start(lab.parts(0), lab.parts(1) if two else None)
    states = [lab.snapshot(review)]
    for action in actions:
        before = len(review.stack)
        do(review, action)
        lab.assert_consistent(review)
        now = len(review.stack)
        if action[0] not in ("undo", "redo") and now > before:
            states[now:] = [lab.snapshot(review)]
        lab.assert_same(review, states[now])
    done = len(review.stack)
    for back in range(done - 1, -1, -1):
        review.undo()
        lab.assert_same(review, states[back])
    assert review.undo() is None
    for forth in range(1, len(states)):
        review.redo()
        lab.assert_same(review, states[forth])
    assert review.redo() is None


def test_a_command_holds_pixels_not_images(review) -> None:
    one = first_of(review, "MA")
    command = review.reject(one)
    assert command.nbytes < 100 * review.lesions[one].area


def test_what_was_undone_is_forgotten_with_the_next_command(review) -> None:
    one, two = sorted(review.lesions)[:2]
    review.reject(one)
    review.undo()
    assert review.stack.redo_title == f"Reject {review.lesions[one].lesion} {one}"
    review.accept(two)
    assert review.stack.redo_title is None
    assert review.redo() is None


def test_the_oldest_commands_are_forgotten_beyond_the_limit(review) -> None:
    review.stack = CommandStack(limit=3)
    for identity in sorted(review.lesions)[:5]:
        review.accept(identity)
    assert [review.undo() is not None for _ in range(4)] == [True, True, True, False]


def test_verdicts_are_told_for_the_file(review) -> None:
    one, two, three = sorted(review.lesions)[:3]
    review.accept(one)
    review.reject(two)
    review.relabel(three, "SE")
    told = {v.id: (v.lesion, v.verdict, v.detected) for v in review.verdicts()}
    assert told == {
        one: ("MA", "accepted", "MA"),
        two: ("MA", "rejected", "MA"),
        three: ("SE", "relabelled", "MA"),
    }
    assert all(0 <= v.score <= 1 for v in review.verdicts())
