"""The orders of the queue, and moving in it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.queue import ORDERS, ReviewQueue, sort_lesions


def lesion(identity: int, code: str = "MA", score: float = 0.5, **more) -> ReviewedLesion:
    return ReviewedLesion(
        identity, code, code, 4, (1.0, 1.0), (0, 0, 2, 2), score=score, threshold=0.5, **more
    )


LESIONS = [
    lesion(1, "EX", 0.9),
    lesion(2, "MA", 0.55, alone=True),
    lesion(3, "HE", 0.7),
    lesion(4, "MA", 0.6),
    lesion(5, "MA", float("nan")),
    lesion(6, "SE", 0.52, alone=True),
]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("highest", [1, 3, 4, 2, 6, 5]),
        ("lowest", [6, 2, 4, 3, 1, 5]),
        ("threshold", [6, 2, 4, 3, 1, 5]),
        ("class", [4, 2, 5, 3, 1, 6]),
        ("disagreement", [2, 6, 1, 3, 4, 5]),
    ],
)
def test_orders(order, expected) -> None:
    assert sort_lesions(LESIONS, order) == expected


def test_the_threshold_may_differ_by_class() -> None:
    from dataclasses import replace

    low = replace(lesion(7, "EX", 0.2), threshold=0.2)
    assert sort_lesions([*LESIONS, low], "threshold")[0] == 7


def test_every_order_is_tested() -> None:
    assert set(ORDERS) == {"highest", "lowest", "threshold", "class", "disagreement"}


def test_the_order_of_equal_lesions_is_that_of_their_ids() -> None:
    rng = np.random.default_rng(0)
    many = [lesion(int(i)) for i in rng.permutation(50)]
    assert sort_lesions(many, "highest") == list(range(50))


@pytest.fixture
def queue() -> ReviewQueue:
    return ReviewQueue({x.id: x for x in LESIONS}, "highest")


def test_steps_go_around_the_ends(queue) -> None:
    queue.step(-1)
    assert queue.current.id == 5
    queue.step(1)
    assert queue.current.id == 1


def test_another_order_keeps_the_place(queue) -> None:
    queue.select(4)
    queue.set_order("class")
    assert queue.current.id == 4
    queue.set_order("class", "EX")
    assert queue.ids == [1]
    assert queue.current.id == 1


def test_the_next_open_lesion_skips_those_judged() -> None:
    judged = {2, 3, 4}
    lesions = {
        x.id: lesion(x.id, x.lesion, x.score, verdict="accepted" if x.id in judged else None)
        for x in LESIONS
    }
    queue = ReviewQueue(lesions, "highest")
    assert queue.go_to_next_unjudged()
    assert queue.current.id == 6
    for identity in lesions:
        lesions[identity] = lesion(identity, verdict="rejected")
    assert not queue.go_to_next_unjudged()
    assert queue.current.id == 6


def test_what_is_drawn_comes_at_the_end_and_what_is_no_more_goes() -> None:
    lesions = {x.id: x for x in LESIONS}
    queue = ReviewQueue(lesions, "highest")
    queue.select(3)
    lesions[9] = lesion(9, score=0.99)
    del lesions[1]
    queue.refresh()
    assert queue.ids == [3, 4, 2, 6, 5, 9]
    assert queue.current.id == 3


def test_an_empty_queue_has_no_current_lesion() -> None:
    queue = ReviewQueue({}, "highest")
    queue.step(1)
    assert queue.current is None
    assert not queue.go_to_next_unjudged()
    assert not queue.select(1)
