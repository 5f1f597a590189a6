"""Normalizations folded into the convolutions before them: the same function, less work."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def fuse_conv_batchnorm(network: nn.Module) -> nn.Module:
    """Return a copy for inference in which no normalization follows a convolution directly.

    Looks at neighbours in every `torch.nn.Sequential`, where the order of the modules is that of
    the work; what is wired otherwise stays as it is.

    Parameters
    ----------
    network
        Trained, in evaluation mode; it is not changed.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network)
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            first, second = sequence[index], sequence[index + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                sequence[index] = fuse_conv_bn_eval(first, second)
                sequence[index + 1] = nn.Identity()
    return network
