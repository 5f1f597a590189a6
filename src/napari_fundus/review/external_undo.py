"""Follows an undo or redo that a viewer's own history does to labels under review."""

from __future__ import annotations

import numpy as np

from napari_fundus.review.commands import Command
from napari_fundus.review.session import Review


def follow_external_undo(review: Review, code: str) -> Command | None:
    """Bring a review up to date with a class's labels after something else changed them back.

    Parameters
    ----------
    review
        The review, whose lesions and tables do not know of it.
    code
        Class of the labels.

    Returns
    -------
    command
        What was taken back or done again; where the pixels are those of neither, the stroke that
        leads to them; None if they are as the review knows them.
    """
    undone, redone = review.stack.next_undo, review.stack.next_redo
    if undone is not None and _shows(review, undone.inverse(), code):
        return review.undo()
    if redone is not None and _shows(review, redone, code):
        return review.redo()
    done = (c for command in reversed(review.stack.done) for c in reversed(command.pixels))
    last = next((change for change in done if change.code == code), None)
    if last is None:
        return None
    changed = review.labels[code].reshape(-1)[last.pixels] != last.after
    return review.stroke(code, last.pixels[changed], last.after[changed])


def _shows(review: Review, command: Command, code: str) -> bool:
    """Return whether a class's labels are as a command about them alone leaves them."""
    flat = review.labels[code].reshape(-1)
    return bool(command.pixels) and all(
        change.code == code and np.array_equal(flat[change.pixels], change.after)
        for change in command.pixels
    )
