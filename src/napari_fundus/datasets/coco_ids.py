"""Looking up COCO's images and categories by id, whether programs write numbers or text."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from napari_fundus.datasets.json_files import parse_whole

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """An id as compared.

    Attributes
    ----------
    text
        The whole number or the text that it is; ``""`` where that is not known exactly.
    rounded
        The nearest float of a number, by which ids that are not exact are compared.
    """

    text: str = ""
    rounded: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is an id at all."""
        return bool(self.text) or self.rounded is not None


def identity_of(value: Any) -> Identity:
    """Return the id that a value is: 1, 1.0 and ``"1"`` are one, as pandas and others write them.

    Floats from 2**53 on stand for several whole numbers, and text with leading zeros may have lost
    them elsewhere: neither has an exact text.
    """
    whole = parse_whole(value)
    if whole is not None:
        padded = isinstance(value, str) and re.match(r"\s*[+-]?0\d", value)
        rounded = float(whole) if whole.bit_length() < 1000 else None
        return Identity(value.strip() if padded else str(whole), rounded)
    if isinstance(value, float) and math.isfinite(value):
        return Identity("" if value.is_integer() else repr(value), value)
    return Identity(value.strip()) if isinstance(value, str) else Identity()


class ById(Generic[T]):
    """Entries by id; an id that stands for several different entries finds none of them."""

    def __init__(self) -> None:
        self._entries: list[tuple[Identity, T]] = []
        self._by_text: defaultdict[str, list[T]] = defaultdict(list)
        self._by_number: defaultdict[float, list[tuple[Identity, T]]] = defaultdict(list)

    def add(self, identity: Identity, entry: T) -> None:
        """Add an entry; equal ones of one id count once."""
        self._entries.append((identity, entry))
        if identity.text and entry not in self._by_text[identity.text]:
            self._by_text[identity.text].append(entry)
        if identity.rounded is not None:
            self._by_number[identity.rounded].append((identity, entry))

    def get(self, identity: Identity) -> T | None:
        """Return the entry of an id, or None where there is none, or not a single one."""
        found = self._by_text.get(identity.text, []) if identity.text else []
        if not found and identity.rounded is not None:
            for other, entry in self._by_number.get(identity.rounded, []):
                if _may_be_equal(identity, other) and entry not in found:
                    found = [*found, entry]
        return found[0] if len(found) == 1 else None

    def ambiguous(self) -> list[str]:
        """Return the exact ids that stand for several different entries."""
        return [text for text, entries in self._by_text.items() if len(entries) > 1]

    def __iter__(self) -> Iterator[T]:
        """Yield the entries that an id finds."""
        found = (self.get(identity) for identity, _ in self._entries)
        return (entry for entry in found if entry is not None)


def _may_be_equal(one: Identity, other: Identity) -> bool:
    """Tell whether two ids of one rounded number may be the same; two exact ones are not."""
    return not (_is_exact(one) and _is_exact(other))


def _is_exact(identity: Identity) -> bool:
    return re.fullmatch(r"-?(0|[1-9]\d*)", identity.text) is not None
