"""Hard negatives are drawn in proportion to their loss."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.training.patches.hard_negatives import HardNegativePool


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
