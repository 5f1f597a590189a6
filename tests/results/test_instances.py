"""Components above a threshold, and their table, on worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_fundus.results.instances import INSTANCE_COLUMNS, empty_instances, label_map


def test_table_of_a_worked_example() -> None:
    probability = np.zeros((6, 8), np.float32)
    probability[1:3, 2:5] = [[0.5, 0.9, 0.6], [0.7, 0.5, 0.5]]
    labels, table = label_map(probability, lesion="MA", threshold=0.5)
    row = table.iloc[0]
    assert len(table) == 1
    assert list(table.columns) == list(INSTANCE_COLUMNS)
    assert row["score"] == pytest.approx(0.9)
    assert row["mean_probability"] == pytest.approx((0.5 + 0.9 + 0.6 + 0.7 + 0.5 + 0.5) / 6)
    assert row["area_px"] == 6
    assert row["equivalent_diameter_px"] == pytest.approx(np.sqrt(24 / np.pi))
    assert (row["centroid_row"], row["centroid_col"]) == (1.5, 3.0)
    assert tuple(row[[c for c in table if c.startswith("bbox")]]) == (1, 2, 3, 5)
    assert (labels > 0).sum() == 6


def test_diagonal_neighbours_are_one_lesion() -> None:
    _, table = label_map(np.eye(4, dtype=np.float32), lesion="MA", threshold=0.5)
    assert len(table) == 1


def test_threshold_zero_leaves_out_pixels_without_any_probability() -> None:
    probability = np.zeros((5, 5), np.float32)
    probability[2, 2] = 0.01
    labels, table = label_map(probability, lesion="MA", threshold=0.0)
    assert len(table) == 1
    assert (labels > 0).sum() == 1


def test_no_lesion_gives_an_empty_table_with_all_columns() -> None:
    labels, table = label_map(np.zeros((5, 5), np.float32), lesion="MA", threshold=0.5)
    assert not labels.any()
    assert table.dtypes.to_dict() == empty_instances().dtypes.to_dict()


def test_ids_follow_from_the_first_without_a_gap_when_small_lesions_are_left_out() -> None:
    probability = np.zeros((10, 10), np.float32)
    probability[0, 0] = probability[9, 9] = 1
    probability[3:5, 3:5] = probability[7:9, 1:4] = 0.8
    labels, table = label_map(probability, lesion="EX", threshold=0.5, min_area=2, first_id=7)
    assert table["id"].tolist() == [7, 8]
    assert set(np.unique(labels)) == {0, 7, 8}
    for row in table.itertuples():
        assert (labels == row.id).sum() == row.area_px


def test_agrees_with_scipy_on_random_maps() -> None:
    probability = np.random.default_rng(3).random((60, 80)).astype(np.float32)
    labels, table = label_map(probability, lesion="MA", threshold=0.8)
    expected, count = ndimage.label(probability >= 0.8, np.ones((3, 3)))
    ids = np.arange(1, count + 1)
    assert len(table) == count
    assert ((labels > 0) == (expected > 0)).all()
    np.testing.assert_allclose(
        np.sort(table["score"]), np.sort(ndimage.maximum(probability, expected, ids))
    )
    np.testing.assert_allclose(
        np.sort(table["mean_probability"]), np.sort(ndimage.mean(probability, expected, ids))
    )
