"""Two U-Nets as one: the second sees the picture at half the scale; the answer is a mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fundus.backends.unet.merge_scales import COARSE, FINE


class TwoScaleUNet(nn.Module):
    """A mean of the logits of two networks, one of which sees twice as far and half as fine.

    Vessels and large haemorrhages are recognized by what surrounds them, microaneurysms by
    their few pixels; one network for both would be too slow on a CPU. The mean of logits is, but
    for a constant, the geometric mean of the odds; each class has its own weights in it.

    Parameters
    ----------
    fine
        Network for the picture as it is.
    coarse
        Network for the picture averaged over blocks of 2×2 pixels.
    coarse_share
        Weight of the coarse network, for each of its classes, 0 to 1.
    """

    coarse_share: Tensor

    def __init__(
        self, fine: nn.Module, coarse: nn.Module, *, coarse_share: Sequence[float]
    ) -> None:
        super().__init__()
        self.add_module(FINE, fine)
        self.add_module(COARSE, coarse)
        share = torch.tensor(coarse_share, dtype=torch.float32)[:, None, None]
        self.register_buffer("coarse_share", share, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of ``Architecture.multiple``.

        Returns
        -------
        Tensor
            Float, shape (B, K, H, W).
        """
        near = cast("Tensor", self.get_submodule(FINE)(images))
        far = self.get_submodule(COARSE)(functional.avg_pool2d(images, 2))
        far = functional.interpolate(far, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.lerp(near, far, self.coarse_share.to(near.dtype))
