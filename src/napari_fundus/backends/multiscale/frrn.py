"""The hypothesis network: a full-resolution residual network, exactly FRRN-A, or a lighter one."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_fundus.inference.plain_unet import check_multiple, double_conv, init_prior_bias

_DOWN = ((2, 96, 3), (4, 192, 4), (8, 384, 2), (16, 384, 2))
_UP = ((8, 192, 2), (4, 192, 2), (2, 96, 2))
"""Scale, channels and number of units of each stage of FRRN-A."""
_STEM, _STREAM_CHANNELS, _RESIDUAL_UNITS = 48, 32, 3
_KERNEL = 5


class FRRNArchitecture(BaseModel):
    """What a network is built from; it stands in the model card.

    Attributes
    ----------
    width
        Share of FRRN-A's channels: 1 is the network of the paper, with 17.7 million weights.
    stem
        The network sees the picture in blocks of stem × stem pixels, and answers for each pixel of
        a block: with 2, the lane has half the resolution, and all costs a quarter. The paper's: 1.
    planes, outputs
        Number of input planes and of classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[float, Field(gt=0, le=2)] = 1.0
    stem: Literal[1, 2, 4] = 1
    planes: Annotated[int, Field(ge=1, le=16)] = 3
    outputs: Annotated[int, Field(ge=1, le=8)] = 1

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of it."""
        return self.stem * _DOWN[-1][0]

    @property
    def reach(self) -> int:
        """How far a pixel of the input can matter, in pixels.

        Two 3×3 convolutions a unit; a pooling that looks ahead by less than its scale; and bilinear
        up-sampling, which looks one coarse pixel aside.
        """
        units = 2 * sum(scale * count for scale, _, count in (*_DOWN, *_UP))
        pooled = sum(scale - 1 for scale, _, _ in (*_DOWN, *_UP))
        risen = sum(scale for scale, _, _ in _DOWN)
        return self.stem * (_KERNEL // 2 + 4 * _RESIDUAL_UNITS + units + pooled + risen)

    def channels(self, of_the_paper: int) -> int:
        """Return how many channels stand for so many of FRRN-A: a multiple of 4 if not all."""
        if self.width == 1:
            return of_the_paper
        return max(4 * round(of_the_paper * self.width / 4), 4)


class FRRN(nn.Module):
    """Two streams: a lane at full resolution, and a pooled one that reads it and adds to it.

    Parameters
    ----------
    architecture
        Width, stem, planes and outputs.

    References
    ----------
    Pohlen T., Hermans A., Mathias M., Leibe B.: Full-Resolution Residual Networks for Semantic
    Segmentation in Street Scenes. CVPR 2017, Table 1, type A. arXiv:1611.08323.
    """

    def __init__(self, architecture: FRRNArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        stem, lane = architecture.channels(_STEM), architecture.channels(_STREAM_CHANNELS)
        block = architecture.stem**2
        self.first = nn.Sequential(
            nn.Conv2d(architecture.planes * block, stem, _KERNEL, padding=_KERNEL // 2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
        )
        self.before = nn.ModuleList(_ResidualUnit(stem) for _ in range(_RESIDUAL_UNITS))
        self.split = nn.Conv2d(stem, lane, 1)
        channels = stem
        stages = []
        for scale, wanted, count in (*_DOWN, *_UP):
            units = nn.ModuleList()
            for _ in range(count):
                units.append(
                    _FullResolutionUnit(channels, architecture.channels(wanted), lane, scale)
                )
                channels = architecture.channels(wanted)
            stages.append(units)
        self.down = nn.ModuleList(stages[: len(_DOWN)])
        self.up = nn.ModuleList(stages[len(_DOWN) :])
        self.merge = nn.Conv2d(channels + lane, stem, 1)
        self.after = nn.ModuleList(_ResidualUnit(stem) for _ in range(_RESIDUAL_UNITS))
        self.head = nn.Conv2d(stem, architecture.outputs * block, 1)
        self._start()

    def _start(self) -> None:
        """Begin with units that pass on their input, and an answer that there is nothing."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, _ResidualUnit):
                nn.init.zeros_(cast("nn.BatchNorm2d", module.work[-1]).weight)
        init_prior_bias(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of ``architecture.multiple``.

        Returns
        -------
        Tensor
            Float, shape (B, K, H, W).
        """
        check_multiple(images, self.architecture.multiple)
        x = functional.pixel_unshuffle(images, self.architecture.stem)
        if images.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        y = self.first(x)
        for unit in self.before:
            y = unit(y)
        z = self.split(y)
        for stage in self.down:
            y = functional.max_pool2d(y, 2)
            for unit in cast("nn.ModuleList", stage):
                y, z = unit(y, z)
        for stage in self.up:
            y = _upsample(y)
            for unit in cast("nn.ModuleList", stage):
                y, z = unit(y, z)
        y = self.merge(torch.cat([_upsample(y), z], dim=1))
        for unit in self.after:
            y = unit(y)
        return functional.pixel_shuffle(self.head(y), self.architecture.stem)


class _ResidualUnit(nn.Module):
    """Two 3×3 convolutions whose outcome is added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.work = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, y: Tensor) -> Tensor:
        return cast("Tensor", y + self.work(y))


class _FullResolutionUnit(nn.Module):
    """A full-resolution residual unit: reads the pooled lane, and adds to it what it found."""

    def __init__(self, before: int, after: int, lane: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.work = double_conv(before + lane, after)
        self.back = nn.Conv2d(after, lane, 1)

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.work(torch.cat([y, functional.max_pool2d(z, self.scale)], dim=1))
        # Repeated, as the paper's unpooling does.
        added = functional.interpolate(self.back(y), scale_factor=float(self.scale), mode="nearest")
        return y, z + added


def _upsample(y: Tensor) -> Tensor:
    return functional.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
