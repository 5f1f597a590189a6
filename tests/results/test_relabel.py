"""Labels at a new threshold are the very ones that the headless path gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_fundus.results.instances import label_map
from napari_fundus.results.relabel import label_image, labelled_components


def same(probability: np.ndarray, threshold: float, min_area: int, first_id: int = 1) -> None:
    labels, table = label_map(
        probability, lesion="MA", threshold=threshold, min_area=min_area, first_id=first_id
    )
    found = labelled_components(probability, lesion="MA", threshold=threshold)
    ids, fast = found.at_least(min_area, first_id=first_id)
    np.testing.assert_array_equal(label_image(probability.shape, found.pixels, ids), labels)
    pd.testing.assert_frame_equal(fast, table, check_exact=False, rtol=1e-12)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
        elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    st.sampled_from([0.0, 0.25, 0.4, 1.0]),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=150)
def test_any_map_gives_the_labels_ids_and_table_of_label_map(probability, threshold, min_area):
    same(probability, threshold, min_area, first_id=7)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("shape", [(257, 311), (400, 640), (1, 500), (500, 1)])
def test_noise_of_any_density_gives_the_numbers_of_label_map(density, shape):
    probability = np.random.default_rng(3).random(shape, dtype=np.float32)
    same(probability, 1 - density, min_area=2)


def test_a_component_at_the_edges_does_not_wrap_to_the_next_row():
    probability = np.zeros((4, 6), np.float32)
    probability[1, 5] = probability[2, 0] = 1
    assert len(labelled_components(probability, lesion="MA", threshold=0.5).table) == 2


def test_no_lesion_gives_an_empty_table_and_empty_labels():
    found = labelled_components(np.zeros((8, 9), np.float32), lesion="MA", threshold=0.0)
    ids, table = found.at_least(1)
    assert len(table) == 0
    assert not label_image(found.shape, found.pixels, ids).any()


@pytest.mark.parametrize(("largest", "dtype"), [(65_535, np.uint16), (65_536, np.int32)])
def test_labels_are_as_narrow_as_the_ids_allow(largest, dtype):
    labels = label_image((2, 2), np.array([3]), np.array([largest]))
    assert labels.dtype == dtype
    assert labels[1, 1] == largest
