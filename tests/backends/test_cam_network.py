"""The o_O network and its maps: the paper's layout, the identity of maps and logits, targets."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from napari_fundus.backends.cam.architecture import ClassifierArchitecture
from napari_fundus.backends.cam.network import OoNetwork
from napari_fundus.backends.cam.targets import (
    classification_loss,
    grade_probability,
    image_scores,
    log_odds,
    predicted_classes,
    target_classes,
)
from napari_fundus.errors import OptionsError

GRADES = torch.arange(5)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def shaken(network: nn.Module) -> nn.Module:
    """Give every weight and running figure some value, as after a training."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.1 + 0.01)
    return network.eval()


def test_the_default_is_the_network_of_the_paper() -> None:
    network = OoNetwork()
    layout = [
        (m.in_channels, m.out_channels, *m.kernel_size, *m.stride)
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert layout == [
        (3, 32, 5, 5, 1, 1),
        (32, 32, 3, 3, 1, 1),
        (32, 64, 5, 5, 1, 1),
        (64, 64, 3, 3, 1, 1),
        (64, 64, 3, 3, 1, 1),
        (64, 128, 3, 3, 1, 1),
        (128, 128, 3, 3, 1, 1),
        (128, 128, 3, 3, 1, 1),
        (128, 256, 3, 3, 1, 1),
        (256, 256, 3, 3, 1, 1),
        (256, 256, 3, 3, 1, 1),
        (256, 512, 3, 3, 1, 1),
        (512, 512, 3, 3, 1, 1),
        (512, 1024, 3, 3, 1, 1),
    ]
    activations = [m for m in network.modules() if isinstance(m, nn.LeakyReLU)]
    assert len(activations) == sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 14
    assert {m.negative_slope for m in activations} == {0.01}


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({}, 32),
        ({"first_stride": 2}, 16),
        ({"first_stride": 2, "third_stride": 2}, 8),
        ({"first_stride": 2, "poolings": 3}, 32),
    ],
)
def test_512_px_give_maps_of_32_unless_strides_say_otherwise(changes, side) -> None:
    network = OoNetwork(ClassifierArchitecture(width=0.01, **changes)).eval()
    with torch.inference_mode():
        assert network.features(torch.zeros(1, 3, 512, 512)).shape[2:] == (side, side)


@pytest.mark.parametrize("target", ["referable", "any", "grades", "ordinal"])
def test_the_mean_of_a_map_and_the_bias_are_the_logit(target) -> None:
    network = shaken(OoNetwork(ClassifierArchitecture(width=0.1, target=target)))
    images = torch.rand(2, 3, 96, 80)
    with torch.inference_mode():
        logits, maps = network.forward_with_maps(images)
        torch.testing.assert_close(logits, network(images))
        torch.testing.assert_close(maps.mean(dim=(2, 3)) + network.classifier.bias, logits)
        weight = network.classifier.weight
        by_hand = torch.einsum("ck,nkhw->nchw", weight, network.features(images))
    torch.testing.assert_close(maps, by_hand)
    assert logits.shape == (2, network.architecture.outputs)


def test_width_scales_the_weights_by_its_square() -> None:
    counts = [
        sum(p.numel() for p in OoNetwork(ClassifierArchitecture(width=w)).parameters())
        for w in (0.25, 0.5)
    ]
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("name", ["resnet50", "torchvision:", "keras:vgg", "timm:a;b"])
def test_a_network_is_named_by_its_package(name) -> None:
    with pytest.raises(ValidationError):
        ClassifierArchitecture(network=name)


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("referable", [0, 0, 1, 1, 1]),
        ("any", [0, 1, 1, 1, 1]),
        ("grades", [0, 1, 2, 3, 4]),
        ("ordinal", [0, 1, 2, 3, 4]),
    ],
)
def test_sure_and_right_logits_give_the_classes_and_no_loss(target, classes) -> None:
    if target == "grades":
        logits = 40.0 * torch.eye(5)
    elif target == "ordinal":
        logits = torch.where(GRADES[:, None] > torch.arange(4), 40.0, -40.0)
    else:
        logits = torch.tensor(classes)[:, None] * 80.0 - 40
    assert target_classes(target, GRADES).tolist() == classes
    assert predicted_classes(target, logits).tolist() == classes
    assert classification_loss(target, logits, GRADES) < 1e-6
    assert classification_loss(target, -logits, GRADES) > 5
    level = 1 if target == "any" else 2
    assert (log_odds(target, logits, level) > 0).tolist() == (level <= GRADES).tolist()


def test_the_log_odds_of_five_classes_are_those_of_their_sums() -> None:
    logits = torch.randn(3, 5, dtype=torch.float64)
    diseased = logits.softmax(dim=1)[:, 2:].sum(dim=1)
    torch.testing.assert_close(torch.sigmoid(log_odds("grades", logits, 2)), diseased)


@pytest.mark.parametrize(("target", "outputs"), [("grades", 5), ("ordinal", 4)])
def test_probabilities_of_grades_sum_to_one(target, outputs) -> None:
    found = grade_probability(target, torch.randn(6, outputs) * 3)
    assert found is not None
    assert found.shape == (6, 5)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6))


def test_scores_are_named_by_what_they_tell() -> None:
    assert image_scores("referable", torch.zeros(1, 1)) == {"referable DR": 0.5}
    assert image_scores("any", torch.zeros(1, 1)) == {"any DR": 0.5}
    graded = image_scores("grades", torch.zeros(1, 5))
    assert list(graded)[:2] == ["referable DR", "any DR"]
    assert graded["referable DR"] == pytest.approx(0.6)
    assert graded["grade 4"] == pytest.approx(0.2)


def test_a_classifier_of_two_classes_tells_one_level_alone() -> None:
    with pytest.raises(OptionsError, match="does not tell grade 1"):
        log_odds("referable", torch.zeros(1, 1), 1)


def test_weights_of_classes_shift_the_loss() -> None:
    logits, grades = torch.tensor([[0.0], [3.0]]), torch.tensor([0, 4])
    plain = classification_loss("referable", logits, grades)
    healthy = classification_loss("referable", logits, grades, torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(
        classification_loss("referable", logits, grades, torch.ones(2)), plain
    )
    assert healthy > plain
