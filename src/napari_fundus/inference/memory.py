"""How much memory a network takes for a piece of a picture, and how large a piece may then be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_fundus.runtime.devices import CPU, Device
from napari_fundus.runtime.preferences import preferences

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["bytes_per_pixel", "fit_tile_size", "memory_limit"]


def memory_limit() -> int | None:
    """Return the most bytes that a batch or tile may take, as a person prefers; None for any."""
    chosen = preferences().memory_gb
    return int(chosen * 2**30) if chosen else None


def bytes_per_pixel(
    network: nn.Module,
    planes: int,
    side: int,
    *,
    device: Device = CPU,
    dtype: torch.dtype | None = None,
) -> float:
    """Return what the layers of `network` take for each pixel of its input.

    The outputs of all layers are added up, as if none were given back while the next is computed:
    more than is ever taken, so that a limit is kept on any device.

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

    taken = 0

    def add(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal taken
        # What works in place, or does nothing, takes nothing.
        known = {given.data_ptr() for given in inputs if isinstance(given, torch.Tensor)}
        if isinstance(output, torch.Tensor) and output.data_ptr() not in known:
            taken += output.numel() * output.element_size()

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [leaf.register_forward_hook(add) for leaf in leaves]
    piece = torch.zeros(1, planes, side, side, device=device.name, dtype=dtype)
    try:
        with torch.inference_mode():
            network(piece)
    finally:
        for handle in handles:
            handle.remove()
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
        As in `windows`. A tile gets no smaller than the halo, or than `multiple`, even where that
        is over the limit: it would see hardly less, and take very much longer.
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
