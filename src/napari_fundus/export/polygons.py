"""The exact outlines of a lesion's pixels, as polygons that rasterize back to the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.results.detections import Detections

Ring = list[tuple[int, int]]
Polygon = list[Ring]


def instance_masks(detections: Detections) -> Iterator[tuple[Any, npt.NDArray[np.bool_]]]:
    """Yield each lesion's row of the table, as a named tuple, and its mask inside its box.

    The mask is bool, shape (bbox_row_stop - bbox_row_start, bbox_col_stop - bbox_col_start).
    """
    labels = detections.labels
    for row in detections.instances.itertuples(index=False):
        lesion: Any = row.lesion
        box = (
            slice(row.bbox_row_start, row.bbox_row_stop),
            slice(row.bbox_col_start, row.bbox_col_stop),
        )
        yield row, labels[lesion][box] == row.id


def pixel_polygons(
    mask: npt.NDArray[np.bool_], *, offset: tuple[int, int] = (0, 0)
) -> list[Polygon]:
    """Trace the edges of the pixels of `mask`.

    Parameters
    ----------
    mask
        bool, shape (H, W).
    offset
        Row and column of the mask's first pixel in the image.

    Returns
    -------
    list of polygons
        One for each 4-connected part: parts that touch at a corner alone would make a ring that
        crosses itself. A polygon is a list of closed rings, the outer one first, then its holes;
        a ring is a list of (x, y) with whole numbers, its last point equal to its first. Pixel
        (row, column) covers x from column to column + 1 and y from row to row + 1. Outer rings
        have positive shoelace area, holes negative. No ring visits a point twice, so that every
        polygon is valid by the rules of OGC Simple Features.
    """
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    polygons: list[Polygon] = []
    for part, (left, top, width, height, _) in enumerate(boxes[1:count].tolist(), start=1):
        window = parts[top : top + height, left : left + width] == part
        polygons.append(_part_polygon(window, (offset[0] + top, offset[1] + left)))
    return polygons


def _part_polygon(part: npt.NDArray[np.bool_], offset: tuple[int, int]) -> Polygon:
    """Return the rings of one 4-connected part.

    Corners are found for the whole part at once. Along each line of the pixel grid they pair up in
    order to make the sides; walking along a horizontal and a vertical side by turns gives the
    rings.
    """
    y, x, goes_right, goes_down = _corners(part)
    beside = _partners(np.lexsort((goes_right, x, y)))
    above = _partners(np.lexsort((goes_down, y, x)))
    points = list(zip((x + offset[1]).tolist(), (y + offset[0]).tolist(), strict=True))
    rings: list[Ring] = []
    seen = [False] * len(points)
    for start in range(len(points)):
        walk: Ring = []
        at = start
        while not seen[at]:
            for partners in (beside, above):
                seen[at] = True
                walk.append(points[at])
                at = partners[at]
        if walk:
            rings.extend(_simple_rings(walk))
    rings.sort(key=lambda ring: abs(_doubled_area(ring)), reverse=True)
    return [_closed(ring, positive=number == 0) for number, ring in enumerate(rings)]


def _corners(
    part: npt.NDArray[np.bool_],
) -> tuple[
    npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.bool_], npt.NDArray[np.bool_]
]:
    """Return y and x of every corner, and whether its sides go right and down.

    Where two pixels touch by a corner alone, the corner comes twice, once for each pixel. The
    directions decide only between those two; for the others they are False.
    """
    padded = np.pad(part, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    y, x = np.nonzero(upper_left ^ upper_right ^ lower_left ^ lower_right)
    touch_y, touch_x = np.nonzero(
        (upper_left == lower_right) & (upper_right == lower_left) & (upper_left ^ upper_right)
    )
    falling = upper_left[touch_y, touch_x]
    plain = np.zeros(len(y), np.bool_)
    return (
        np.concatenate([y, touch_y, touch_y]),
        np.concatenate([x, touch_x, touch_x]),
        np.concatenate([plain, ~falling, falling]),
        np.concatenate([plain, np.zeros_like(falling), np.ones_like(falling)]),
    )


def _partners(order: npt.NDArray[np.intp]) -> list[int]:
    """Pair the first with the second of `order`, the third with the fourth, and so on."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    partners: list[int] = partner.tolist()
    return partners


def _simple_rings(walk: Ring) -> Iterator[Ring]:
    """Cut an open ring wherever it comes to a point a second time."""
    path: Ring = []
    place: dict[tuple[int, int], int] = {}
    for point in walk:
        if point in place:
            first = place[point]
            yield path[first:]
            for left in path[first:]:
                del place[left]
            del path[first:]
        place[point] = len(path)
        path.append(point)
    yield path


def _doubled_area(ring: Ring) -> int:
    """Return twice the signed area of an open ring (the shoelace formula)."""
    following = ring[1:] + ring[:1]
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, following, strict=True))


def _closed(ring: Ring, *, positive: bool) -> Ring:
    """Return the ring with its first point again at its end, turned as wished."""
    if (_doubled_area(ring) > 0) != positive:
        ring = ring[::-1]
    return [*ring, ring[0]]
