"""At which thresholds components of a map appear and merge: what an exact FROC is counted from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from napari_fundus.metrics.map_levels import QUANTIZATION_LEVELS, level_values, quantize_map
from napari_fundus.results.components import find_components

# The half of the eight neighbours that lies ahead in reading order, as (row, column) steps.
_FORWARD_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))


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
    indices = np.flatnonzero(candidates)
    order = np.argsort(probability.ravel()[indices], kind="stable")
    count = len(indices)
    values = np.empty(count + 1, np.float32)
    values[0] = lowest
    values[1:] = probability.ravel()[indices[order]]
    rank = np.zeros(candidates.shape, np.int32)
    rank.ravel()[indices[order]] = np.arange(1, count + 1, dtype=np.int32)

    node, summits = _label_local_maxima(rank, indices[order])
    low, high, level = _saddle_edges(rank, node)
    true_ranks, true_nodes = rank[truth], node[truth]
    hit = true_ranks > 0
    low = np.concatenate([low, np.zeros(int(hit.sum()), np.int32)])
    high = np.concatenate([high, true_nodes[hit]])
    level = np.concatenate([level, true_ranks[hit]])
    joins = values[_spanning_tree(low, high, level, len(summits) + 1, count)]
    return values[summits], joins


def merging_threshold(
    probability: npt.NDArray[np.float32], largest: float, *, lowest: float = 0.0
) -> float:
    """Return the least threshold above which no component is absurdly large.

    A map that is nowhere 0 becomes one component, the whole retina, as the threshold falls: it
    touches every lesion and is no detection of any.

    Parameters
    ----------
    probability
        float32, shape (H, W), values in [0, 1].
    largest
        Most pixels that one component may have, as a share of the image.
    lowest
        Never return less.

    Returns
    -------
    float
        `lowest`, or a multiple of 1/64000 above it: every 8-connected component of
        ``probability > level`` has at most ``largest * H * W`` pixels.
    """
    most = int(largest * probability.size)
    candidates = probability > np.float32(lowest)
    if np.count_nonzero(candidates) <= most or _largest_component(candidates) <= most:
        return lowest
    levels = quantize_map(probability)
    # above[k]: pixels of level k or higher; those of a higher level than k are above[k + 1].
    counts = np.bincount(levels.ravel(), minlength=QUANTIZATION_LEVELS + 2)
    above = np.cumsum(counts[::-1])[::-1]
    first = int(np.searchsorted(level_values(), np.float32(lowest), side="right")) - 1
    # `high` is known to do: so few pixels are above it that no component can be too large.
    low, high = first, int(np.argmax(above[1:] <= most))
    while high - low > 1:
        middle = (low + high) // 2
        if _largest_component(levels > middle) <= most:
            high = middle
        else:
            low = middle
    # A pixel of level k may lie anywhere up to level k + 1.
    return float(level_values()[min(high + 1, QUANTIZATION_LEVELS)])


def _largest_component(mask: npt.NDArray[np.bool_]) -> int:
    return int(find_components(np.ascontiguousarray(mask)).area.max(initial=0))


def _label_local_maxima(
    rank: npt.NDArray[np.int32], place_of_rank: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Lead each candidate to its local maximum, and number these from 1.

    Returns
    -------
    node
        int32, shape of `rank`: number of the maximum that steepest ascent leads to, 0 where there
        is no candidate (and for the truth, later).
    summits
        int32: rank of each maximum, in the order of their numbers.
    """
    best = rank.copy()
    for step in _FORWARD_NEIGHBOURS:
        here, there = _neighbours(step)
        np.maximum(best[here], rank[there], out=best[here])
        np.maximum(best[there], rank[here], out=best[there])
    # Places, not ranks, lead on: the next one is near in memory.
    place = np.concatenate([[0], place_of_rank]).astype(np.int32)
    inside = np.flatnonzero(rank)
    onward = np.zeros(rank.size, np.int32)
    onward[inside] = place[best.ravel()[inside]]
    del best
    while True:
        further = onward[onward[inside]]
        if np.array_equal(further, onward[inside]):
            break
        onward[inside] = further
    tops = inside[onward[inside] == inside]
    number = np.zeros(rank.size, np.int32)
    number[tops] = np.arange(1, len(tops) + 1, dtype=np.int32)
    node = np.zeros(rank.shape, np.int32)
    node.ravel()[inside] = number[onward[inside]]
    return node, rank.ravel()[tops]


def _saddle_edges(
    rank: npt.NDArray[np.int32], node: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return where pixels of two maxima touch: both numbers, and the lower pixel's rank."""
    found: list[tuple[Any, Any, Any]] = []
    for step in _FORWARD_NEIGHBOURS:
        here, there = _neighbours(step)
        a, b = node[here], node[there]
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
