"""A U-Net over a whole picture; of two scales, each in tiles of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.unet.merge_scales import COARSE, FINE
from napari_fundus.inference.tiles import TiledPrediction, run_tiles
from napari_fundus.preprocessing.network_input import INPUT_FILL
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn

    from napari_fundus.backends.unet.network import UNetArchitecture

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_EMPTY_LOGIT = -30.0
"""Logit of what no tile was needed for."""

_FINE_TIME_SHARE = 0.8
"""Share of the time of two scales that the finer one takes, about."""


@dataclass(frozen=True, eq=False)
class Logits:
    """What a network says of each pixel; of tiles off the field of view, nothing.

    Attributes
    ----------
    fine
        float32, shape (K, H, W).
    coarse
        Of the second network, brought to the same size; None where there is one.
    precision
        Arithmetic used, as torch names it.
    """

    fine: Float
    coarse: Float | None
    precision: str

    def probability(
        self, share: float | Sequence[float], offset: float | Sequence[float] = 0.0
    ) -> Float:
        """Return the maps, float32 (K, H, W), of a mean of both.

        Parameters
        ----------
        share
            Weight of the coarse network: a number, or one for each class.
        offset
            Added to the mean: a number, or one for each class.
        """
        import torch

        mean = torch.from_numpy(self.fine)
        if self.coarse is not None:
            weight = torch.as_tensor(share, dtype=torch.float32).reshape(-1, 1, 1)
            mean = torch.lerp(mean, torch.from_numpy(self.coarse), weight)
        more = torch.as_tensor(offset, dtype=torch.float32).reshape(-1, 1, 1)
        maps: Float = (mean + more).sigmoid_().numpy()
        return maps


def predict_logits(
    network: nn.Module,
    architecture: UNetArchitecture,
    planes: Float,
    *,
    inside: Bool,
    tile: int,
    device: Device,
    monitor: Monitor | None = None,
) -> Logits:
    """Run a network, or the two of a `TwoScaleUNet`, over a picture.

    The answers are those of one pass of each over the whole, padded as it needs: its tiles have a
    halo as wide as it reaches. A coarse network reaches far, but has a fourth of the pixels.

    Parameters
    ----------
    network
        Ready for inference.
    architecture
        What it is built from.
    planes
        float32, shape (P, H, W): the network's input.
    inside
        bool, shape (H, W): the field of view.
    tile
        Side of the tiles without halo, px.
    device
        Where to compute.
    monitor
        Takes progress; may cancel.

    Raises
    ------
    Cancelled
        The monitor was cancelled.
    """
    monitor = monitor or Monitor()

    def run(
        part: nn.Module,
        architecture: UNetArchitecture,
        planes: Float,
        field: Bool,
        side: int,
        monitor: Monitor,
    ) -> TiledPrediction:
        return run_tiles(
            part,
            planes,
            outputs=architecture.outputs,
            tile=side,
            halo=architecture.reach,
            multiple=architecture.multiple,
            inside=field,
            fill=INPUT_FILL,
            blank=_EMPTY_LOGIT,
            device=device,
            monitor=monitor,
        )

    if architecture.coarse is None:
        done = run(network, architecture, planes, inside, tile, monitor)
        return Logits(done.maps, None, done.precision)
    fine, coarse = network.get_submodule(FINE), network.get_submodule(COARSE)
    near = run(fine, architecture.alone, planes, inside, tile, monitor.part(0.0, _FINE_TIME_SHARE))
    halved, field = _halved(planes, inside)
    rest = monitor.part(_FINE_TIME_SHARE, 1.0)
    far = run(coarse, architecture.coarse, halved, field, tile // 2, rest)
    return Logits(near.maps, _doubled(far.maps, inside.shape), near.precision)


def _halved(planes: Float, inside: Bool) -> tuple[Float, Bool]:
    """Return means of blocks of 2×2 pixels, and where the field of view is or touches."""
    import torch
    from torch.nn import functional

    height, width = inside.shape
    more = (0, width % 2, 0, height % 2)
    padded = functional.pad(torch.from_numpy(np.ascontiguousarray(planes)), more, value=INPUT_FILL)
    field = functional.pad(torch.from_numpy(inside.astype(np.float32)), more)[None, None]
    # Up-sampling asks a neighbour, too.
    near = functional.max_pool2d(functional.max_pool2d(field, 2), 3, stride=1, padding=1)
    return functional.avg_pool2d(padded, 2).numpy(), near[0, 0].numpy() > 0


def _doubled(maps: Float, shape: tuple[int, ...]) -> Float:
    """Return `maps` at twice the size, as `TwoScaleUNet` does it, cut to `shape`."""
    import torch
    from torch.nn import functional

    grown = functional.interpolate(
        torch.from_numpy(maps)[None], scale_factor=2.0, mode="bilinear", align_corners=False
    )
    larger: Float = grown[0, :, : shape[0], : shape[1]].numpy()
    return larger
