"""Folding leaves the function as it is, and the network that it was given."""

from __future__ import annotations

import torch
from torch import nn

from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm


def test_the_folded_network_says_the_same() -> None:
    network = build_network(UNetArchitecture(filters=(4, 8, 8), outputs=2))
    nn.init.normal_(network.head.weight)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(3 + 2 * torch.randn(4, 3, 32, 32))
    network.eval()
    folded = fuse_conv_batchnorm(network)
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(picture), network(picture), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_what_does_not_follow_a_convolution_is_left_alone() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    folded = fuse_conv_batchnorm(network.eval())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 2
