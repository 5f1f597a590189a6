"""The patch network of the voting method: 14 convolutions, three poolings, three skips."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, Self, cast

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from napari_fundus.backends.voting.fused_network import FusedPatchNetwork

CONVOLUTIONS = 14
"""3×3 convolutions of the network; the freezing schemes count these."""

Skip = Literal["project", "concat", "output"]


def paper_widths(width: int) -> tuple[int, ...]:
    """Return the channels of the 14 convolutions: `width` for 1–3, twice for 4–6, then four times.

    The paper does not print its widths. These follow from its table of trainable shares: a
    share of the weights is a sum of products of neighbouring widths.
    """
    return (width,) * 3 + (2 * width,) * 3 + (4 * width,) * 8


class PatchNetworkArchitecture(BaseModel):
    """All that defines a `PatchNetwork`, as a checkpoint's card keeps it.

    Attributes
    ----------
    patch
        Side S of the square patches, px.
    widths
        Channels that each of the 14 convolutions gives.
    planes
        Planes of the input.
    outputs
        Probability maps given.
    poolings_after
        Numbers of the convolutions (from 1) that a 2×2 max-pooling follows.
    upsamplings_before
        Numbers of the convolutions before which a 2× nearest up-sampling stands.
    skips
        How the map saved before a pooling is concatenated once the up-sampled one has its size
        again; in the order of `upsamplings_before`, the deepest first. ``"project"``: a 1×1
        convolution brings the two to the width of the up-sampled one; ``"concat"``: the next
        convolution takes both; ``"output"`` (the last skip only): the output layer takes both.
    slope
        Negative slope of the leaky ReLU.
    prior
        Probability that an untrained network gives: near the share of lesion pixels, else the
        first epochs are spent on learning that lesions are rare.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = 32
    widths: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = paper_widths(16)
    planes: Annotated[int, Field(ge=1, le=16)] = 1
    outputs: Annotated[int, Field(ge=1, le=16)] = 1
    poolings_after: tuple[int, int, int] = (3, 6, 8)
    upsamplings_before: tuple[int, int, int] = (11, 13, 14)
    skips: tuple[Skip, Skip, Skip] = ("project", "project", "output")
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.1
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.02

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.widths) != CONVOLUTIONS:
            raise ValueError(f"{len(self.widths)} widths given; there are {CONVOLUTIONS}")
        order = (0, *self.poolings_after, *(n - 1 for n in self.upsamplings_before))
        if any(a >= b for a, b in pairwise(order)) or self.upsamplings_before[-1] > CONVOLUTIONS:
            raise ValueError("poolings and up-samplings must follow each other, 1 to 14, in order")
        if "output" in self.skips[:2]:
            raise ValueError('only the last skip can reach the output layer ("output")')
        return self


class PatchNetwork(nn.Module):
    """The network of the voting paper: (N, planes, S, S) to probabilities (N, outputs, S, S).

    Each 3×3 convolution is followed by batch normalization and a leaky ReLU; a 1×1 output layer
    with a sigmoid closes the network. What the paper leaves open (widths, wiring of the skips) is
    in `architecture`, whose defaults are those that come nearest to its table of trainable shares.

    Parameters
    ----------
    architecture
        Its definition.

    Attributes
    ----------
    convolution_names, norm_names
        Names of the 14 convolutions and of their normalizations, in order: what the freezing
        schemes count.
    first_pooling_after
        Number (from 1) of the convolution that the first pooling follows.
    last_upsampling_before
        Number of the first convolution behind the last up-sampling.

    References
    ----------
    P. Chudzik, S. Majumdar, F. Calivá, B. Al-Diri, A. Hunter, "Microaneurysm detection using fully
    convolutional neural networks", Computer Methods and Programs in Biomedicine 158, 2018.

    Examples
    --------
    >>> network = PatchNetwork(PatchNetworkArchitecture(patch=16, widths=paper_widths(4)))
    >>> network(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(self, architecture: PatchNetworkArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = arch = architecture or PatchNetworkArchitecture()
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.projections = nn.ModuleDict()
        width = arch.planes
        waiting: list[int] = []
        skips = dict(zip(arch.upsamplings_before, arch.skips, strict=True))
        for number, out in enumerate(arch.widths, start=1):
            if number in skips:
                if skips[number] == "project":
                    self.projections[str(number)] = nn.Sequential(
                        nn.Conv2d(width + waiting.pop(), width, 1, bias=False),
                        nn.BatchNorm2d(width),
                    )
                elif skips[number] == "concat":
                    width += waiting.pop()
            self.convolutions.append(nn.Conv2d(width, out, 3, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(out))
            width = out
            if number in arch.poolings_after:
                waiting.append(out)
        self.output = nn.Conv2d(width + sum(waiting), arch.outputs, 1)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=self.architecture.slope)
        nn.init.normal_(self.output.weight, std=0.01)
        prior = self.architecture.prior
        nn.init.constant_(cast("Tensor", self.output.bias), math.log(prior / (1 - prior)))

    @property
    def convolution_names(self) -> tuple[str, ...]:
        """Names of the 14 convolutions, in order."""
        return tuple(f"convolutions.{index}" for index in range(CONVOLUTIONS))

    @property
    def norm_names(self) -> tuple[str, ...]:
        """Names of the normalizations behind them."""
        return tuple(f"norms.{index}" for index in range(CONVOLUTIONS))

    @property
    def first_pooling_after(self) -> int:
        """Number of the convolution that the first pooling follows."""
        return self.architecture.poolings_after[0]

    @property
    def last_upsampling_before(self) -> int:
        """Number of the first convolution behind the last up-sampling."""
        return self.architecture.upsamplings_before[-1]

    def logits(self, x: Tensor) -> Tensor:
        """Return what the sigmoid is taken of; losses on logits are the more stable."""
        arch = self.architecture
        kept: list[Tensor] = []
        for number, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True), start=1
        ):
            if number in arch.upsamplings_before:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = self._join(x, kept, number)
            x = F.leaky_relu(norm(convolution(x)), arch.slope)
            if number in arch.poolings_after:
                kept.append(x)
                x = F.max_pool2d(x, 2)
        logits: Tensor = self.output(torch.cat([x, *kept], dim=1))
        return logits

    def _join(self, x: Tensor, kept: list[Tensor], number: int) -> Tensor:
        """Concatenate the skip that belongs before convolution `number`."""
        skip = self.architecture.skips[self.architecture.upsamplings_before.index(number)]
        if skip == "output":
            return x
        x = torch.cat([x, kept.pop()], dim=1)
        if skip == "project":
            x = F.leaky_relu(self.projections[str(number)](x), self.architecture.slope)
        return x

    def forward(self, x: Tensor, *, as_logits: bool = False) -> Tensor:
        """Return probabilities, shape (N, outputs, S, S); or :meth:`logits`, to train on."""
        logits = self.logits(x)
        return logits if as_logits else torch.sigmoid(logits)

    def for_inference(self) -> nn.Module:
        """Return the same function in fewer operations: see `FusedPatchNetwork`."""
        return FusedPatchNetwork(self)
