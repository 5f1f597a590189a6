"""A U-Net on EfficientNet-Lite0, whose encoder may begin with what it learnt on ImageNet."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fundus.inference.plain_unet import check_multiple, double_conv, init_prior_bias

MULTIPLE = 32
"""Height and width of the input must be multiples of it."""

_STEM = 32
"""Channels of the first convolution."""

_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""Of each stage: kernel, stride of its first block, expansion, channels, blocks."""

_SKIPS = (0, 1, 2, 4)
"""Stages whose output the way up sees again: those before the picture is halved."""

_UP = (96, 64, 48, 32)
"""Channels on the way up, the coarsest first."""


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0 without its classifier: 3.0 million weights.

    Of the EfficientNet-B0 it leaves out what does not run well everywhere: squeeze and excitation,
    and swish, in whose place stands a ReLU cut at 6. Paddings are the same on both sides; where the
    original halves a picture it pads on one, which comes to a shift of the picture by a pixel.

    Parameters
    ----------
    planes
        Number of input planes.

    References
    ----------
    Tan M., Le Q.: EfficientNet. ICML 2019, arXiv:1905.11946; the Lite variants: Liu R.,
    TensorFlow's blog, March 2020.
    """

    def __init__(self, *, planes: int = 3) -> None:
        super().__init__()
        self.stem = _convolution(planes, _STEM, kernel=3, stride=2)
        stages: list[nn.Module] = []
        channels = _STEM
        for kernel, stride, expansion, after, blocks in _STAGES:
            stage = []
            for number in range(blocks):
                first = stride if number == 0 else 1
                stage.append(_Block(channels, after, expansion, kernel=kernel, stride=first))
                channels = after
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return what each stage gives.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of 32.

        Returns
        -------
        list of Tensor
            Seven, of 16, 24, 40, 80, 112, 192 and 320 channels, a half, fourth, eighth,
            sixteenth (twice) and thirty-second (twice) of the size of `images`.
        """
        x = self.stem(images)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class LiteUNet(nn.Module):
    """A U-Net whose way down is `LiteEncoder`.

    On the way up: a 1×1 convolution, nearest up-sampling, concatenation, two 3×3 convolutions, as
    in `PlainUNet`, up to half the size; the output layer answers for each pixel of a block of 2×2.

    Parameters
    ----------
    planes, outputs
        Number of input planes and of classes.
    """

    def __init__(self, *, planes: int, outputs: int) -> None:
        super().__init__()
        self.encoder = LiteEncoder(planes=planes)
        channels = [stage[3] for stage in _STAGES]
        before = (channels[-1], *_UP)
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, up, 1, bias=False) for deep, up in zip(before, _UP, strict=False)
        )
        self.up = nn.ModuleList(
            double_conv(up + channels[skip], up)
            for up, skip in zip(_UP, reversed(_SKIPS), strict=True)
        )
        self.head = nn.Conv2d(_UP[-1], outputs * 4, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init_prior_bias(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of 32.

        Returns
        -------
        Tensor
            Float, shape (B, K, H, W).
        """
        check_multiple(images, MULTIPLE)
        stages = self.encoder(images)
        x = stages[-1]
        for narrow, level, skip in zip(self.narrow, self.up, reversed(_SKIPS), strict=True):
            x = functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = level(torch.cat([x, stages[skip]], dim=1))
        return functional.pixel_shuffle(self.head(x), 2)


class _Block(nn.Module):
    """A convolution of each channel by itself, between two that widen and narrow."""

    def __init__(
        self, before: int, after: int, expansion: int, *, kernel: int, stride: int
    ) -> None:
        super().__init__()
        wide = before * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(_convolution(before, wide))
        layers.append(_convolution(wide, wide, kernel=kernel, stride=stride, groups=wide))
        layers.append(_convolution(wide, after, active=False))
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = cast("Tensor", self.layers(x))
        return x + y if self.adds else y


def _convolution(
    before: int,
    after: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    active: bool = True,
) -> nn.Sequential:
    convolution = nn.Conv2d(
        before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    layers = [convolution, nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if active else nn.Sequential(*layers)


def _receptive_radius() -> int:
    down, step = 1, 2
    for kernel, stride, _, _, blocks in _STAGES:
        down += kernel // 2 * step * (1 + (blocks - 1) * stride)
        step *= stride
    up = sum(4 << level for level in range(len(_UP)))
    return down + up + step


REACH = _receptive_radius()
"""How far a pixel of the input can matter, in pixels: convolutions, and the blocks of 32."""
