"""What was done last in a review as plain values and arrays, so that undo outlives a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.review.commands import Command, LesionChange, PixelChange, RowChange
from napari_fundus.review.lesion import ReviewedLesion
from napari_fundus.review.serialization import (
    pack_lesions,
    pack_table,
    unpack_lesions,
    unpack_table,
)

_COMMANDS = 200
_PIXELS = 2_000_000
"""Most that is kept: a file is written every few seconds, and a stroke may paint a whole image."""


def trim_history(commands: Sequence[Command]) -> list[Command]:
    """Return the last commands, the newest last: as many as a file keeps."""
    newest = list(reversed(commands[-_COMMANDS:]))
    sizes = accumulate(sum(len(c.pixels) for c in command.pixels) for command in newest)
    kept = [command for command, size in zip(newest, sizes, strict=True) if size <= _PIXELS]
    return kept[::-1]


def pack_commands(
    commands: Sequence[Command],
) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.int64]]]:
    """Return commands as JSON values and arrays.

    Returns
    -------
    packed
        What :func:`unpack_commands` takes.
    arrays
        int64: ``"history pixels"``, shape (3, N), flat indices with values before and after;
        ``"history away"``, pixels of lesions that are in no labels.
    """
    lesions: list[ReviewedLesion] = []
    parts = [np.zeros((3, 0), np.int64)]

    def place(lesion: ReviewedLesion | None) -> int | None:
        if lesion is None:
            return None
        lesions.append(lesion)
        return len(lesions) - 1

    packed = []
    for command in commands:
        parts += [np.stack([c.pixels, c.before, c.after]).astype(np.int64) for c in command.pixels]
        packed.append(
            {
                "title": command.title,
                "focus": command.focus,
                "pixels": [[c.code, c.before.dtype.str, len(c.pixels)] for c in command.pixels],
                "rows": [
                    [
                        c.code,
                        c.position,
                        *(None if t is None else pack_table(t) for t in (c.before, c.after)),
                    ]
                    for c in command.rows
                ],
                "lesions": [[c.id, place(c.before), place(c.after)] for c in command.lesions],
            }
        )
    known, away = pack_lesions(lesions)
    arrays = {"history pixels": np.concatenate(parts, axis=1), "history away": away}
    return {"commands": packed, "lesions": known}, arrays


def unpack_commands(
    packed: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.int64]]
) -> list[Command]:
    """Return the commands that :func:`pack_commands` was given."""
    lesions = unpack_lesions(packed["lesions"], arrays["history away"])
    pixels = arrays["history pixels"]
    commands, start = [], 0
    for one in packed["commands"]:
        changes = []
        for code, kind, count in one["pixels"]:
            places, before, after = pixels[:, start : start + count]
            changes.append(PixelChange(code, places, before.astype(kind), after.astype(kind)))
            start += count
        rows = [
            RowChange(code, position, *(None if t is None else unpack_table(t) for t in tables))
            for code, position, *tables in one["rows"]
        ]
        about = [
            LesionChange(number, *(None if at is None else lesions[at] for at in places))
            for number, *places in one["lesions"]
        ]
        commands.append(
            Command(one["title"], one["focus"], tuple(changes), tuple(rows), tuple(about))
        )
    return commands
