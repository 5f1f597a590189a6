"""The grid of levels: every threshold of the protocols cuts a rounded map as it cuts the map."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.metrics.map_levels import (
    QUANTIZATION_LEVELS,
    dequantize_map,
    level_values,
    quantize_map,
)

THRESHOLDS = np.concatenate([np.linspace(0, 1, 33), np.linspace(0, 1, 1001)]).astype(np.float32)


def test_pixels_stay_on_their_side_of_every_threshold() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([
        rng.random(20_000).astype(np.float32),
        THRESHOLDS,
        np.nextafter(THRESHOLDS, np.float32(0)),
        np.nextafter(THRESHOLDS, np.float32(1)),
    ])  # fmt: skip
    rounded = dequantize_map(quantize_map(values))
    for threshold in THRESHOLDS[::7]:
        np.testing.assert_array_equal(rounded >= threshold, values >= threshold)
    assert (rounded <= values).all()
    assert (values - rounded).max() < 1.01 / QUANTIZATION_LEVELS


def test_levels_are_kept_as_they_are() -> None:
    np.testing.assert_array_equal(quantize_map(level_values()), np.arange(QUANTIZATION_LEVELS + 1))
    assert dequantize_map(np.array([0, QUANTIZATION_LEVELS], np.uint16)).tolist() == [0, 1]


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-7])
def test_the_ends_of_the_range(value) -> None:
    assert quantize_map(np.float32([value])).tolist() == [QUANTIZATION_LEVELS if value == 1 else 0]
