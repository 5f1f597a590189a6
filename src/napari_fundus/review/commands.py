"""What a reviewer does, as commands that can be undone: sparse differences, never whole images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.review.lesion import ReviewedLesion


@dataclass(frozen=True, eq=False)
class PixelChange:
    """Pixels of one class's labels.

    Attributes
    ----------
    code
        Class.
    pixels
        int64, flat indices.
    before, after
        Values, as long as `pixels`.
    """

    code: str
    pixels: npt.NDArray[np.int64]
    before: npt.NDArray[Any]
    after: npt.NDArray[Any]

    def inverse(self) -> PixelChange:
        """Return the change back."""
        return PixelChange(self.code, self.pixels, self.after, self.before)


@dataclass(frozen=True, eq=False)
class RowChange:
    """One row of one class's table: put in, taken out, or replaced.

    Attributes
    ----------
    code
        Class.
    position
        Of the row, counted from 0.
    before, after
        The row; None where there is none.
    """

    code: str
    position: int
    before: pd.DataFrame | None
    after: pd.DataFrame | None

    def inverse(self) -> RowChange:
        """Return the change back."""
        return RowChange(self.code, self.position, self.after, self.before)


@dataclass(frozen=True, eq=False)
class LesionChange:
    """What is known of one lesion; None before it was drawn."""

    id: int
    before: ReviewedLesion | None
    after: ReviewedLesion | None

    def inverse(self) -> LesionChange:
        """Return the change back."""
        return LesionChange(self.id, self.after, self.before)


@dataclass(frozen=True, eq=False)
class Command:
    """One thing that a reviewer did.

    Attributes
    ----------
    title
        For people, such as ``"Reject MA 12"``.
    focus
        Id of the lesion that it is about; None for none.
    pixels, rows, lesions
        What it changes, in this order of time within each.
    """

    title: str
    focus: int | None = None
    pixels: tuple[PixelChange, ...] = ()
    rows: tuple[RowChange, ...] = ()
    lesions: tuple[LesionChange, ...] = ()

    def inverse(self) -> Command:
        """Return the command that takes it back."""
        return Command(
            self.title,
            self.focus,
            tuple(change.inverse() for change in reversed(self.pixels)),
            tuple(change.inverse() for change in reversed(self.rows)),
            tuple(change.inverse() for change in reversed(self.lesions)),
        )

    @property
    def nbytes(self) -> int:
        """Memory of the pixels."""
        return sum(c.pixels.nbytes + c.before.nbytes + c.after.nbytes for c in self.pixels)


class CommandStack:
    """What was done and undone, one stack for everything.

    Parameters
    ----------
    limit
        Commands kept; the oldest are forgotten first.
    """

    def __init__(self, limit: int = 2000) -> None:
        self._done: deque[Command] = deque(maxlen=limit)
        self._undone: list[Command] = []

    def __len__(self) -> int:
        return len(self._done)

    @property
    def done(self) -> tuple[Command, ...]:
        """What can be undone, the newest last."""
        return tuple(self._done)

    @property
    def next_undo(self) -> Command | None:
        """The command that would be undone."""
        return self._done[-1] if self._done else None

    @property
    def next_redo(self) -> Command | None:
        """The command that would be done again."""
        return self._undone[-1] if self._undone else None

    def restore(self, done: Iterable[Command]) -> None:
        """Take up commands that were carried out before, the newest last."""
        self._done.clear()
        self._done.extend(done)
        self._undone.clear()

    @property
    def undo_title(self) -> str | None:
        """What would be undone."""
        return self.next_undo.title if self.next_undo else None

    @property
    def redo_title(self) -> str | None:
        """What would be done again."""
        return self.next_redo.title if self.next_redo else None

    def push(self, command: Command) -> None:
        """Keep a command that was carried out; what was undone before is forgotten."""
        self._done.append(command)
        self._undone.clear()

    def undo(self) -> Command | None:
        """Return the command that takes the last one back; None if there is none."""
        if not self._done:
            return None
        command = self._done.pop()
        self._undone.append(command)
        return command.inverse()

    def redo(self) -> Command | None:
        """Return the command that was undone last; None if there is none."""
        if not self._undone:
            return None
        command = self._undone.pop()
        self._done.append(command)
        return command


def replace_rows(table: pd.DataFrame, change: RowChange) -> pd.DataFrame:
    """Return the table after a change: same columns and dtypes, a fresh index."""
    start = change.position
    stop = start + (0 if change.before is None else len(change.before))
    columns = {}
    for name, kind in table.dtypes.items():
        values = table[name].to_numpy()
        middle = [] if change.after is None else [change.after[name].to_numpy()]
        joined = np.concatenate([values[:start], *middle, values[stop:]])
        columns[name] = pd.Series(joined).astype(kind)
    return pd.DataFrame(columns)
