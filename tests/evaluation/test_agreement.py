"""Two results side by side: lesions are matched one to one, the rest is in only one of them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.agreement import compare, match_lesions
from napari_fundus.results.detections import Detections, Provenance


def result(maps, *, detector="a", threshold=0.5) -> Detections:
    shape = next(iter(maps.values())).shape
    told = Provenance(
        detector=detector,
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=shape,
    )
    return Detections(told, maps, dict.fromkeys(maps, threshold))


@pytest.fixture
def a_and_b():
    a, b = np.zeros((2, 20, 30), np.float32)
    a[2:6, 2:6], a[10, 10], a[15:17, 20:24] = 0.9, 0.6, 0.8
    b[3:6, 2:6], b[15:17, 20:22], b[1, 28] = 0.7, 0.9, 0.55
    return result({"MA": a, "EX": a}), result({"MA": b, "SE": b}, detector="b")


def best_by_trial(a, b):
    """Return the largest sum of IoU over all ways to match."""
    ids_a, ids_b = np.unique(a[a > 0]), np.unique(b[b > 0])
    if len(ids_a) > len(ids_b):
        a, b, ids_a, ids_b = b, a, ids_b, ids_a
    iou = {
        (i, j): ((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum()
        for i in ids_a
        for j in ids_b
    }
    return max(
        sum(iou[i, j] for i, j in zip(ids_a, chosen, strict=True))
        for chosen in itertools.permutations(ids_b, len(ids_a))
    )


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_no_other_match_has_a_larger_sum_of_iou(seed):
    a, b = np.random.default_rng(seed).integers(0, 6, (2, 12))
    found = match_lesions(a, b)
    assert sum(iou for *_, iou in found) == pytest.approx(best_by_trial(a, b))
    for side in (0, 1):
        ids = [pair[side] for pair in found]
        assert len(set(ids)) == len(ids)


def test_lesions_that_do_not_overlap_are_never_matched():
    assert match_lesions(np.array([1, 0, 0]), np.array([0, 0, 7])) == []


def test_the_table_tells_where_each_lesion_is_and_how_it_differs(a_and_b):
    told = compare(*a_and_b)
    assert set(told.lesions["lesion"]) == {"MA"}  # the one class of both
    both = told.lesions[told.lesions["where"] == "both"]
    assert both["area_difference"].tolist() == [4, 4]
    np.testing.assert_allclose(both["score_difference"], [0.2, -0.1], atol=1e-6)
    np.testing.assert_allclose(both["iou"], [12 / 16, 4 / 8])
    only_a = told.lesions[told.lesions["where"] == "only A"].iloc[0]
    assert (only_a["centroid_row"], only_a["centroid_col"]) == (10, 10)
    assert (only_a["id_b"], only_a["area_b"]) == (0, 0)
    assert pd.isna(only_a["score_b"])


def test_the_summary_counts_each_class(a_and_b):
    row = compare(*a_and_b).summary.iloc[0]
    assert row[["A", "B", "both", "only A", "only B"]].tolist() == [3, 3, 2, 1, 1]
    assert row["dice"] == pytest.approx(2 * 16 / (25 + 17))


def test_pixels_are_those_of_both_or_of_one(a_and_b):
    a, b = a_and_b
    pixels = compare(a, b).pixels["MA"]
    in_a, in_b = a.labels["MA"] > 0, b.labels["MA"] > 0
    np.testing.assert_array_equal(pixels.both, np.flatnonzero(in_a & in_b))
    np.testing.assert_array_equal(pixels.only_a, np.flatnonzero(in_a & ~in_b))
    np.testing.assert_array_equal(pixels.only_b, np.flatnonzero(in_b & ~in_a))


def test_the_truth_judges_both(a_and_b):
    mask = np.zeros((20, 30), bool)
    mask[10, 10] = True
    told = compare(*a_and_b, truth={"MA": mask})
    assert told.against_truth["A"].row("MA")["found"] == 1
    assert told.against_truth["B"].row("MA")["found"] == 0
    assert not compare(*a_and_b).against_truth


def test_two_results_with_nothing_in_them_agree_on_nothing():
    empty = result({"MA": np.zeros((9, 9), np.float32)})
    told = compare(empty, empty)
    assert told.lesions.empty
    assert pd.isna(told.summary.loc[0, "dice"])


def test_results_of_different_images_are_refused(a_and_b):
    other = result({"MA": np.zeros((9, 9), np.float32)})
    with pytest.raises(OptionsError, match="different size"):
        compare(a_and_b[0], other)


def test_it_prints_as_a_table(a_and_b):
    told = compare(*a_and_b)
    assert "only A" in repr(told)
    assert "<table" in told._repr_html_()
