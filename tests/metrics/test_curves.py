"""A point of a curve can be clicked: its threshold gives just those figures again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.metrics import Froc, PixelHistogram, lesion_counts, pixel_overlap
from napari_fundus.metrics.curves import Curve
from napari_fundus.metrics.map_levels import dequantize_map, quantize_map


def case(seed, levels):
    rng = np.random.default_rng(seed)
    probability = rng.random((24, 24), np.float32) ** 3
    if levels:
        probability = np.round(probability * levels).astype(np.float32) / np.float32(levels)
    return dequantize_map(quantize_map(probability)), rng.random((24, 24)) > 0.9


def froc_of(probability, mask):
    froc = Froc(largest=1)
    froc.add(probability, mask)
    return Curve.from_froc("MA", froc.curve())


def precision_recall_of(probability, mask):
    counts = PixelHistogram()
    counts.add(probability, mask)
    return Curve.from_precision_recall("MA", counts.curve(0), 1)


@given(st.integers(0, 10_000), st.sampled_from([0, 5, 33]))
@settings(max_examples=25, deadline=None)
def test_a_froc_point_s_threshold_gives_its_figures(seed, levels):
    probability, mask = case(seed, levels)
    curve = froc_of(probability, mask)
    for x, y, threshold in zip(curve.x, curve.y, curve.thresholds, strict=True):
        counts = lesion_counts(probability >= np.float32(threshold), mask)
        assert (x, y) == (counts.false_positives, counts.sensitivity)


@given(st.integers(0, 10_000), st.sampled_from([0, 5, 33]))
@settings(max_examples=25, deadline=None)
def test_a_precision_recall_point_s_threshold_gives_its_figures(seed, levels):
    probability, mask = case(seed, levels)
    curve = precision_recall_of(probability, mask)
    for x, y, threshold in zip(curve.x[1:], curve.y[1:], curve.thresholds[1:], strict=True):
        overlap = pixel_overlap(probability >= np.float32(threshold), mask)
        assert (x, y) == (overlap.recall, overlap.precision)


def test_thresholds_have_few_digits():
    curve = froc_of(*case(1, 5))
    assert curve.thresholds[2:].tolist() == [float(f"{t:.3f}") for t in curve.thresholds[2:]]


def test_the_point_at_a_threshold_is_the_one_whose_detections_are_shown():
    probability, mask = case(2, 33)
    curve = precision_recall_of(probability, mask)
    for threshold in (0.1, 0.35, 0.9):
        overlap = pixel_overlap(probability >= np.float32(threshold), mask)
        assert curve.at(threshold) == (overlap.recall, overlap.precision)


def test_a_curve_of_many_points_is_thinned_to_what_can_be_seen():
    rng = np.random.default_rng(0)
    probability, mask = rng.random((300, 300), np.float32), rng.random((300, 300)) > 0.5
    curve = precision_recall_of(probability, mask)
    assert 100 < len(curve.x) < 4000
    assert (curve.x[0], curve.x[-1]) == (0, 1)


def test_it_comes_back_from_json():
    curve = froc_of(*case(4, 33))
    again = Curve.from_json("froc", "MA", json.loads(json.dumps(curve.to_json())))
    np.testing.assert_array_equal(again.x, curve.x)
    np.testing.assert_array_equal(again.thresholds, curve.thresholds)
    assert again.summary == pytest.approx(curve.summary)


def test_without_thresholds_no_point_is_given():
    content = {"x": [1], "y": [0.5], "thresholds": [None], "images": 3, "positives": 9}
    curve = Curve.from_json("froc", "MA", {**content, "summary": None})
    assert curve.at(0.5) is None


@pytest.mark.parametrize(
    ("kind", "x", "kept"),
    [
        # Quarters of the axis: 0, 0, 1, 2, 4, 4; the first and the last point always stay.
        ("pr", [0, 0.1, 0.2, 0.5, 0.9, 1], [0, 0.2, 0.5, 0.9, 1]),
        # Quarters of 16 doublings from 1/64 on: -2, -2, -1, -1, 1, 1, 2.
        ("froc", [0, 1 / 64, 1 / 16, 1 / 8, 16, 2**5.8, 64], [0, 1 / 16, 16, 64]),
    ],
)
def test_points_that_a_drawing_cannot_part_are_left_out(kind, x, kept):
    values = np.array(x, np.float64)
    count = len(x)
    curve = Curve(kind, "MA", values, np.ones(count), np.linspace(1, 0, count), 2, 9, 0.5)
    thin = curve.thinned(4)
    assert thin.x.tolist() == kept
    assert thin.thresholds.tolist() == curve.thresholds[np.isin(values, kept)].tolist()
    assert (thin.images, thin.positives, thin.summary) == (2, 9, 0.5)
    assert curve.thinned(count) is curve


def test_a_point_is_read_at_the_lowest_threshold_that_is_not_below():
    x, y = np.array([0.0, 0.5, 0.5, 1.0]), np.array([0.0, 0.25, 0.5, 1.0])
    curve = Curve("froc", "MA", x, y, np.array([np.inf, 0.75, 0.5, 0.25]), 1, 4, 0.5)
    read = [curve.at(threshold) for threshold in (0.8, 0.75, 0.6, 0.5, 0.1)]
    assert read == [(0, 0), (0.5, 0.25), (0.5, 0.25), (0.5, 0.5), (1, 1)]
    content = {**curve.to_json(), "y": [0, 1]}
    with pytest.raises(ValueError, match="differ in number"):
        Curve.from_json("froc", "MA", content)


def test_the_lowest_threshold_is_written_as_nothing_below_it_tells():
    curve = precision_recall_of(np.float32([[0.0046875, 0.5]]), np.array([[True, True]]))
    # Two digits of the lowest are 0, which detects the same; nothing is detected at the last.
    assert curve.thresholds.tolist() == [np.inf, 0.5, 0.0]
