"""Fusion of maps of two scales."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.inference.fusion import enlarge, fuse


def test_means_of_a_worked_example() -> None:
    first = np.array([[0.9, 0.4, 0.0]], np.float32)
    second = np.array([[0.1, 0.4, 1.0]], np.float32)
    np.testing.assert_allclose(fuse(first, second), [[0.5, 0.4, 0.5]], rtol=1e-6)
    geometric = fuse(first, second, "geometric")
    np.testing.assert_allclose(geometric, [[0.3, 0.4, 0.0]], rtol=1e-6)
    assert geometric.dtype == np.float32


def test_enlarging_is_linear_and_keeps_constants() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    large = enlarge(ramp, (8, 16))
    assert large.shape == (8, 16)
    np.testing.assert_allclose(np.diff(large[:, 1:-1], axis=1), 0.5, atol=1e-6)
    assert enlarge(ramp, ramp.shape) is ramp
    np.testing.assert_allclose(enlarge(np.full((3, 5), 0.7, np.float32), (7, 11)), 0.7)


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="enlarge"):
        fuse(np.zeros((2, 2), np.float32), np.zeros((3, 3), np.float32))
