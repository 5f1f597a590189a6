"""The state of a review: labels, tables and verdicts, changed by commands that can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.datasets.corrections import LesionVerdict, Verdict
from napari_fundus.errors import FundusError
from napari_fundus.review.commands import (
    Command,
    CommandStack,
    LesionChange,
    PixelChange,
    RowChange,
    replace_rows,
)
from napari_fundus.review.lesion import (
    ReviewedLesion,
    measure_pixels,
    new_row,
    pixels_in_box,
    table_measurements,
)
from napari_fundus.review.strokes import resolve_ids, stroke_command

LabelArray = npt.NDArray[Any]
WritePixels = Callable[[str, npt.NDArray[np.int64], npt.NDArray[Any]], None]


class Review:
    """Labels, tables and verdicts of one image.

    Parameters
    ----------
    labels
        Class code to labels: integer, shape (H, W), changed in place. Ids are unique over all
        classes.
    tables
        Class code to features, with the column ``index``.
    lesions
        All lesions, those of another detector included.
    write
        Sets pixels: called with class code, flat indices and values. By default they are written
        into `labels`; a window lets the layer do it, so that it shows them.
    """

    def __init__(
        self,
        labels: Mapping[str, LabelArray],
        tables: Mapping[str, pd.DataFrame],
        lesions: Iterable[ReviewedLesion],
        *,
        write: WritePixels | None = None,
    ) -> None:
        self.labels, self.tables = dict(labels), dict(tables)
        self.lesions = {lesion.id: lesion for lesion in lesions}
        self.stack = CommandStack()
        self.write = write or self._write

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = next(iter(self.labels.values())).shape
        return height, width

    @property
    def next_id(self) -> int:
        """The id of the next lesion that is drawn."""
        return max(self.lesions, default=0) + 1

    @property
    def counts(self) -> Counter[str]:
        """Number of lesions by verdict, and ``"left"`` for those without."""
        return Counter(str(lesion.verdict or "left") for lesion in self.lesions.values())

    @property
    def begun(self) -> bool:
        """Whether anything was done that was not undone."""
        return len(self.stack) > 0 or any(x.verdict is not None for x in self.lesions.values())

    def verdicts(self) -> list[LesionVerdict]:
        """Return what was said, for the file of corrections."""
        return [
            LesionVerdict(
                id=lesion.id,
                lesion=lesion.lesion,
                verdict=lesion.verdict,
                detected=lesion.detected,
                score=lesion.score if np.isfinite(lesion.score) else None,
            )
            for lesion in self.lesions.values()
            if lesion.verdict is not None
        ]

    def add_class(self, code: str, labels: LabelArray, table: pd.DataFrame) -> None:
        """Add a class that the result does not have; without lesions yet."""
        self.labels[code], self.tables[code] = labels, table

    def pixels_of(self, lesion: ReviewedLesion) -> npt.NDArray[np.int64]:
        """Return the flat indices of a lesion's pixels, in the labels or not."""
        if lesion.pixels is not None:
            return lesion.pixels
        return pixels_in_box(self.labels[lesion.lesion], lesion.id, lesion.box)

    def at(self, row: float, col: float, *, reach: int = 6) -> ReviewedLesion | None:
        """Return the lesion at a place in pixels, or within `reach` of it; the smallest of many."""
        height, width = self.shape
        y, x = round(row), round(col)
        if not (0 <= y < height and 0 <= x < width):
            return None
        for far in (0, reach):
            top, left = max(y - far, 0), max(x - far, 0)
            window = np.s_[top : y + far + 1, left : x + far + 1]
            ids = {int(i) for a in self.labels.values() for i in np.unique(a[window]) if i}
            near = [self.lesions[i] for i in ids if i in self.lesions]
            near += [
                lesion
                for lesion in self.lesions.values()
                if not lesion.present
                and lesion.box[0] - far <= y < lesion.box[2] + far
                and lesion.box[1] - far <= x < lesion.box[3] + far
            ]
            if near:
                return min(near, key=lambda lesion: (not lesion.present, lesion.area))
        return None

    def accept(self, identity: int) -> Command | None:
        """Say that a lesion is right; one that was rejected, or is a candidate, comes in."""
        lesion = self.lesions[identity]
        title = f"Accept {lesion.lesion} {identity}"
        if lesion.present:
            return self._judge(title, lesion, _kept(lesion))
        return self._put(title, lesion, lesion.lesion)

    def adopt(
        self, identity: int, other: ReviewedLesion, pixels: npt.NDArray[np.int64]
    ) -> Command | None:
        """Judge a lesion as another review has judged it: its class, pixels and verdict.

        Parameters
        ----------
        identity
            Of the lesion in this review.
        other
            The same lesion in the other review, with a verdict.
        pixels
            Its flat indices there.
        """
        lesion = self.lesions[identity]
        if other.verdict is None or not other.present:
            return self.reject(identity)
        title = f"{other.verdict.capitalize()} {other.lesion} {identity}"
        same = lesion.present and lesion.lesion == other.lesion
        if same and np.array_equal(self.pixels_of(lesion), pixels):
            return self._judge(title, lesion, other.verdict)
        return self._put(title, lesion, other.lesion, pixels=pixels, verdict=other.verdict)

    def reject(self, identity: int) -> Command | None:
        """Say that there is no lesion; its pixels and its row go."""
        lesion = self.lesions[identity]
        title = f"Reject {lesion.lesion} {identity}"
        if not lesion.present:
            return self._judge(title, lesion, "rejected")
        taken, pixels = self._take(lesion)
        after = replace(taken, verdict="rejected")
        change = LesionChange(identity, lesion, after)
        return self._do(Command(title, identity, (pixels,), self._row_out(lesion), (change,)))

    def relabel(self, identity: int, code: str) -> Command | None:
        """Say that a lesion is of another class: it goes there with id and features.

        Pixels that a lesion of that class covers already stay that one's.

        Raises
        ------
        FundusError
            There are no labels of that class; see :meth:`add_class`.
        """
        lesion = self.lesions[identity]
        if code not in self.labels:
            raise FundusError(f"There are no labels of {code} to move the lesion to.")
        if code == lesion.lesion:
            return self.accept(identity)
        title = f"Relabel {lesion.lesion} {identity} as {code}"
        return self._put(title, lesion, code)

    def stroke(
        self, code: str, pixels: npt.NDArray[np.int64], before: npt.NDArray[Any]
    ) -> Command | None:
        """Take note of what a person painted or erased in a layer; the labels have it already.

        Parameters
        ----------
        code
            Class.
        pixels
            Flat indices, each once.
        before
            Values before the stroke.
        """
        flat = self.labels[code].reshape(-1)
        after = resolve_ids(self.labels[code], self.lesions, code, pixels, before)
        moved = after != flat[pixels]
        if moved.any():
            self.write(code, pixels[moved], after[moved])
        changed = after != before
        if not changed.any():
            return None
        own = PixelChange(code, pixels[changed], before[changed], after[changed])
        return self._do(
            stroke_command(self.labels[code], self.tables[code], self.lesions, own), written=True
        )

    def undo(self) -> Command | None:
        """Take the last command back, and return how."""
        return self._apply(self.stack.undo())

    def redo(self) -> Command | None:
        """Do again what was undone last, and return it."""
        return self._apply(self.stack.redo())

    def _judge(self, title: str, lesion: ReviewedLesion, verdict: Verdict) -> Command | None:
        if verdict == lesion.verdict:
            return None
        change = LesionChange(lesion.id, lesion, replace(lesion, verdict=verdict))
        return self._do(Command(title, lesion.id, lesions=(change,)))

    def _put(
        self,
        title: str,
        lesion: ReviewedLesion,
        code: str,
        *,
        pixels: npt.NDArray[np.int64] | None = None,
        verdict: Verdict | None = None,
    ) -> Command:
        """Write a lesion into a class's labels and table, out of where it was."""
        taken, out = self._take(lesion) if lesion.present else (lesion, None)
        wanted = self.pixels_of(taken) if pixels is None else pixels
        values = self.labels[code].reshape(-1)[wanted]
        free = wanted[(values == 0) | (values == lesion.id)]
        moved = replace(taken, lesion=code)
        after = replace(moved, verdict=verdict or _kept(replace(moved, verdict=None)))
        changes = [] if out is None else [out]
        rows = list(self._row_out(lesion)) if lesion.present else []
        if len(free):
            area, centroid, box = measure_pixels(free, self.shape[1])
            after = replace(after, area=area, centroid=centroid, box=box, pixels=None, row=None)
            kind = self.labels[code].dtype
            value = np.full(len(free), lesion.id, kind)
            changes.append(PixelChange(code, free, np.zeros(len(free), kind), value))
            rows.append(self._row_in(after, taken.row))
        else:  # another lesion of that class covers all of it: the two are one
            after = replace(after, row=taken.row)
        change = LesionChange(lesion.id, lesion, after)
        return self._do(Command(title, lesion.id, tuple(changes), tuple(rows), (change,)))

    def _take(self, lesion: ReviewedLesion) -> tuple[ReviewedLesion, PixelChange]:
        """Return a lesion as it is out of the labels, and the change that takes it out."""
        pixels = self.pixels_of(lesion)
        kind = self.labels[lesion.lesion].dtype
        before = np.full(len(pixels), lesion.id, kind)
        change = PixelChange(lesion.lesion, pixels, before, np.zeros(len(pixels), kind))
        found = self._row_of(lesion)
        row = None if found is None else self.tables[lesion.lesion].iloc[found : found + 1]
        return replace(lesion, pixels=pixels, row=row), change

    def _row_of(self, lesion: ReviewedLesion) -> int | None:
        indices = np.flatnonzero(self.tables[lesion.lesion]["index"].to_numpy() == lesion.id)
        return int(indices[0]) if len(indices) else None

    def _row_out(self, lesion: ReviewedLesion) -> tuple[RowChange, ...]:
        index = self._row_of(lesion)
        if index is None:
            return ()
        row = self.tables[lesion.lesion].iloc[index : index + 1]
        return (RowChange(lesion.lesion, index, row, None),)

    def _row_in(self, lesion: ReviewedLesion, known: pd.DataFrame | None) -> RowChange:
        """Return the change that puts a lesion's row at the end; what is `known` of it is kept."""
        table = self.tables[lesion.lesion]
        row = new_row(table, lesion)
        if known is not None:
            own = {"index", "lesion"}
            if int(lesion.area) != int(known.get("area_px", pd.Series([lesion.area])).iloc[0]):
                own |= set(table_measurements(lesion))
            for name in [n for n in table.columns if n in known.columns and n not in own]:
                row[name] = pd.Series(known[name].to_numpy()).astype(table[name].dtype)
        return RowChange(lesion.lesion, len(table), None, row)

    def _do(self, command: Command, *, written: bool = False) -> Command:
        self._apply(command, written=written)
        self.stack.push(command)
        return command

    def _apply(self, command: Command | None, *, written: bool = False) -> Command | None:
        if command is None:
            return None
        for pixels in () if written else command.pixels:
            self.write(pixels.code, pixels.pixels, pixels.after)
        for row in command.rows:
            self.tables[row.code] = replace_rows(self.tables[row.code], row)
        for change in command.lesions:
            if change.after is None:
                del self.lesions[change.id]
            else:
                self.lesions[change.id] = change.after
        return command

    def _write(self, code: str, pixels: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        self.labels[code].reshape(-1)[pixels] = values


def _kept(lesion: ReviewedLesion) -> Verdict:
    """Return what it means to let a lesion stand as it now is."""
    if lesion.verdict in ("relabelled", "drawn", "edited"):
        return lesion.verdict
    if lesion.detected is None:
        return "drawn"
    return "accepted" if lesion.detected == lesion.lesion else "relabelled"
