"""Objects that several overlapping tiles tell of, made into one of each, whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_fundus.results.objects import LesionObject, trim_box

Rect = tuple[int, int, int, int]
"""Row start, column start, row stop, column stop."""

_MIN_OVERLAP = 0.5
"""Part of the smaller of two masks that both must show for them to tell of the same thing."""

_DUPLICATE_IOU = 0.3
"""Intersection over union from which two tiles tell of one lesion that both saw whole."""


@dataclass(frozen=True, eq=False)
class TileObject:
    """What one tile shows of a lesion.

    Attributes
    ----------
    found
        In pixels of the whole picture.
    tile
        Which tile.
    truncated
        Whether it touches a border of the tile beyond which the picture goes on.
    """

    found: LesionObject
    tile: int
    truncated: bool


def merge_tile_objects(parts: Sequence[TileObject], tiles: Sequence[Rect]) -> list[LesionObject]:
    """Return every lesion once and whole, the surest first.

    Only parts of one class that come from different tiles are compared:

    1. A part that a tile's border cuts is dropped where a neighbour that is not cut covers at least
       half of it: the neighbour saw the lesion whole.
    2. Of the rest, a cut part and another part are pieces of one lesion if, where both tiles look,
       they share at least half of the smaller one's pixels there; tiles that do not overlap share
       none, and there cut parts that touch are pieces of one lesion. Pieces are united, however
       many there are in a row; the score is the surest piece's.
    3. Of two lesions whose masks overlap by 0.3 of their union, the less sure one is dropped: both
       tiles saw it whole.

    A cut part that no neighbour confirms is kept: no lesion is lost at a seam.

    Parameters
    ----------
    parts
        Of all tiles.
    tiles
        Where each tile looks, in pixels of the whole picture.
    """
    result: list[LesionObject] = []
    for lesion in dict.fromkeys(part.found.lesion for part in parts):
        mine = [part for part in parts if part.found.lesion == lesion]
        groups = _merge_truncated(_drop_covered_fragments(mine), tiles)
        result.extend(_suppress_duplicates(groups))
    return sorted(result, key=lambda found: (-found.score, found.row, found.col))


@dataclass(frozen=True, eq=False)
class _MergedObject:
    """A lesion that was put together, and the tiles that showed it."""

    found: LesionObject
    tiles: frozenset[int]


def _drop_covered_fragments(parts: list[TileObject]) -> list[TileObject]:
    dropped = set()
    for a, b in _adjacent_pairs([part.found for part in parts]):
        for one, other in ((a, b), (b, a)):
            cut, whole = parts[one], parts[other]
            if cut.truncated and not whole.truncated and cut.tile != whole.tile:
                shared = _intersection_area(cut.found, whole.found)
                if shared >= _MIN_OVERLAP * np.count_nonzero(cut.found.mask):
                    dropped.add(one)
    return [part for number, part in enumerate(parts) if number not in dropped]


def _merge_truncated(parts: list[TileObject], tiles: Sequence[Rect]) -> list[_MergedObject]:
    """Unite the pieces of lesions that tiles cut."""
    group = list(range(len(parts)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for a, b in _adjacent_pairs([part.found for part in parts]):
        if _is_same_lesion(parts[a], parts[b], tiles):
            group[root(a)] = root(b)
    members: dict[int, list[TileObject]] = {}
    for number, part in enumerate(parts):
        members.setdefault(root(number), []).append(part)
    return [
        _MergedObject(_union([p.found for p in pieces]), frozenset(p.tile for p in pieces))
        for pieces in members.values()
    ]


def _is_same_lesion(a: TileObject, b: TileObject, tiles: Sequence[Rect]) -> bool:
    if a.tile == b.tile or not (a.truncated or b.truncated):
        return False
    common = _intersect(tiles[a.tile], tiles[b.tile])
    if common is None:
        return a.truncated and b.truncated and _touch(a.found, b.found)
    inside = [int(np.count_nonzero(_crop_to_rect(part.found, common))) for part in (a, b)]
    shared = _intersection_area(a.found, b.found)
    return shared > 0 and shared >= _MIN_OVERLAP * min(inside)


def _suppress_duplicates(wholes: list[_MergedObject]) -> list[LesionObject]:
    """Leave out objects that another tile finds too, with a higher score."""
    ordered = sorted(wholes, key=lambda one: (-one.found.score, one.found.row, one.found.col))
    rivals: dict[int, list[int]] = {}
    for a, b in _adjacent_pairs([one.found for one in ordered]):
        rivals.setdefault(max(a, b), []).append(min(a, b))
    kept: set[int] = set()
    for number, one in enumerate(ordered):
        area = np.count_nonzero(one.found.mask)
        for rival in rivals.get(number, []):
            other = ordered[rival]
            if rival in kept and not one.tiles & other.tiles:
                shared = _intersection_area(one.found, other.found)
                if shared >= _DUPLICATE_IOU * (area + np.count_nonzero(other.found.mask) - shared):
                    break
        else:
            kept.add(number)
    return [ordered[number].found for number in sorted(kept)]


def _adjacent_pairs(objects: Sequence[LesionObject]) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose boxes overlap or touch, at a corner too."""
    if not objects:
        return
    boxes = np.array([_rect(found) for found in objects])
    for number in range(len(boxes) - 1):
        top, left, bottom, right = boxes[number]
        others = boxes[number + 1 :]
        rows = (others[:, 0] <= bottom) & (others[:, 2] >= top)
        cols = (others[:, 1] <= right) & (others[:, 3] >= left)
        for other in np.flatnonzero(rows & cols).tolist():
            yield number, number + 1 + other


def _rect(found: LesionObject) -> Rect:
    height, width = found.mask.shape
    return found.row, found.col, found.row + height, found.col + width


def _intersect(a: Rect, b: Rect) -> Rect | None:
    top, left = max(a[0], b[0]), max(a[1], b[1])
    bottom, right = min(a[2], b[2]), min(a[3], b[3])
    return (top, left, bottom, right) if top < bottom and left < right else None


def _crop_to_rect(found: LesionObject, rect: Rect) -> npt.NDArray[np.bool_]:
    """Return the part of the mask in a rectangle that is not beside its box."""
    common = _intersect(_rect(found), rect)
    if common is None:
        return found.mask[:0]
    top, left, bottom, right = common
    return found.mask[top - found.row : bottom - found.row, left - found.col : right - found.col]


def _intersection_area(a: LesionObject, b: LesionObject) -> int:
    """Return how many pixels two objects have in common."""
    common = _intersect(_rect(a), _rect(b))
    if common is None:
        return 0
    return int(np.count_nonzero(_crop_to_rect(a, common) & _crop_to_rect(b, common)))


def _touch(a: LesionObject, b: LesionObject) -> bool:
    """Tell whether a pixel of one is a neighbour, at a corner too, of one of the other."""
    from scipy.ndimage import binary_dilation

    wide = binary_dilation(np.pad(a.mask, 1), np.ones((3, 3)))
    return _intersection_area(replace(a, row=a.row - 1, col=a.col - 1, mask=wide), b) > 0


def _union(pieces: list[LesionObject]) -> LesionObject:
    if len(pieces) == 1:
        return pieces[0]
    rects = np.array([_rect(piece) for piece in pieces])
    top, left = (int(n) for n in rects[:, :2].min(axis=0))
    bottom, right = (int(n) for n in rects[:, 2:].max(axis=0))
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for piece in pieces:
        rows, cols = piece.window
        mask[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] |= piece.mask
    surest = max(pieces, key=lambda piece: piece.score)
    whole = trim_box(replace(surest, row=top, col=left, mask=mask))
    assert whole is not None  # noqa: S101  # pieces have pixels
    return whole
