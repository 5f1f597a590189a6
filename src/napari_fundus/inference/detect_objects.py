"""Networks that tell objects apart, over a whole picture: at one piece or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.inference.cancellation import cancel_between_layers
from napari_fundus.inference.memory import (
    fit_tile_size,
    layer_bytes,
    memory_limit,
    run_halving_on_out_of_memory,
)
from napari_fundus.inference.merge_tiles import Rect, TileObject, merge_tile_objects
from napari_fundus.preprocessing.geometry import Geometry
from napari_fundus.results.objects import LesionObject, trim_box
from napari_fundus.runtime.devices import CPU, Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_MULTIPLE = 32
"""Sides of tiles that memory makes smaller are multiples of it: the coarsest step of a pyramid."""

_BORDER_MARGIN = 2
"""Pixels from a tile's border at which a lesion counts as cut by it."""


@dataclass(frozen=True, eq=False)
class TiledObjects:
    """The outcome.

    Attributes
    ----------
    objects
        In pixels of the picture, the surest first, each lesion once.
    tiles
        How many tiles the network has seen.
    tile
        Their longest side, after any lack of memory.
    """

    objects: tuple[LesionObject, ...]
    tiles: int
    tile: int


def object_tiles(shape: tuple[int, int], *, tile: int, overlap: int) -> list[Rect]:
    """Return tiles that cover a picture, row by row, evenly spread.

    Parameters
    ----------
    shape
        Height and width.
    tile
        Longest side; a picture that is not longer is one tile.
    overlap
        Least number of pixels that neighbours share; less than `tile`.
    """
    rows, cols = (list(_spans(length, tile, overlap)) for length in shape)
    return [(top, left, bottom, right) for top, bottom in rows for left, right in cols]


def _spans(length: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    if length <= tile:
        yield 0, length
        return
    count = -(-(length - overlap) // (tile - overlap))
    for number in range(count):
        start = round(number * (length - tile) / (count - 1))
        yield start, start + tile


def run_objects(
    network: nn.Module,
    picture: Float,
    *,
    lesions: Sequence[str],
    tile: int,
    overlap: int,
    least_score: float = 0.05,
    inside: Bool | None = None,
    device: Device = CPU,
    monitor: Monitor | None = None,
) -> TiledObjects:
    """Run `network` over `picture` and return each lesion once, whole.

    Memory grows with the tile and with the area of the objects' own boxes, never with their number
    times the picture. Tiles off the field of view are left out. What tiles show of the same lesion
    is joined by :func:`napari_fundus.inference.merge_tiles.merge_tile_objects`. Where memory runs
    out, the tiles are halved.

    Parameters
    ----------
    network
        Called with a list of float (P, h, w); returns for each a mapping of ``boxes`` (N, 4): x and
        y of the outer edges of the first corner, then of the last, in pixels; ``labels`` (N,) from
        1; ``scores`` (N,); ``masks`` (N, 1, M, M): the probability within the box.
    picture
        float32, shape (P, H, W).
    lesions
        Codes of the classes, the first for label 1.
    tile, overlap
        As in :func:`object_tiles`.
    least_score
        Less sure objects are left out.
    inside
        bool, shape (H, W): the field of view; None for everywhere. Objects outside are left out,
        others keep their masks whole.
    device
        Where to compute; always in float32, since coordinates of large pictures need it.
    monitor
        Takes steps within each tile; may cancel, before each layer of the network.

    Raises
    ------
    Cancelled
        The run was cancelled.
    DeviceError
        The memory does not suffice for the smallest tile.
    """
    import torch

    monitor = monitor or Monitor()
    network = network.to(device.name).eval()
    shape = picture.shape[1], picture.shape[2]

    def detect(rect: Rect) -> list[LesionObject]:
        top, left, bottom, right = rect
        seen = torch.from_numpy(np.ascontiguousarray(picture[:, top:bottom, left:right]))
        (found,) = network([seen.to(device.name)])
        return _objects(found, rect, lesions, least_score)

    def detect_all(side: int) -> tuple[list[TileObject], list[Rect]]:
        tiles = [
            (top, left, bottom, right)
            for top, left, bottom, right in object_tiles(
                shape, tile=side, overlap=min(overlap, side // 2)
            )
            if inside is None or inside[top:bottom, left:right].any()
        ]
        parts: list[TileObject] = []
        for number, rect in enumerate(tiles):
            part = monitor.part(0.98 * number / len(tiles), 0.98 * (number + 1) / len(tiles))
            message = f"tile {number + 1} of {len(tiles)}"
            part.step(0.0, message)
            with torch.inference_mode(), cancel_between_layers(network, part, message):
                objects = detect(rect)
            parts += [TileObject(own, number, _is_truncated(own, rect, shape)) for own in objects]
        return parts, tiles

    if (limit := memory_limit()) is not None:
        fixed, by_pixel = _estimate_memory(network, len(picture), device)
        room = max(limit - fixed, 1)
        tile = fit_tile_size(room, by_pixel, tile=tile, halo=0, multiple=_MULTIPLE)
    (parts, tiles), tile = run_halving_on_out_of_memory(
        detect_all, tile, least=_MULTIPLE, what="tile size", device=device
    )
    monitor.step(0.98, "joining at the seams")
    objects = merge_tile_objects(parts, tiles)
    if inside is not None:
        objects = [found for found in objects if (inside[found.window] & found.mask).any()]
    monitor.step(1.0, "tiles done")
    return TiledObjects(tuple(objects), len(tiles), tile)


def _is_truncated(found: LesionObject, rect: Rect, shape: tuple[int, int]) -> bool:
    rows, cols = found.window
    return bool(
        (rect[0] > 0 and rows.start < rect[0] + _BORDER_MARGIN)
        or (rect[1] > 0 and cols.start < rect[1] + _BORDER_MARGIN)
        or (rect[2] < shape[0] and rows.stop > rect[2] - _BORDER_MARGIN)
        or (rect[3] < shape[1] and cols.stop > rect[3] - _BORDER_MARGIN)
    )


def _objects(
    output: Mapping[str, Any], rect: Rect, lesions: Sequence[str], least_score: float
) -> list[LesionObject]:
    """Return a tile's answer as objects in pixels of the whole picture."""
    top, left, bottom, right = rect
    scores = output["scores"].float().cpu().numpy()
    chosen = np.flatnonzero(scores >= np.float32(least_score))
    boxes, labels, masks = (
        output[name].float().cpu().numpy()[chosen] for name in ("boxes", "labels", "masks")
    )
    objects = []
    for box, label, mask, score in zip(boxes, labels, masks[:, 0], scores[chosen], strict=True):
        pasted = paste_mask(mask, box, (bottom - top, right - left))
        if pasted is not None:
            code, sure = str(lesions[int(label) - 1]), float(np.clip(score, 0, 1))
            row, col, inside = pasted
            objects.append(LesionObject(code, sure, row + top, col + left, inside))
    return objects


def paste_mask(
    mask: Float, box: npt.ArrayLike, shape: tuple[int, int]
) -> tuple[int, int, Bool] | None:
    """Bring the mask of a box to pixels, in its own window alone.

    Pixels at whose centre the probability, interpolated between the mask's cells, is at least one
    half are set; where none reaches that, those of the largest.

    Parameters
    ----------
    mask
        float32, shape (M, M): the probability within the box.
    box
        x and y of the outer edges of the first corner, then of the last, in pixels.
    shape
        Height and width of the picture; what lies beyond is cut away.

    Returns
    -------
    tuple or None
        First row, first column and bool (h, w), as small as can be; None where nothing is set.
    """
    x0, y0, x1, y1 = (float(v) for v in np.asarray(box, np.float64))
    rows = _pixels(y0, y1, shape[0])
    cols = _pixels(x0, x1, shape[1])
    if rows is None or cols is None or not (x0 < x1 and y0 < y1):
        return None
    values = (
        _resampling_weights((y0, y1), mask.shape[0], rows)
        @ mask
        @ _resampling_weights((x0, x1), mask.shape[1], cols).T
    )
    if not (peak := float(values.max())) > 0:
        return None
    whole = trim_box(LesionObject("", 0, rows[0], cols[0], values >= min(0.5, peak)))
    return None if whole is None else (whole.row, whole.col, whole.mask)


def objects_to_original(
    objects: Sequence[LesionObject], geometry: Geometry
) -> tuple[LesionObject, ...]:
    """Bring objects of a prepared picture back to pixels of the original, each in its own window.

    A pixel is set where the mask, averaged where the original is coarser and interpolated where it
    is finer, is at least one half; where none is, those of the largest value, so that nothing is
    lost for being small. Objects beyond the frame are left out.

    Parameters
    ----------
    objects
        In pixels of ``geometry.target_shape``.
    geometry
        Maps original to prepared pixels.
    """
    result = []
    for found in objects:
        height, width = found.mask.shape
        edges = (found.row, found.col, found.row + height, found.col + width)
        top, left, bottom, right = geometry.inverse_boxes([edges])[0].tolist()
        pasted = paste_mask(
            found.mask.astype(np.float32), (left, top, right, bottom), geometry.source_shape
        )
        if pasted is not None:
            result.append(replace(found, row=pasted[0], col=pasted[1], mask=pasted[2]))
    return tuple(result)


def _pixels(start: float, stop: float, length: int) -> tuple[int, int] | None:
    """Return the first pixel and one past the last of those that an interval touches."""
    first, last = max(int(np.floor(start)), 0), min(int(np.ceil(stop)), length)
    return (first, last) if first < last else None


def _resampling_weights(span: tuple[float, float], cells: int, pixels: tuple[int, int]) -> Float:
    """Return what each of the cells of a span weighs in each pixel: shape (pixels, cells).

    A pixel wider than a cell takes the mean of what it covers, a narrower one interpolates at its
    centre. Beyond the span all is 0.
    """
    edges = (np.arange(pixels[0], pixels[1] + 1) - span[0]) * cells / (span[1] - span[0])
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cell = np.arange(cells)
    if edges[1] - edges[0] > 1:
        covered = np.minimum(high, cell + 1) - np.maximum(low, cell)
        weights = np.maximum(covered, 0) / (high - low)
    else:
        weights = np.maximum(1 - np.abs((low + high) / 2 - 0.5 - cell), 0)
    return np.asarray(weights, np.float32)


def _estimate_memory(network: nn.Module, planes: int, device: Device) -> tuple[int, float]:
    """Return the bytes that a tile takes whatever its size, and those for each of its pixels.

    The layers that look at single regions take the same for each tile, and are tried with as many
    regions as a small piece has room for, however unlikely; see `layer_bytes`.
    """
    import torch

    side = 8 * _MULTIPLE
    by_region = getattr(network, "roi_heads", torch.nn.Module())
    least = getattr(by_region, "score_thresh", None)
    piece = [torch.zeros(planes, side, side, device=device.name)]
    try:
        if least is not None:
            by_region.score_thresh = -1.0
        everywhere, by_regions = layer_bytes(network, piece, separate=set(by_region.modules()))
    finally:
        if least is not None:
            by_region.score_thresh = least
    return by_regions, (everywhere + 4 * planes * side**2) / side**2
