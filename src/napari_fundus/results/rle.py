"""Masks as run lengths, as COCO counts and compresses them; whole images are never laid out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_FIRST, _LAST = 48, 48 + 63
"""Characters of compressed run lengths: each holds six bits above 48."""

_WIDEST = 8
"""Characters of one number; COCO's own counts, of 32 bits, need at most seven."""


def encode_rle(mask: npt.NDArray[np.bool_], offset: tuple[int, int], shape: tuple[int, int]) -> str:
    """Return the run lengths of a mask in an image, as COCO compresses them.

    Parameters
    ----------
    mask
        bool, shape (h, w): a window of the image.
    offset
        Row and column of the window's first pixel.
    shape
        Height and width of the image.

    Notes
    -----
    Pixels are counted down the columns; runs of 0 and 1 take turns, beginning with 0. From the
    third run on, the difference to the run two places before is written, five bits a character,
    lowest first, with a sixth bit that says whether more follow.
    """
    row, col = offset
    columns = np.pad(mask, ((1, 1), (0, 0))).T.astype(np.int8)
    along, at = np.nonzero(np.diff(columns, axis=1))
    edges = ((along + col) * shape[0] + at + row).tolist()
    # Runs that go on from the foot of one column to the head of the next are one run.
    joined: list[int] = []
    for edge in edges:
        if joined and joined[-1] == edge:
            joined.pop()
        else:
            joined.append(edge)
    bounds = [0, *joined, shape[0] * shape[1]]
    runs = [stop - start for start, stop in pairwise(bounds)]
    if runs[-1] == 0:
        runs.pop()
    return "".join(
        _characters(run - runs[index - 2] if index > 2 else run) for index, run in enumerate(runs)
    )


def decompress_rle_counts(text: str) -> list[int]:
    """Return the run lengths that a compressed text holds; see :func:`encode_rle`.

    Raises
    ------
    ValueError
        The text is not one that COCO compresses to: a character is foreign, or it ends too early.

    Examples
    --------
    >>> decompress_rle_counts(encode_rle(np.ones((2, 3), np.bool_), (1, 0), (4, 4)))
    [1, 2, 2, 2, 2, 2, 5]
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character)
        if not _FIRST <= code <= _LAST:
            raise ValueError(f"{character!r} does not occur in run lengths")
        bits = code - _FIRST
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift >= 5 * _WIDEST:
                raise ValueError("a run length is larger than any picture")
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("the text ends within a run length")
    return runs


def decode_rle(
    runs: str | Sequence[int], shape: tuple[int, int]
) -> tuple[int, int, npt.NDArray[np.bool_]] | None:
    """Return the pixels that run lengths stand for, in their box alone.

    Parameters
    ----------
    runs
        Run lengths, compressed or not; those of the last pixels may be left out.
    shape
        Height and width of the image.

    Returns
    -------
    row, col
        First row and column of the box.
    mask
        bool, shape (h, w); None in place of all three where no pixel is set.

    Raises
    ------
    ValueError
        They are no run lengths of such an image.

    Examples
    --------
    >>> row, col, mask = decode_rle([5, 2, 2, 2, 5], (4, 4))
    >>> row, col, mask.shape, int(mask.sum())
    (1, 1, (2, 2), 4)
    """
    height, width = shape
    counts = decompress_rle_counts(runs) if isinstance(runs, str) else list(runs)
    # Numbers of any size are added up by Python before NumPy's of 64 bits see them.
    if any(not 0 <= count <= height * width for count in counts):
        raise ValueError("a run length is negative or larger than the picture")
    if sum(counts) > height * width:
        raise ValueError("the run lengths are those of a larger picture")
    bounds = np.cumsum(np.array(counts, np.int64))
    starts, stops = bounds[0:-1:2], bounds[1::2]
    some = stops > starts
    starts, stops = starts[some], stops[some]
    if not len(starts):
        return None
    col, last = int(starts[0]) // height, int(stops[-1] - 1) // height
    spans = bool((starts // height != (stops - 1) // height).any())
    row = 0 if spans else int((starts % height).min())
    tall = height if spans else int(((stops - 1) % height).max()) + 1 - row
    change = np.zeros((last + 1 - col) * tall + 1, np.int8)
    first = (starts // height - col) * tall + starts % height - row
    # Where one run ends and the next begins at once, both changes count.
    np.add.at(change, first, 1)
    np.add.at(change, first + stops - starts, -1)
    mask = np.cumsum(change[:-1], dtype=np.int8).reshape(-1, tall).T.astype(np.bool_)
    rows = np.flatnonzero(mask.any(axis=1)) if spans else np.array([0, tall - 1])
    return row + int(rows[0]), col, np.ascontiguousarray(mask[rows[0] : rows[-1] + 1])


def _characters(number: int) -> str:
    text = ""
    while True:
        bits, number = number & 31, number >> 5
        done = number == (-1 if bits & 16 else 0)
        text += chr((bits if done else bits | 32) + _FIRST)
        if done:
            return text
