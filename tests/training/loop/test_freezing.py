"""Fine-tuning schemes: what is frozen, counted and, in a training, does not move a bit."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from napari_fundus.errors import TrainingError
from napari_fundus.training.loop.freezing import (
    FineTuningScheme,
    FreezableNetwork,
    freeze,
    frozen_convolutions,
    set_training_mode,
)

SCHEMES = ["full", "freeze_3", "freeze_3_bn", "freeze_14", "freeze_14_bn", "interleaved"]


class Chain(nn.Module):
    """Fourteen convolutions with the widths that the paper's table of shares tells of."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        widths = [1] + [width] * 3 + [2 * width] * 3 + [4 * width] * 8
        pairs = pairwise(widths)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.head = nn.Conv2d(widths[-1], 1, 1)
        self.convolution_names = tuple(f"convs.{i}" for i in range(14))
        self.norm_names = tuple(f"norms.{i}" for i in range(14))
        self.first_pooling_after = 3
        self.last_upsampling_before = 14

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return self.head(x)


def test_the_network_of_this_test_fulfils_the_protocol() -> None:
    assert isinstance(Chain(), FreezableNetwork)
    assert not isinstance(nn.Linear(1, 1), FreezableNetwork)


@pytest.mark.parametrize(
    ("scheme", "frozen"),
    [
        ("none", range(1, 15)),
        ("full", ()),
        ("freeze_5", range(1, 6)),
        ("freeze_5_bn", range(1, 6)),
        ("interleaved", (1, 2, 3, 4, 6, 8, 10, 12)),
    ],
)
def test_the_convolutions_frozen_are_those_of_the_paper(scheme: str, frozen) -> None:
    assert frozen_convolutions(Chain(), FineTuningScheme.parse(scheme)) == tuple(frozen)


@pytest.mark.parametrize(
    ("scheme", "paper"),
    [
        ("freeze_3_bn", 98.44),
        ("freeze_5_bn", 94.12),
        ("freeze_8_bn", 73.96),
        ("interleaved", 59.56),
    ],
)
def test_trainable_shares_come_near_the_papers(scheme: str, paper: float) -> None:
    """The paper's widths are not known; those here follow from its table, the head does not."""
    network = Chain(32)
    freeze(network, scheme)
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    share = sum(n for n, trained in counts if trained) / sum(n for n, _ in counts)
    assert 100 * share == pytest.approx(paper, abs=2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_frozen_weights_do_not_move_a_bit_and_all_others_do(scheme: str) -> None:
    torch.manual_seed(0)
    network = Chain()
    freeze(network, scheme)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(2):
        set_training_mode(network, scheme)
        optimizer.zero_grad()
        network(torch.randn(4, 1, 8, 8)).square().mean().backward()
        optimizer.step()
    frozen = {
        f"convs.{n - 1}." for n in frozen_convolutions(network, FineTuningScheme.parse(scheme))
    }
    if not FineTuningScheme.parse(scheme).norms:
        frozen |= {name.replace("convs", "norms") for name in frozen}
    for name, value in network.state_dict().items():
        stays = any(name.startswith(prefix) for prefix in frozen)
        assert torch.equal(value, before[name]) == stays, name


def test_a_scheme_undoes_the_one_before() -> None:
    network = Chain()
    freeze(network, "freeze_14")
    freeze(network, "full")
    assert all(p.requires_grad for p in network.parameters())
    freeze(network, "none")
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", ["", "freeze", "freeze_0", "freeze_x", "Full", "freeze_3_BN"])
def test_unknown_schemes_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(TrainingError, match="freeze_N"):
        FineTuningScheme.parse(name)


def test_freezing_more_than_there_is_and_foreign_networks_are_refused() -> None:
    with pytest.raises(TrainingError, match="14 convolutions"):
        freeze(Chain(), "freeze_15")
    with pytest.raises(TrainingError, match="Linear"):
        freeze(nn.Linear(1, 1), "interleaved")
    freeze(nn.Linear(1, 1), "full")
