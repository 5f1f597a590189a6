"""The quick comparison counts what the plain one counts, and names lesions and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.datasets import open_dataset
from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.assessment import FIGURES, assess
from napari_fundus.metrics import aupr, lesion_counts, pixel_overlap
from napari_fundus.metrics.lesion_matching import LesionCounts, TrueLesions, match_detections
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.samples import sample_folder


def result(maps, *, threshold=0.5, min_area=1) -> Detections:
    shape = next(iter(maps.values())).shape
    told = Provenance(
        detector="hand",
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=shape,
    )
    return Detections(told, maps, dict.fromkeys(maps, threshold), min_area)


def random_case(seed, density=0.85):
    rng = np.random.default_rng(seed)
    probability = rng.random((30, 40), np.float32)
    return probability, rng.random((30, 40)) > density


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_the_plain_functions(seed, threshold, min_area):
    probability, mask = random_case(seed)
    found = result({"MA": probability}, threshold=threshold, min_area=min_area)
    judged = match_detections(found, TrueLesions.of("MA", mask))
    assert judged.pixels == pixel_overlap(found.labels["MA"], mask)
    assert judged.lesions == lesion_counts(found.labels["MA"], mask)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_pixels_fall_into_three_parts(seed):
    probability, mask = random_case(seed)
    found = result({"MA": probability}, threshold=0.8)
    judged = match_detections(found, TrueLesions.of("MA", mask))
    predicted = found.labels["MA"] > 0
    for pixels, expected in (
        (judged.true_positive, predicted & mask),
        (judged.false_positive, predicted & ~mask),
        (judged.false_negative, ~predicted & mask),
    ):
        np.testing.assert_array_equal(pixels, np.flatnonzero(expected))


def test_each_lesion_is_told_found_or_missed_with_its_size():
    mask = np.zeros((10, 12), bool)
    mask[1:4, 1:5], mask[7:9, 7:9] = True, True
    probability = np.zeros((10, 12), np.float32)
    probability[1:3, 1:3], probability[5, 10], probability[7, 7] = 0.9, 0.8, 0.4
    judged = match_detections(
        result({"HE": probability}), TrueLesions.of("HE", mask, probability=probability)
    )
    assert judged.true["found"].tolist() == [True, False]
    assert judged.true["area_px"].tolist() == [12, 4]
    assert judged.true["covered_px"].tolist() == [4, 0]
    np.testing.assert_allclose(judged.true["peak"], [0.9, 0.4], rtol=1e-6)
    assert judged.true.loc[1, ["centroid_row", "centroid_col"]].tolist() == [7.5, 7.5]
    assert judged.false[["centroid_row", "centroid_col"]].to_numpy().tolist() == [[5, 10]]


def test_more_lesions_than_16_bits_can_number():
    mask = np.zeros((600, 600), bool)
    mask[::2, ::2] = True
    truth = TrueLesions.of("MA", mask)
    assert len(truth.table) == 90_000
    assert truth.labels.max() == 90_000


def test_figures_of_an_image_are_those_of_the_protocols():
    probability, mask = random_case(3)
    found = result({"MA": probability, "EX": probability[::-1].copy()}, threshold=0.7, min_area=2)
    told = assess(found, {"MA": mask, "EX": np.zeros_like(mask), "SE": mask})
    assert tuple(told.metrics) == FIGURES
    assert told.metrics["lesion"].tolist() == ["MA", "EX"]
    row, pixels = told.row("MA"), pixel_overlap(found.labels["MA"], mask)
    counts = lesion_counts(found.labels["MA"], mask)
    assert (row["found"], row["false_positives"]) == (counts.found, counts.false_positives)
    assert (row["sensitivity"], row["dice"]) == (counts.sensitivity, pixels.dice)
    assert row["aupr"] == pytest.approx(aupr(probability, mask))
    assert math.isnan(told.row("EX")["aupr"])
    assert len(told.lesions) == counts.lesions
    assert (told.false_positives["lesion"] == "MA").sum() == counts.false_positives


def test_a_truth_without_lesions_gives_an_empty_table():
    told = assess(result({"MA": np.zeros((9, 9), np.float32)}), {"MA": np.zeros((9, 9), bool)})
    assert len(told.lesions) == len(told.false_positives) == 0
    assert {"lesion", "found", "area_px", "covered_px"} <= set(told.lesions)


def test_classes_that_nobody_drew_are_not_judged():
    with pytest.raises(OptionsError, match="MA.*EX"):
        assess(result({"MA": np.zeros((9, 9), np.float32)}), {"EX": np.zeros((9, 9), bool)})


def test_it_prints_as_a_table():
    probability, mask = random_case(1)
    told = assess(result({"MA": probability}), {"MA": mask})
    row = told.row("MA")
    for text in (repr(told), told._repr_html_()):
        assert "hand on eye" in text
        assert f"{row['sensitivity']:.3f}" in text
        assert "false positives" in text
    assert "<table" in told._repr_html_()


def test_the_bundled_sample_s_lesions_are_all_there():
    (sample,) = open_dataset(sample_folder())
    truth = TrueLesions.of("MA", sample.mask("MA", (2848, 4288)))
    assert len(truth.table) == 125


def test_counts_of_images_add_up() -> None:
    both = LesionCounts(3, 3, 5, 1) + LesionCounts(7, 1, 5, 3)
    assert both == LesionCounts(10, 4, 10, 4)


@pytest.mark.parametrize(
    ("counts", "sensitivity", "precision", "f1"),
    [
        ((8, 4, 4, 3), 0.5, 0.25, 1 / 3),
        ((8, 0, 4, 4), 0, 0, 0),
        ((0, 0, 4, 4), math.nan, 0, 0),
        ((8, 0, 0, 0), 0, math.nan, 0),
        ((1, 1, 1, 0), 1, 1, 1),
    ],
)
def test_ratios_of_lesions_by_hand(counts, sensitivity, precision, f1):
    lesions = LesionCounts(*counts)
    found = [lesions.sensitivity, lesions.precision, lesions.f1]
    assert found == pytest.approx([sensitivity, precision, f1], nan_ok=True)
    assert lesions.missed == counts[0] - counts[1]
