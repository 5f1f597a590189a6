"""What a review begins with: lesions read off labels, ids made unique, arrays kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError
from napari_fundus.review.lesion import lesions_from_labels
from napari_fundus.review.loading import ClassLabels, load_lesions


def labels(*squares: tuple[int, int, int], dtype=np.uint16) -> np.ndarray:
    array = np.zeros((40, 50), dtype)
    for value, row, col in squares:
        array[row : row + 3, col : col + 2] = value
    return array


def test_lesions_have_the_measures_and_scores_of_the_table() -> None:
    array = labels((3, 5, 7), (9, 20, 30))
    table = pd.DataFrame({"index": [9, 3], "score": [0.25, 0.75]})
    one, two = lesions_from_labels(array, table, lesion="MA", threshold=0.2)
    assert (one.id, one.score, one.area, one.box) == (3, 0.75, 6, (5, 7, 8, 9))
    assert (two.id, two.score, two.centroid) == (9, 0.25, (21.0, 30.5))


def test_labels_that_can_be_changed_in_place_are_not_copied() -> None:
    array = labels((3, 5, 7))
    loaded = load_lesions({"MA": ClassLabels(array, pd.DataFrame())})
    assert loaded.labels["MA"] is array
    frozen = array.copy()
    frozen.flags.writeable = False
    copied = load_lesions({"MA": ClassLabels(frozen, pd.DataFrame())}).labels["MA"]
    assert copied is not frozen
    assert copied.flags.writeable


def test_ids_that_two_classes_share_are_made_unique() -> None:
    loaded = load_lesions(
        {
            "MA": ClassLabels(labels((1, 5, 7), (2, 20, 20)), pd.DataFrame()),
            "HE": ClassLabels(labels((1, 9, 9)), pd.DataFrame({"index": [1], "score": [0.5]})),
        }
    )
    assert sorted(x.id for x in loaded.lesions) == [1, 2, 3]
    assert loaded.tables["HE"]["index"].tolist() == [3]
    assert set(np.unique(loaded.labels["HE"])) == {0, 3}
    assert next(x for x in loaded.lesions if x.id == 3).score == 0.5


def test_labels_without_a_table_get_one() -> None:
    loaded = load_lesions({"MA": ClassLabels(labels((4, 5, 7)), pd.DataFrame())})
    assert loaded.tables["MA"].loc[0, ["index", "area_px"]].tolist() == [4, 6]


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [(3, np.uint8, 2), (3, np.uint16, 2), (60_000, np.uint16, 4), (3, np.int32, 4)],
)
def test_there_is_room_for_ids_yet_to_come(value, dtype, expected) -> None:
    loaded = load_lesions({"MA": ClassLabels(labels((value, 5, 7), dtype=dtype), pd.DataFrame())})
    assert loaded.labels["MA"].dtype.itemsize == expected
    np.testing.assert_array_equal(loaded.labels["MA"], labels((value, 5, 7), dtype=dtype))


def test_labels_of_other_sizes_or_kinds_are_refused() -> None:
    with pytest.raises(FundusError, match="differ in size"):
        load_lesions(
            {
                "MA": ClassLabels(labels(), pd.DataFrame()),
                "HE": ClassLabels(np.zeros((4, 4), np.uint8), pd.DataFrame()),
            }
        )
    with pytest.raises(FundusError, match="whole numbers"):
        load_lesions({"MA": ClassLabels(np.zeros((4, 4)), pd.DataFrame())})


def test_no_lesion_at_all_is_a_review_too() -> None:
    loaded = load_lesions({"MA": ClassLabels(labels(), pd.DataFrame())})
    assert loaded.lesions == []
    assert loaded.tables["MA"]["index"].tolist() == []
