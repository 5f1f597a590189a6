"""The o_O network made fully convolutional, whose class activation maps come for free."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from napari_fundus.backends.cam.architecture import ClassifierArchitecture

_BLOCKS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((32, 5), (32, 3)),
    ((64, 5), (64, 3), (64, 3)),
    ((128, 3),) * 3,
    ((256, 3),) * 3,
    ((512, 3),) * 2,
)
"""Channels and kernel side of the convolutions; a pooling stands between two blocks."""

_MAPS = 1024
"""Channels of the last convolution, which the linear layer averages and weighs."""


class OoNetwork(nn.Module):
    """Image (N, 3, H, W) to logits (N, K), with the maps that the logits are the means of.

    The 5×5 variant of the o_O network with the strides of its first and third convolution removed,
    and a 3×3 convolution, global average pooling and one linear layer in place of its head. Each
    convolution is followed by batch normalization and a leaky ReLU. With the paper's values 512×512
    px give maps of 32×32.

    Parameters
    ----------
    architecture
        Widths, strides and outputs; the defaults are the paper's.

    References
    ----------
    W. M. Gondal, J. M. Köhler, R. Grzeszick, G. A. Fink, M. Hirsch, "Weakly-supervised localization
    of diabetic retinopathy lesions in retinal fundus images", ICIP 2017, arXiv:1706.09634. B. Zhou
    et al., "Learning deep features for discriminative localization", CVPR 2016, equation 2.

    Examples
    --------
    >>> import torch
    >>> network = OoNetwork(ClassifierArchitecture(width=0.25)).eval()
    >>> logits, maps = network.forward_with_maps(torch.zeros(1, 3, 64, 64))
    >>> logits.shape, maps.shape
    (torch.Size([1, 1]), torch.Size([1, 1, 4, 4]))
    """

    def __init__(self, architecture: ClassifierArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = arch = architecture or ClassifierArchitecture()
        self.blocks = nn.ModuleList()
        width = 3
        for number, block in enumerate(_BLOCKS):
            layers = nn.Sequential()
            for channels, kernel in block:
                stride = (arch.first_stride, arch.third_stride)[number] if kernel == 5 else 1
                out = arch.channels(channels)
                layers.append(_convolution(width, out, kernel, stride, arch.slope))
                width = out
            self.blocks.append(layers)
        maps = arch.channels(_MAPS)
        self.maps = _convolution(width, maps, 3, 1, arch.slope)
        self.classifier = nn.Linear(maps, arch.outputs)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=self.architecture.slope)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the activations A of the last convolution, shape (N, M, h, w)."""
        for number, block in enumerate(self.blocks):
            if 0 < number <= self.architecture.poolings:
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            x = block(x)
        return cast("Tensor", self.maps(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, K)."""
        # Not `adaptive_avg_pool2d`, whose gradient is not repeatable on a GPU.
        return cast("Tensor", self.classifier(self.features(x).mean(dim=(2, 3))))

    def forward_with_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, K) and class activation maps Σ_k w_k^c A^k, shape (N, K, h, w).

        The mean of a map and the classifier's bias are the logit.
        """
        features = self.features(x)
        weight = self.classifier.weight
        maps = F.conv2d(features, weight[:, :, None, None])
        return cast("Tensor", self.classifier(features.mean(dim=(2, 3)))), maps


def _convolution(width: int, out: int, kernel: int, stride: int, slope: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(slope, inplace=True),
    )
