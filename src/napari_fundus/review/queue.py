"""In which order lesions are gone through, and where in it the reviewer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from napari_fundus.lesions import DR_LESIONS
from napari_fundus.review.lesion import ReviewedLesion

ORDERS: Mapping[str, str] = {
    "highest": "highest score",
    "lowest": "lowest score",
    "threshold": "nearest to the threshold",
    "class": "class by class",
    "disagreement": "found by one detector only",
}
"""Name of an order to what a person reads after "First:"."""

_CLASSES = {str(code): number for number, code in enumerate(DR_LESIONS)}


def _score(lesion: ReviewedLesion) -> float:
    return -1.0 if lesion.score != lesion.score else lesion.score


def _far(lesion: ReviewedLesion) -> float:
    distance = abs(lesion.score - lesion.threshold)
    return float("inf") if distance != distance else distance


def _low(lesion: ReviewedLesion) -> float:
    return float("inf") if lesion.score != lesion.score else lesion.score


_KEYS: Mapping[str, Callable[[ReviewedLesion], tuple[Any, ...]]] = {
    "threshold": lambda x: (_far(x), x.id),
    "highest": lambda x: (-_score(x), x.id),
    "lowest": lambda x: (_low(x), x.id),
    "class": lambda x: (_CLASSES.get(x.lesion, 99), x.lesion, -_score(x), x.id),
    "disagreement": lambda x: (not x.alone, -_score(x), x.id),
}


def sort_lesions(lesions: Iterable[ReviewedLesion], order: str) -> list[int]:
    """Return the ids of lesions in an order out of `ORDERS`.

    Ties go by falling score where that is not the order itself, then by id; lesions without a
    score, which were drawn, come last.
    """
    return [lesion.id for lesion in sorted(lesions, key=_KEYS[order])]


class ReviewQueue:
    """The lesions in their order, and a place in it.

    Parameters
    ----------
    lesions
        All lesions by id: looked up anew each time, so it may change.
    order
        Out of `ORDERS`.
    """

    def __init__(self, lesions: Mapping[int, ReviewedLesion], order: str = "highest") -> None:
        self._lesions = lesions
        self.order = order
        self.lesion: str | None = None
        self.ids: list[int] = []
        self.position = 0
        self.set_order(order)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def current(self) -> ReviewedLesion | None:
        """The lesion that is looked at."""
        return self._lesions.get(self.ids[self.position]) if self.ids else None

    def set_order(self, order: str, lesion: str | None = None) -> None:
        """Put the lesions in another order, or only those of one class; the place stays."""
        current = self.ids[self.position] if self.ids else None
        self.order, self.lesion = order, lesion
        chosen = [x for x in self._lesions.values() if lesion in (None, x.lesion)]
        self.ids = sort_lesions(chosen, order)
        known = current is not None and current in self.ids
        self.position = self.ids.index(current) if known and current is not None else 0

    def refresh(self) -> None:
        """Take up lesions that were drawn, at the end, and drop those that are no more."""
        kept = [i for i in self.ids if i in self._lesions]
        have = set(kept)
        more = [
            x
            for x in self._lesions.values()
            if x.id not in have and self.lesion in (None, x.lesion)
        ]
        current = self.ids[self.position] if self.ids else None
        self.ids = kept + sort_lesions(more, self.order)
        self.position = (
            self.ids.index(current)
            if current is not None and current in self._lesions
            else max(min(self.position, len(self.ids) - 1), 0)
        )

    def select(self, identity: int) -> bool:
        """Go to a lesion; whether it is in the queue."""
        if identity not in self.ids:
            return False
        self.position = self.ids.index(identity)
        return True

    def step(self, count: int) -> None:
        """Go forwards or backwards, and around the ends."""
        if self.ids:
            self.position = (self.position + count) % len(self.ids)

    def go_to_next_unjudged(self) -> bool:
        """Go to the next lesion without a verdict; whether there is one."""
        for count in range(1, len(self.ids) + 1):
            index = (self.position + count) % len(self.ids)
            if self._lesions[self.ids[index]].verdict is None:
                self.position = index
                return True
        return False
