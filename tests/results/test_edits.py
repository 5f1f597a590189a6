"""What a person's labels make of a map, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.errors import FundusError
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.edits import apply_edited_labels, same_components

BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))


def result(values, *, threshold=0.5) -> Detections:
    probability = np.array([values], np.float32)
    made = Provenance(
        detector="hand", detector_version="1", package_version="0", image_shape=probability.shape
    )
    maps = {"EX": probability, "MA": probability}
    return Detections(made, maps, dict.fromkeys(maps, threshold), min_area=2)


def test_probabilities_move_just_across_the_threshold_where_a_person_disagrees() -> None:
    found = result([0.0, 0.75, 0.5, 0.2, 0.9, 0.4])
    now = apply_edited_labels(found, {"MA": np.array([[0, 1, 0, 300, 0, 0]])})
    expected = np.array([[0.0, 0.75, BELOW_HALF, 0.5, BELOW_HALF, 0.4]], np.float32)
    np.testing.assert_array_equal(now.probability["MA"], expected)
    np.testing.assert_array_equal(now.labels["MA"] > 0, [[0, 1, 0, 1, 0, 0]])
    assert (now.min_area, now.provenance.edited) == (1, ("MA",))
    # The other class keeps what it showed: runs of two pixels or more.
    np.testing.assert_array_equal(now.labels["EX"] > 0, found.labels["EX"] > 0)
    assert found.probability["MA"][0, 3] == np.float32(0.2)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(FundusError, match=r"MA have shape \(2, 2\), the image \(1, 2\)"):
        apply_edited_labels(result([0.1, 0.9]), {"MA": np.ones((2, 2), np.int64)})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([5, 5, 0, 3], True),
        ([1, 1, 2, 0], False),  # another pixel
        ([1, 3, 0, 2], False),  # one part cut in two
        ([1, 1, 0, 1], False),  # two parts joined
        ([1, 2, 0, 2], False),  # as many parts, cut elsewhere
    ],
)
def test_the_same_parts_may_have_other_numbers(other, same) -> None:
    assert same_components(np.array([[1, 1, 0, 2]]), np.array([other])) is same
    assert same_components(np.array([other]), np.array([[1, 1, 0, 2]])) is same


def test_lesions_that_a_person_lets_touch_stay_apart() -> None:
    found = result([0.9, 0.75, 0.5, 0.0, 0.6, 0.8])
    now = apply_edited_labels(found, {"MA": np.array([[1, 1, 2, 0, 3, 3]])})
    table = now.instances[now.instances["lesion"] == "MA"]
    assert table["area_px"].tolist() == [2, 2, 1]
    assert table["score"].tolist() == pytest.approx([0.9, 0.8, 0.5])
    assert same_components(now.labels["MA"], np.array([[1, 1, 2, 0, 3, 3]]))
    # The other class keeps its map's lesions.
    assert now.objects_of("EX") == ()
    np.testing.assert_array_equal(now.labels["EX"] > 0, found.labels["EX"] > 0)


def test_labels_that_do_not_touch_give_what_their_map_gives() -> None:
    found = result([0.9, 0.75, 0.0, 0.6, 0.0, 0.8])
    assert apply_edited_labels(found, {"MA": np.array([[7, 7, 0, 7, 0, 9]])}).objects == ()
