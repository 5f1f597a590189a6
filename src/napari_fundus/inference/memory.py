"""How much memory a network takes for a piece of a picture, and how large a piece may then be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from napari_fundus.errors import DeviceError
from napari_fundus.runtime.devices import CPU, Device, release_memory
from napari_fundus.runtime.preferences import preferences

if TYPE_CHECKING:
    import torch
    from torch import nn

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


def memory_limit() -> int | None:
    """Return the most bytes that a batch or tile may take, as a person prefers; None for any."""
    chosen = preferences().memory_gb
    return int(chosen * 2**30) if chosen else None


def run_halving_on_out_of_memory(
    work: Callable[[int], Result], size: int, *, least: int, what: str, device: Device
) -> tuple[Result, int]:
    """Return what `work` returns, and the size it was called with: halved where memory ran out.

    Parameters
    ----------
    work
        Called with a size; called again from the start with half of it after a
        `torch.OutOfMemoryError`.
    size
        The first size: patches of a batch, or the side of a tile.
    least
        The smallest size to try.
    what
        Which size it is, for messages: ``"batch size"`` or ``"tile size"``.
    device
        Where `work` computes.

    Raises
    ------
    DeviceError
        The memory does not suffice for the smallest size.
    """
    import torch

    while True:
        try:
            return work(size), size
        except torch.OutOfMemoryError as error:
            if size <= least:
                raise DeviceError(
                    f"{device.title} has too little memory even for a {what} of {size}. Close what "
                    "else uses it, or run on the CPU."
                ) from error
        # Outside the handler, where the error no longer holds what the failed run had computed.
        release_memory(device)
        size = max(size // 2, least)
        _LOG.warning("%s ran out of memory: going on with a %s of %d.", device.title, what, size)


def layer_bytes(
    network: nn.Module, piece: Any, *, separate: Collection[nn.Module] = ()
) -> tuple[int, int]:
    """Return the bytes of the outputs of all layers but the `separate` ones, and of those.

    They are added up as if none were freed while the next is computed: more than is ever taken, so
    that a limit holds on any device. What works in place, or does nothing, takes nothing.

    Parameters
    ----------
    network
        Ready for inference.
    piece
        Its input: a small one, to try.
    separate
        Layers to count by themselves.
    """
    import torch

    taken = {False: 0, True: 0}

    def add(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        sources = {value.data_ptr() for value in inputs if isinstance(value, torch.Tensor)}
        if isinstance(output, torch.Tensor) and output.data_ptr() not in sources:
            taken[module in separate] += output.numel() * output.element_size()

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [leaf.register_forward_hook(add) for leaf in leaves]
    try:
        with torch.inference_mode():
            network(piece)
    finally:
        for handle in handles:
            handle.remove()
    return taken[False], taken[True]


def bytes_per_pixel(
    network: nn.Module,
    planes: int,
    side: int,
    *,
    device: Device = CPU,
    dtype: torch.dtype | None = None,
) -> float:
    """Return what the input and the layers of `network` take for each pixel; see `layer_bytes`.

    Parameters
    ----------
    network
        Takes (1, `planes`, `side`, `side`); ready for inference on `device`.
    planes, side
        Of a small piece to try; the side in px.
    device, dtype
        Of the piece.
    """
    import torch

    piece = torch.zeros(1, planes, side, side, device=device.name, dtype=dtype)
    taken, _ = layer_bytes(network, piece)
    return (taken + piece.numel() * piece.element_size()) / side**2


def fit_tile_size(
    limit: int,
    per_pixel: float,
    *,
    tile: int,
    halo: int,
    multiple: int,
    shape: tuple[int, ...] | None = None,
) -> int:
    """Return the largest side of a tile, up to `tile`, whose computation stays within `limit`.

    Parameters
    ----------
    limit
        Bytes.
    per_pixel
        Bytes for each pixel that the network sees.
    tile
        The side that is wanted, without halo, px.
    halo, multiple
        As in `napari_fundus.inference.tiles.iter_tiles`. A tile gets no smaller than the halo, or
        than `multiple`, even where that is over the limit: it would see hardly less, and take very
        much longer.
    shape
        Height and width of the picture, which no tile sees more of; None for a large one. Where
        the smallest tile sees all of it, it is not cut.
    """
    margin = -(-halo // multiple) * multiple
    least = max(margin, multiple)
    if shape is not None and (
        shape[0] * shape[1] * per_pixel <= limit or least + margin >= max(shape)
    ):
        return tile
    fitting = (int((limit / per_pixel) ** 0.5) - 2 * halo) // multiple * multiple
    return min(tile, max(fitting, least))
