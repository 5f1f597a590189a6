"""The multi-scale detector's networks: sizes of the papers, reach, sizes of output."""

from __future__ import annotations

import pytest
import torch

from napari_fundus.backends.multiscale.frrn import FRRN, FRRNArchitecture
from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture


def test_the_paper_s_network_has_17_7_million_weights() -> None:
    network = FRRN(FRRNArchitecture())
    assert sum(p.numel() for p in network.parameters()) == 17_711_377
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    kernels = [m.kernel_size[0] for m in convolutions]
    # 5×5 first; two 3×3 in each of 6 residual and 17 lane units; 1×1: split, merge, head, 17 back.
    assert (kernels.count(5), kernels.count(3), kernels.count(1)) == (1, 46, 20)


@pytest.mark.parametrize("width", [0.25, 1 / 3, 0.5])
def test_width_makes_it_lighter(width) -> None:
    network = FRRN(FRRNArchitecture(width=width))
    weights = sum(p.numel() for p in network.parameters())
    assert weights == pytest.approx(17_711_377 * width**2, rel=0.2)


@pytest.mark.parametrize("stem", [1, 2])
def test_output_has_the_input_size_and_starts_near_nothing(stem) -> None:
    """As training begins: normalized by the batch, which an untrained average does not do."""
    architecture = FRRNArchitecture(width=1 / 12, stem=stem, planes=1)
    network = FRRN(architecture).train()
    side = 2 * architecture.multiple
    with torch.inference_mode():
        maps = network(torch.randn(2, 1, side, side + architecture.multiple)).sigmoid()
    assert maps.shape == (2, 1, side, side + architecture.multiple)
    assert maps.max() < 0.2


@pytest.mark.parametrize("stem", [1, 2])
def test_the_reach_holds(stem) -> None:
    """A changed pixel matters no farther than ``reach``, and nearly as far."""
    architecture = FRRNArchitecture(width=1 / 12, stem=stem, planes=1)
    network = FRRN(architecture).eval()
    side = 40 * architecture.multiple
    picture = torch.randn(1, 1, side, side)
    changed = picture.clone()
    changed[..., side // 2, side // 2] += 100
    with torch.inference_mode():
        different = (network(picture) != network(changed))[0, 0]
    rows = torch.nonzero(different.any(dim=1)).ravel()
    farthest = max(side // 2 - int(rows.min()), int(rows.max()) - side // 2)
    assert architecture.reach / 2 < farthest <= architecture.reach


def test_sizes_that_do_not_fit_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        FRRN(FRRNArchitecture(width=1 / 12, stem=2))(torch.zeros(1, 3, 48, 48))


@pytest.mark.parametrize(
    ("backbone", "length", "weights"),
    [("resnet50", 2048, 23_510_081), ("resnet18", 512, 11_177_025), ("light", 128, 309_585)],
)
def test_the_refiner_embeds_and_answers(backbone, length, weights) -> None:
    network = Refiner(RefinerArchitecture(backbone=backbone, patch=33)).eval()
    assert sum(p.numel() for p in network.parameters()) == weights
    with torch.inference_mode():
        logits, embeddings = network(torch.randn(3, 3, 33, 33))
    assert logits.shape == (3,)
    assert embeddings.shape == (3, length)
    assert (embeddings >= 0).all()


def test_the_paper_s_refiner_is_a_resnet_50_less_one_down_sampling() -> None:
    network = Refiner(RefinerArchitecture()).eval()
    with torch.inference_mode():
        maps = network.body(torch.zeros(1, 3, 129, 129))
    assert maps.shape[-2:] == (9, 9)  # a ResNet-50 would leave 5
