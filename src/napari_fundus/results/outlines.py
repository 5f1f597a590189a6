"""The outlines of lesions as vectors along the edges of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def outline_vectors(
    pixels: npt.NDArray[np.int64], ids: npt.NDArray[Any], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Return the edges between lesions and what is not of them, straight runs in one piece.

    Parameters
    ----------
    pixels
        Flat indices, ascending.
    ids
        The lesion of each; those of 0 belong to none.
    shape
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        float32, shape (N, 2, 2): start and direction of each, along the edges of the pixels.
    """
    width = shape[1]
    pixels, ids = pixels[ids > 0], ids[ids > 0]
    row, col = np.divmod(pixels, width)
    lines = []
    for step, off, first, along, start in (
        (-width, row == 0, (row, col), (0, 1), (-0.5, -0.5)),
        (width, row == shape[0] - 1, (row, col), (0, 1), (0.5, -0.5)),
        (-1, col == 0, (col, row), (1, 0), (-0.5, -0.5)),
        (1, col == width - 1, (col, row), (1, 0), (-0.5, 0.5)),
    ):
        edge = np.flatnonzero(off | (_at(pixels, ids, pixels + step) != ids))
        edge = edge[np.lexsort((first[1][edge], first[0][edge]))]
        line, place = first[0][edge], first[1][edge]
        begins = np.ones(len(edge), np.bool_)
        begins[1:] = (
            (np.diff(line) != 0) | (np.diff(place) != 1) | (ids[edge][1:] != ids[edge][:-1])
        )
        heads = np.flatnonzero(begins)
        length = np.diff(heads, append=len(edge))
        at = edge[heads]
        starts = np.stack([row[at] + start[0], col[at] + start[1]], axis=1)
        lines.append(np.stack([starts, length[:, np.newaxis] * np.array(along)], axis=1))
    return np.concatenate(lines).astype(np.float32)


def _at(
    pixels: npt.NDArray[np.int64], ids: npt.NDArray[Any], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return the id at each of the flat indices `wanted`, 0 where there is none."""
    place = np.minimum(np.searchsorted(pixels, wanted), max(len(pixels) - 1, 0))
    return np.where(pixels[place] == wanted, ids[place], 0)
