"""At which thresholds components of a map appear and merge: what an exact FROC is counted from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["false_component_events"]

# The half of the eight neighbours that lies ahead in reading order, as (row, column) steps.
_AHEAD = ((0, 1), (1, -1), (1, 0), (1, 1))


def false_component_events(
    probability: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_], *, lowest: float = 0.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the values at which false components appear and vanish as a threshold falls.

    The number of 8-connected components of ``probability > t`` that hold no pixel of `truth` is
    ``(appear > t).sum() - (vanish > t).sum()``, for every ``t >= lowest`` at once.

    Parameters
    ----------
    probability
        float32, shape (H, W).
    truth
        bool, shape (H, W).
    lowest
        Pixels at or below it are not looked at.

    Returns
    -------
    appear, vanish
        float32: peaks of components, and levels at which one merges with another or reaches the
        truth. `vanish` is never longer than `appear`.

    Notes
    -----
    Each pixel first climbs to the local maximum above it, by its highest neighbour; those maxima
    are where components appear. The levels at which two of them join are the edges of a maximum
    spanning tree over the maxima, to which one more node is added that stands for the truth and is
    joined to every true pixel at that pixel's value. A tree edge above t takes away one component,
    and all that touch the truth are joined to its node, so what is left are the false ones.
    """
    none = np.empty(0, np.float32)
    candidates = probability > np.float32(lowest)
    rows = np.flatnonzero(candidates.any(axis=1))
    if not len(rows):
        return none, none
    cols = np.flatnonzero(candidates.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    candidates, probability, truth = candidates[box], probability[box], truth[box]

    # Ranks replace values: 1 is the lowest candidate, 0 no candidate. No two are equal, so that
    # plateaus need no care.
    places = np.flatnonzero(candidates)
    order = np.argsort(probability.ravel()[places], kind="stable")
    count = len(places)
    values = np.empty(count + 1, np.float32)
    values[0] = lowest
    values[1:] = probability.ravel()[places[order]]
    rank = np.zeros(candidates.shape, np.int32)
    rank.ravel()[places[order]] = np.arange(1, count + 1, dtype=np.int32)

    summit = _climb(rank, count)
    low, high, level = _passes(rank, summit)
    true_ranks = rank[truth]
    true_ranks = true_ranks[true_ranks > 0]
    low = np.concatenate([low, np.zeros(len(true_ranks), np.int32)])
    high = np.concatenate([high, summit[true_ranks]])
    level = np.concatenate([level, true_ranks])

    summits = np.flatnonzero(summit == np.arange(count + 1))  # 0, the truth's node, is the first
    node = np.zeros(count + 1, np.int32)
    node[summits] = np.arange(len(summits))
    joins = values[_spanning_tree(node[low], node[high], level, len(summits), count)]
    return values[summits[1:]], joins


def _climb(rank: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int32]:
    """Return, for each rank, the rank of the local maximum that steepest ascent leads to."""
    best = rank.copy()
    for step in _AHEAD:
        here, there = _neighbours(step)
        np.maximum(best[here], rank[there], out=best[here])
        np.maximum(best[there], rank[here], out=best[there])
    summit = np.arange(count + 1, dtype=np.int32)
    inside = rank > 0
    summit[rank[inside]] = best[inside]
    while True:
        further = summit[summit]
        if np.array_equal(further, summit):
            return summit
        summit = further


def _passes(
    rank: npt.NDArray[np.int32], summit: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return where pixels of two summits touch: both summits, and the lower pixel's rank."""
    own = summit[rank]
    found: list[tuple[Any, Any, Any]] = []
    for step in _AHEAD:
        here, there = _neighbours(step)
        a, b = own[here], own[there]
        border = (a != b) & (a > 0) & (b > 0)
        found.append((a[border], b[border], np.minimum(rank[here][border], rank[there][border])))
    low, high, level = (np.concatenate(part) for part in zip(*found, strict=True))
    return np.minimum(low, high), np.maximum(low, high), level


def _neighbours(step: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return slices that pair each pixel with the one `step` ahead."""
    down, right = step
    here = slice(None, -down or None), slice(max(-right, 0), -right if right > 0 else None)
    there = slice(down, None), slice(max(right, 0), right if right < 0 else None)
    return here, there


def _spanning_tree(
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
    level: npt.NDArray[np.int32],
    nodes: int,
    count: int,
) -> npt.NDArray[np.int64]:
    """Return the levels (ranks) of the edges of the maximum spanning forest."""
    if not len(low):
        return np.empty(0, np.int64)
    # Of several edges between the same two nodes only the highest matters; a sparse matrix would
    # add them up.
    order = np.lexsort((-level, high, low))
    low, high, level = low[order], high[order], level[order]
    first = np.ones(len(low), np.bool_)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    # Kruskal's tree is a minimum one, and a weight of 0 would mean no edge.
    cost = (count + 1 - level[first]).astype(np.float64)
    graph = sparse.coo_matrix((cost, (low[first], high[first])), shape=(nodes, nodes))
    tree = sparse.csgraph.minimum_spanning_tree(graph.tocsr())
    return np.asarray(count + 1 - tree.data, np.int64)
