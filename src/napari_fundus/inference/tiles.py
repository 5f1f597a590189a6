"""Overlapping tiles: a network over a picture piece by piece, and no seam remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_fundus.inference.cancellation import cancel_between_layers
from napari_fundus.inference.memory import (
    bytes_per_pixel,
    fit_tile_size,
    memory_limit,
    run_halving_on_out_of_memory,
)
from napari_fundus.runtime.devices import CPU, Device, Precision, preferred_precision
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes
    ----------
    input_region
        Rows and columns that the network sees, halo included.
    output_region
        Those of the picture that its output is used for.
    """

    input_region: tuple[slice, slice]
    output_region: tuple[slice, slice]

    @property
    def crop(self) -> tuple[slice, slice]:
        """Rows and columns of the output region within the input region."""
        rows, cols = (
            slice(k.start - s.start, k.stop - s.start)
            for k, s in zip(self.output_region, self.input_region, strict=True)
        )
        return rows, cols


@dataclass(frozen=True, eq=False)
class TiledPrediction:
    """The outcome.

    Attributes
    ----------
    maps
        float32, shape (K, H, W).
    tiles
        How many tiles the network has seen.
    tile
        Their side without halo, after any lack of memory.
    precision
        Arithmetic used, as torch names it.
    """

    maps: Float
    tiles: int
    tile: int
    precision: str


def iter_tiles(shape: tuple[int, int], *, tile: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Yield the tiles of a picture, row by row.

    Windows start at multiples of `multiple`, so that poolings fall on the same pixels as in one
    pass over the whole, and end at the picture's border where the halo would reach over it.

    Parameters
    ----------
    shape
        Height and width, multiples of `multiple`.
    tile
        Side without halo, rounded up to `multiple`.
    halo
        Pixels seen around it, rounded up as well.
    multiple
        Of height and width, as the network needs it.
    """
    side, margin = (-(-n // multiple) * multiple for n in (tile, halo))
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            ends = min(top + side, shape[0]), min(left + side, shape[1])
            rows, cols = (
                (slice(start, stop), slice(max(start - margin, 0), min(stop + margin, length)))
                for start, stop, length in zip((top, left), ends, shape, strict=True)
            )
            yield Tile(input_region=(rows[1], cols[1]), output_region=(rows[0], cols[0]))


def run_tiles(
    network: nn.Module,
    picture: Float,
    *,
    outputs: int,
    tile: int,
    halo: int,
    multiple: int = 1,
    inside: Bool | None = None,
    fill: float = 0.0,
    blank: float = 0.0,
    device: Device = CPU,
    precision: Precision | Literal["auto"] = "auto",
    monitor: Monitor | None = None,
) -> TiledPrediction:
    """Run `network` over `picture` in tiles that overlap by a halo.

    With a halo as wide as the network reaches, the maps are those of one pass over the whole
    picture; memory grows with the tile, not with the picture. Tiles off the field of view are left
    out. Where memory runs out, the tiles are halved.

    Parameters
    ----------
    network
        Fully convolutional; float (1, P, h, w) to (1, K, h, w).
    picture
        float32, shape (P, H, W).
    outputs
        K.
    tile, halo, multiple
        As in :func:`iter_tiles`; the picture is padded with `fill` to the multiple.
    inside
        bool, shape (H, W): the field of view; None for everywhere.
    fill
        Value of the padding.
    blank
        Value of the maps where no tile is needed.
    device, precision
        Where and in which arithmetic to compute.
    monitor
        Takes a step a tile; may cancel, before each layer of the network.

    Raises
    ------
    Cancelled
        The run was cancelled.
    DeviceError
        The memory does not suffice for the smallest tile.
    """
    import torch

    monitor = monitor or Monitor()
    chosen = preferred_precision(device) if precision == "auto" else precision
    height, width = picture.shape[1:]
    more = (-height % multiple, -width % multiple)
    padded = np.pad(picture, ((0, 0), (0, more[0]), (0, more[1])), constant_values=fill)
    shape = height + more[0], width + more[1]
    autocast = (
        torch.autocast(device.kind, torch.bfloat16) if chosen == "bfloat16" else nullcontext()
    )
    network = network.to(device.name, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def predict(side: int) -> tuple[Float, int]:
        windows = [
            window
            for window in iter_tiles(shape, tile=side, halo=halo, multiple=multiple)
            if inside is None or inside[window.output_region].any()
        ]
        maps = np.full((outputs, *shape), blank, np.float32)
        for number, window in enumerate(windows):
            monitor.step(number / len(windows), f"tile {number + 1} of {len(windows)}")
            seen = torch.from_numpy(np.ascontiguousarray(padded[:, *window.input_region]))[
                np.newaxis
            ]
            batch = seen.to(device.name).contiguous(memory_format=torch.channels_last)
            rows, cols = window.crop
            maps[:, *window.output_region] = network(batch)[0, :, rows, cols].float().cpu().numpy()
        monitor.step(1.0, "tiles done")
        return maps, len(windows)

    with torch.inference_mode(), autocast:
        if (limit := memory_limit()) is not None:
            tried = max(4 * multiple, 64 // multiple * multiple)
            per_pixel = bytes_per_pixel(network, len(picture), tried, device=device)
            tile = fit_tile_size(
                limit, per_pixel, tile=tile, halo=halo, multiple=multiple, shape=shape
            )
        with cancel_between_layers(network, monitor):
            (maps, count), tile = run_halving_on_out_of_memory(
                predict, tile, least=multiple, what="tile size", device=device
            )
    return TiledPrediction(maps[:, :height, :width], count, tile, chosen)
