"""The patch network: its shape, its wiring, and the folded form that runs at inference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from torch import nn

from napari_fundus.backends.voting.fused_network import (
    FusedPatchNetwork,
    fuse_conv_bn,
    phase_kernels,
)
from napari_fundus.backends.voting.network import (
    PatchNetwork,
    PatchNetworkArchitecture,
    paper_widths,
)


def trained(architecture: PatchNetworkArchitecture, *, seed: int = 0) -> PatchNetwork:
    """Return a network whose every weight and statistic is away from its start value."""
    torch.manual_seed(seed)
    network = PatchNetwork(architecture)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2.0)
        network.output.weight.normal_(0, 0.5)
    return network.eval()


WIRINGS = [
    PatchNetworkArchitecture(widths=paper_widths(4)),
    PatchNetworkArchitecture(widths=paper_widths(4), skips=("project", "project", "project")),
    PatchNetworkArchitecture(widths=paper_widths(4), skips=("concat", "project", "output")),
    PatchNetworkArchitecture(
        widths=paper_widths(4), skips=("concat", "concat", "concat"), outputs=2
    ),
    PatchNetworkArchitecture(
        widths=paper_widths(4),
        planes=3,
        outputs=2,
        patch=16,
        poolings_after=(3, 5, 6),
        upsamplings_before=(9, 11, 13),
    ),
]


@pytest.mark.parametrize("architecture", WIRINGS, ids=lambda a: "-".join(a.skips))
def test_a_patch_gives_probabilities_of_its_own_size(
    architecture: PatchNetworkArchitecture,
) -> None:
    network = trained(architecture)
    side = architecture.patch
    with torch.inference_mode():
        result = network(torch.randn(3, architecture.planes, side, side))
    assert result.shape == (3, architecture.outputs, side, side)
    assert 0 <= float(result.min()) < float(result.max()) <= 1


@pytest.mark.parametrize("architecture", WIRINGS, ids=lambda a: "-".join(a.skips))
def test_the_folded_network_is_the_same_function(architecture: PatchNetworkArchitecture) -> None:
    network = trained(architecture)
    side = architecture.patch
    x = torch.randn(4, architecture.planes, side, side)
    with torch.inference_mode():
        difference = (network(x) - network.for_inference()(x)).abs().max()
    assert float(difference) <= 1e-5


def test_folding_leaves_the_network_as_it_was() -> None:
    network = trained(WIRINGS[0])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    FusedPatchNetwork(network)(torch.randn(1, 1, 32, 32))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_folded_normalization_is_exact() -> None:
    network = trained(WIRINGS[0])
    convolution, norm = network.convolutions[4], network.norms[4]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    x = torch.randn(2, convolution.in_channels, 9, 7)
    weight, bias = fuse_conv_bn(convolution, norm)
    folded = F.conv2d(x, weight.float(), bias.float(), padding=1)
    torch.testing.assert_close(folded, norm(convolution(x)), rtol=1e-5, atol=1e-5)


def test_four_small_kernels_equal_a_convolution_behind_an_up_sampling() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 5, 4), torch.randn(2, 3, 3, 3)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)
    for (row, column), kernel in phase_kernels(weight).items():
        padded = F.pad(x, (1 - column, column, 1 - row, row))
        got = F.conv2d(padded, kernel)
        torch.testing.assert_close(got, expected[:, :, row::2, column::2], rtol=1e-5, atol=1e-5)


def test_names_for_freezing_point_at_the_14_convolutions_in_order() -> None:
    network = PatchNetwork(PatchNetworkArchitecture())
    modules = dict(network.named_modules())
    convolutions = [modules[name] for name in network.convolution_names]
    norms = [modules[name] for name in network.norm_names]
    assert [c.out_channels for c in convolutions] == list(paper_widths(16))
    assert [n.num_features for n in norms] == list(paper_widths(16))
    assert all(c.kernel_size == (3, 3) for c in convolutions)
    assert (network.first_pooling_after, network.last_upsampling_before) == (3, 14)


def test_an_untrained_network_starts_at_its_prior() -> None:
    network = PatchNetwork(PatchNetworkArchitecture(prior=0.05))
    with torch.inference_mode():
        mean = float(network(torch.randn(16, 1, 32, 32)).mean())
    assert mean == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"patch": 20},
        {"widths": (8,) * 13},
        {"poolings_after": (3, 3, 8)},
        {"upsamplings_before": (8, 13, 14)},
        {"upsamplings_before": (11, 13, 15)},
        {"skips": ("output", "project", "output")},
        {"depth": 3},
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PatchNetworkArchitecture.model_validate(wrong)


def test_a_card_rebuilds_its_network() -> None:
    architecture = PatchNetworkArchitecture(
        widths=paper_widths(8), skips=("project", "concat", "output")
    )
    network = PatchNetwork(
        PatchNetworkArchitecture.model_validate(architecture.model_dump(mode="json"))
    )
    assert network.architecture == architecture
