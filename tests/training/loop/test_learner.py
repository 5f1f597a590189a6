"""A learner's step: gradients clipped to their norm, and weights averaged, as the settings say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from napari_fundus.checkpoints import load_checkpoint, read_card, read_checkpoint
from napari_fundus.runtime.devices import choose_device
from napari_fundus.training import EpochEnd, train
from napari_fundus.training.loop.fabric import make_fabric
from napari_fundus.training.loop.learner import Learner

SIMPLE = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.5}


def make_learner(toy: ModuleType, **changes: object) -> Learner:
    settings = toy.SETTINGS.model_copy(update={**SIMPLE, **changes})
    torch.manual_seed(0)
    network = toy.Network()
    fabric = make_fabric(choose_device("cpu"), "float32", 1)
    learner = Learner(network, toy.ToyTask(), settings, fabric)
    learner.set_learning_rate(1.0)
    return learner


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def make_step(learner: Learner, factor: float, seed: int = 0) -> torch.Tensor:
    """Make a step; return the gradient before it was clipped."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    learner.backward(factor * learner.fabric_module(images).sum())
    gradient = torch.cat([p.grad.flatten() for p in learner.network.parameters()]).clone()
    learner.step()
    return gradient


@pytest.mark.parametrize("clip_norm", [0.0, 0.25, 2.0])
def test_a_step_follows_the_gradient_clipped_to_its_norm(toy: ModuleType, clip_norm) -> None:
    learner = make_learner(toy, clip_norm=clip_norm, ema=0.0)
    before = weights(learner.network)
    gradient = make_step(learner, 100.0)
    assert gradient.norm() > 10
    clipped = gradient * min(1.0, clip_norm / float(gradient.norm())) if clip_norm else gradient
    torch.testing.assert_close(weights(learner.network), before - 0.5 * clipped)


def test_a_gradient_within_the_norm_is_left_as_it_is(toy: ModuleType) -> None:
    learner = make_learner(toy, clip_norm=1.0, ema=0.0)
    before = weights(learner.network)
    gradient = make_step(learner, 1e-4)
    assert 0 < gradient.norm() < 1
    torch.testing.assert_close(weights(learner.network), before - 0.5 * gradient)


def test_the_gradients_of_one_step_do_not_stay_for_the_next(toy: ModuleType) -> None:
    learner = make_learner(toy, clip_norm=0.0, ema=0.0, learning_rate=0.0)
    torch.manual_seed(1)  # of dropout
    first = make_step(learner, 1.0)
    torch.manual_seed(1)
    torch.testing.assert_close(make_step(learner, 1.0), first)


def test_what_is_evaluated_is_the_moving_average_of_weights_and_buffers(toy: ModuleType) -> None:
    learner = make_learner(toy, ema=0.75)
    assert learner.eval_network is not learner.network
    average: dict[str, torch.Tensor] = {}
    for step in range(4):
        make_step(learner, 1.0, seed=step)
        for name, value in learner.network.state_dict().items():
            # The first step's weights begin it.
            last = average.get(name, value)
            average[name] = (0.75 * last + 0.25 * value).clone()
    for name, value in learner.eval_network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], msg=name)
    assert not torch.allclose(weights(learner.eval_network), weights(learner.network), atol=1e-4)


def test_without_averaging_the_network_itself_is_evaluated(toy: ModuleType) -> None:
    learner = make_learner(toy, ema=0.0)
    assert learner.eval_network is learner.network


def test_averaged_weights_are_validated_and_kept(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.SETTINGS.model_copy(update={"ema": 0.9, "max_epochs": 1})
    events = list(train(toy.ToyTask(), settings, tmp_path / "a", device="cpu"))
    best = read_checkpoint(tmp_path / "a" / "best.safetensors").tensors
    last = read_checkpoint(tmp_path / "a" / "last.safetensors").tensors
    for name, value in best.items():
        assert torch.equal(value, last[f"average.module.{name}"]), name
    assert not torch.equal(best["head.weight"], last["network.head.weight"])
    # The same figure is measured again of the weights that were kept.
    measured = train(
        toy.ToyTask(),
        toy.SETTINGS.model_copy(update={"ema": 0.0, "scheme": "none"}),
        tmp_path / "b",
        device="cpu",
        initial=load_checkpoint(tmp_path / "a" / "best.safetensors"),
    )
    metrics = [e.metrics["dice"] for e in [*events, *measured] if isinstance(e, EpochEnd)]
    assert metrics[0] == metrics[1]


def test_the_card_names_the_epoch_that_its_weights_are_of(toy: ModuleType, tmp_path: Path) -> None:
    task = toy.ToyTask()
    values = iter([0.5, 0.6, 0.4, 0.5])
    task.metrics = lambda sums: {"dice": next(values)}
    settings = toy.SETTINGS.model_copy(update={"max_epochs": 4})
    seen = {}
    for event in train(task, settings, tmp_path, device="cpu"):
        if isinstance(event, EpochEnd):
            epoch = event.epoch
        elif getattr(event, "kind", "") == "best":
            seen[epoch] = read_card(event.path).metrics
    assert {epoch: card["epoch"] for epoch, card in seen.items()} == {0: 0.0, 1: 1.0}
    card = read_card(tmp_path / "best.safetensors")
    assert (card.metrics["epoch"], card.metrics["dice"]) == (event.best.epoch, 0.6) == (1, 0.6)
