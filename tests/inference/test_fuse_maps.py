"""Fusion of maps of two scales."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.inference.fuse_maps import blend_log_odds, fuse, resize_map


def test_means_of_a_worked_example() -> None:
    first = np.array([[0.9, 0.4, 0.0]], np.float32)
    second = np.array([[0.1, 0.4, 1.0]], np.float32)
    np.testing.assert_allclose(fuse(first, second), [[0.5, 0.4, 0.5]], rtol=1e-6)
    geometric = fuse(first, second, "geometric")
    np.testing.assert_allclose(geometric, [[0.3, 0.4, 0.0]], rtol=1e-6)
    assert geometric.dtype == np.float32


def test_enlarging_is_linear_and_keeps_constants() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    large = resize_map(ramp, (8, 16))
    assert large.shape == (8, 16)
    np.testing.assert_allclose(np.diff(large[:, 1:-1], axis=1), 0.5, atol=1e-6)
    assert resize_map(ramp, ramp.shape) is ramp
    np.testing.assert_allclose(resize_map(np.full((3, 5), 0.7, np.float32), (7, 11)), 0.7)


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="enlarge"):
        fuse(np.zeros((2, 2), np.float32), np.zeros((3, 3), np.float32))


def test_a_second_opinion_counts_by_its_trust_and_only_where_asked() -> None:
    hypothesis = np.array([[0.5, 0.8, 0.8, 0.2]], np.float32)
    judgement = np.array([[0.9, 0.2, 0.8, 0.9]], np.float32)
    where = np.array([[True, True, True, False]])

    def odds(trust: float) -> list[float]:
        found = blend_log_odds(hypothesis, judgement, where=where, trust=trust)
        assert found.dtype == np.float32
        return list((found / (1 - found))[0])

    assert odds(0) == pytest.approx([1, 4, 4, 0.25], rel=1e-5)
    assert odds(0.5) == pytest.approx([3, 1, 4, 0.25], rel=1e-5)
    assert odds(1) == pytest.approx([9, 0.25, 4, 0.25], rel=1e-5)


def test_opinions_that_are_certain_do_not_overrule_all() -> None:
    sure, never = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    everywhere = np.ones((1, 1), np.bool_)
    found = blend_log_odds(sure, never, where=everywhere, trust=0.5)
    assert found[0, 0] == pytest.approx(0.5, abs=1e-4)


def test_enlarging_keeps_the_centres_of_pixels_in_place() -> None:
    ramp = np.tile(np.arange(4, dtype=np.float32), (2, 1))
    # Pixel n of twice as many lies at (n + 1/2) / 2 - 1/2; beyond the outer centres all is flat.
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(resize_map(ramp, (4, 8)), [expected] * 4, atol=1e-6)


def test_full_trust_takes_the_judgement_bit_for_bit() -> None:
    hypothesis, judgement = np.float32([[0.5, 0.5, 0.3]]), np.float32([[0.0, 1.0, 0.9]])
    where = np.array([[True, True, False]])
    found = blend_log_odds(hypothesis, judgement, where=where, trust=1)
    assert found.tolist() == np.float32([[0.0, 1.0, 0.3]]).tolist()
