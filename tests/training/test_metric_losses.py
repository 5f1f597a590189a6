"""The triplet loss on worked examples, and selective sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fundus.training.metric_losses import angular_distance, triplet_loss
from napari_fundus.training.patches.hard_negatives import HardNegativePool


@pytest.mark.parametrize(
    ("other", "distance"), [((2.0, 0.0), 0.0), ((1.0, 1.0), 0.5), ((0.0, 3.0), 1.0), ((-1, 0), 2)]
)
def test_distance_is_the_angle_as_a_share_of_a_right_one(other, distance) -> None:
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([other], dtype=torch.float32)
    assert float(angular_distance(first, second)) == pytest.approx(distance, abs=2e-3)


def test_triplet_loss_of_a_worked_example() -> None:
    anchor = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    positive = torch.tensor([[1.0, 1.0], [1.0, 0.0]])  # distances .5 and 0
    negative = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # distances .5 and 1
    found = float(triplet_loss(anchor, positive, negative, margin=0.5))
    assert found == pytest.approx((0.5 + 0) / 2, abs=2e-3)


def test_gradient_stays_finite_where_all_are_the_same() -> None:
    same = torch.ones(2, 4, requires_grad=True)
    triplet_loss(same, same, same).backward()
    assert torch.isfinite(same.grad).all()


def test_hard_places_are_drawn_in_proportion_to_their_loss() -> None:
    places = np.arange(12, dtype=np.int64).reshape(4, 3)
    pool = HardNegativePool(places, np.array([0, 1, 3, 0], np.float32))
    drawn = pool.draw(np.random.default_rng(0), 4000)
    counts = [(drawn[:, 0] == first).sum() for first in places[:, 0]]
    assert counts[0] == counts[3] == 0
    assert counts[2] / counts[1] == pytest.approx(3, rel=0.15)


def test_an_unscored_pool_draws_evenly_and_comes_back_from_its_state() -> None:
    pool = HardNegativePool(np.arange(6, dtype=np.int64).reshape(2, 3))
    drawn = pool.draw(np.random.default_rng(0), 1000)
    assert (drawn[:, 0] == 0).mean() == pytest.approx(0.5, abs=0.05)
    again = HardNegativePool(**pool.state())
    np.testing.assert_array_equal(again.draw(np.random.default_rng(0), 1000), drawn)
    unhappy = HardNegativePool(pool.places, np.zeros(2, np.float32))
    assert len(unhappy.draw(np.random.default_rng(0), 5)) == 5
