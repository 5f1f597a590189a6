"""The result object: derived labels and tables, and thresholds that need no new run."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.errors import DetectorError, OptionsError
from napari_fundus.results.detections import Detections, Provenance

SHAPE = (20, 30)


def make(**maps: np.ndarray) -> Detections:
    provenance = Provenance(
        detector="fake", detector_version="1", package_version="0", image_shape=SHAPE
    )
    return Detections(provenance, maps, dict.fromkeys(maps, 0.5))


@pytest.fixture
def two_classes() -> Detections:
    ma = np.zeros(SHAPE, np.float32)
    ma[2, 2], ma[10, 10:14] = 0.6, 0.9
    ex = np.zeros(SHAPE, np.float32)
    ex[10:15, 12:20] = 0.7
    return make(MA=ma, EX=ex)


def test_ids_are_unique_over_classes_and_lead_from_table_to_labels(two_classes: Detections) -> None:
    table = two_classes.instances
    assert table["id"].is_unique
    for row in table.itertuples():
        assert (two_classes.labels[row.lesion] == row.id).sum() == row.area_px
        assert two_classes.labels[row.lesion][row.bbox_row_start, :].any()


def test_classes_may_overlap(two_classes: Detections) -> None:
    assert ((two_classes.labels["MA"] > 0) & (two_classes.labels["EX"] > 0)).sum() == 2


def test_threshold_gives_a_new_result_from_the_same_maps(two_classes: Detections) -> None:
    stricter = two_classes.threshold(0.8)
    assert stricter.instances["lesion"].tolist() == ["MA"]
    assert stricter.probability["MA"] is two_classes.probability["MA"]
    assert len(two_classes.instances) == 3


def test_threshold_of_one_class_leaves_the_other(two_classes: Detections) -> None:
    stricter = two_classes.threshold({"EX": 0.75})
    assert stricter.thresholds == {"MA": 0.5, "EX": 0.75}
    assert stricter.instances["lesion"].tolist() == ["MA", "MA"]


def test_minimum_area_leaves_out_small_lesions(two_classes: Detections) -> None:
    assert two_classes.threshold(min_area=4).instances["area_px"].min() == 4


@pytest.mark.parametrize(
    ("threshold", "min_area"), [(1.5, 1), (-0.1, 1), ({"HE": 0.5}, 1), (0.5, 0)]
)
def test_impossible_thresholds_are_refused(
    two_classes: Detections, threshold: float, min_area: int
) -> None:
    with pytest.raises(OptionsError):
        two_classes.threshold(threshold, min_area=min_area)


def test_no_class_at_all_gives_an_empty_table() -> None:
    assert make().instances.empty


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(SHAPE),
        np.zeros((3, 3), np.float32),
        np.full(SHAPE, 2, np.float32),
        np.full(SHAPE, np.nan, np.float32),
        [[0.0]],
    ],
    ids=["float64", "shape", "range", "nan", "list"],
)
def test_maps_that_break_the_contract_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DetectorError, match="MA"):
        make(MA=array)


def test_provenance_survives_json() -> None:
    provenance = make().provenance
    assert Provenance.model_validate_json(provenance.model_dump_json()) == provenance
