"""The plain U-Net: a detector of its own, and what other methods build upon."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainUNet(nn.Module):
    """The U-Net of Ronneberger et al., with batch normalization and padded convolutions.

    Two 3×3 convolutions a level, 2×2 max-pooling; on the way up a 1×1 convolution halves the
    channels before nearest up-sampling and concatenation.

    Parameters
    ----------
    planes, outputs
        Number of input planes and of classes.
    filters
        Channels of each level, the finest first.
    stem
        It sees the picture in blocks of stem × stem pixels, and answers for each pixel of a block.

    References
    ----------
    Ronneberger O., Fischer P., Brox T.: U-Net. MICCAI 2015, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(self, *, planes: int, outputs: int, filters: Sequence[int], stem: int = 1) -> None:
        super().__init__()
        self.stem, self.multiple = stem, stem << (len(filters) - 1)
        block = stem**2
        before = (planes * block, *filters)
        self.down = nn.ModuleList(
            double_conv(old, new) for old, new in zip(before, filters, strict=False)
        )
        coarse_to_fine = list(zip(filters[:0:-1], filters[-2::-1], strict=True))
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, fine, 1, bias=False) for deep, fine in coarse_to_fine
        )
        self.up = nn.ModuleList(double_conv(2 * fine, fine) for _, fine in coarse_to_fine)
        self.head = nn.Conv2d(filters[0], outputs * block, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        init_prior_bias(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of ``multiple``.

        Returns
        -------
        Tensor
            Float, shape (B, K, H, W).
        """
        return functional.pixel_shuffle(self.head(self.features(images)[-1]), self.stem)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return what each level holds on the way up, the coarsest first.

        Level k from the finest (0) has ``filters[k]`` channels and one value for each
        ``stem · 2^k`` pixels.
        """
        check_multiple(images, self.multiple)
        x = functional.pixel_unshuffle(images, self.stem)
        if images.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        kept: list[Tensor] = []
        for number, level in enumerate(self.down):
            x = level(functional.max_pool2d(x, 2) if number else x)
            kept.append(x)
        found = [x]
        for narrow, level, skip in zip(self.narrow, self.up, kept[-2::-1], strict=True):
            x = functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = level(torch.cat([x, skip], dim=1))
            found.append(x)
        return found


def check_multiple(images: Tensor, multiple: int) -> None:
    """Raise `ValueError` where height and width of a network's input are no multiples."""
    height, width = images.shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(
            f"Input of {(height, width)} px: pad height and width to multiples of {multiple}."
        )


def double_conv(before: int, after: int) -> nn.Sequential:
    """Return two 3×3 convolutions, from `before` to `after` channels, each normalized."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def init_prior_bias(head: nn.Conv2d) -> None:
    """Let a fresh network find nothing: lesions are rare, and the first steps need not say so."""
    nn.init.normal_(head.weight, std=0.01)
    if head.bias is not None:
        nn.init.constant_(head.bias, -4.0)
