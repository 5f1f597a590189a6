"""Runs and OpenCV's scan find the same parts, in the same order, to the last bit."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from napari_fundus.results import components as connected
from napari_fundus.results.components import ConnectedComponents, find_components


def both_ways(
    mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> tuple[ConnectedComponents, ConnectedComponents]:
    found = []
    for bound in (-1, mask.size + 1):
        with monkeypatch.context() as patch:
            patch.setattr(connected, "_MANY_RUNS", bound)
            found.append(find_components(mask))
    return found[0], found[1]


def assert_equal(scanned: ConnectedComponents, measured: ConnectedComponents) -> None:
    for field in fields(ConnectedComponents):
        one, other = getattr(scanned, field.name), getattr(measured, field.name)
        assert one.dtype == other.dtype, field.name
        np.testing.assert_array_equal(one, other, err_msg=field.name)


@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)),
)
@settings(deadline=None, max_examples=150)
def test_any_mask_has_the_same_parts_both_ways(mask: np.ndarray) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_equal(*both_ways(mask, monkeypatch))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(257, 311), (1, 500), (500, 1)])
def test_noise_of_any_density_has_the_same_parts_both_ways(
    density: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_equal(*both_ways(np.random.default_rng(3).random(shape) < density, monkeypatch))


def test_a_worked_example(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((4, 6), np.bool_)
    mask[0, 4:6] = mask[1, 3] = mask[3, 0] = True
    for parts in both_ways(mask, monkeypatch):
        assert parts.pixels.tolist() == [4, 5, 9, 18]
        assert parts.part.tolist() == [0, 0, 0, 1]
        assert parts.area.tolist() == [3, 1]
        assert parts.row.tolist() == [1 / 3, 3.0]
        assert parts.col.tolist() == [4.0, 0.0]
        assert parts.box.tolist() == [[0, 3, 2, 6], [3, 0, 4, 1]]


def test_many_runs_go_to_opencv_and_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = []
    scan = cv2.connectedComponentsWithStats
    monkeypatch.setattr(
        cv2, "connectedComponentsWithStats", lambda *a, **k: scans.append(1) or scan(*a, **k)
    )
    monkeypatch.setattr(connected, "_MANY_RUNS", 10)
    mask = np.zeros((9, 9), np.bool_)
    mask[::2] = True
    find_components(mask)
    assert not scans
    find_components(np.indices((9, 9)).sum(axis=0) % 2 == 0)
    assert scans == [1]
