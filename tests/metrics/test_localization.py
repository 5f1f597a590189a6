"""Weak localization: the published rules on examples worked by hand, and against plain loops."""

from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
import pytest

from napari_fundus.metrics import bootstrap_interval
from napari_fundus.metrics.localization import (
    LOCALIZATION_THRESHOLD,
    LOCALIZATION_THRESHOLDS,
    PUBLISHED_LOCALIZATION,
    WeakLocalization,
)
from napari_fundus.metrics.regions import SparseLesions, find_regions, normalize_heatmap

SHAPE = (20, 30)


def heat(*boxes: tuple[slice, slice, float]) -> np.ndarray:
    """Draw boxes of given values; pixel (19, 29) is 1, so that normalizing changes nothing."""
    values = np.zeros(SHAPE, np.float32)
    for rows, cols, value in boxes:
        values[rows, cols] = value
    values[19, 29] = 1
    return values


def mask(*boxes: tuple[slice, slice]) -> np.ndarray:
    drawn = np.zeros(SHAPE, bool)
    for rows, cols in boxes:
        drawn[rows, cols] = True
    return drawn


def counts_of(heatmap, truth, **settings):
    found = WeakLocalization(["EX"], thresholds=())
    found.add(heatmap, {"EX": truth}, **settings)
    return found.counts("EX")


def test_half_of_a_lesion_is_strict_and_one_pixel_loose() -> None:
    # Lesions of 4, 4 and 5 pixels: half, a quarter and two fifths are covered.
    truth = mask(np.s_[1:3, 1:3], np.s_[1:3, 11:13], np.s_[10, 1:6])
    values = heat((*np.s_[1:2, 1:3], 0.9), (*np.s_[1:2, 11:12], 0.9), (*np.s_[10:11, 1:3], 0.9))
    counts = counts_of(values, truth)
    assert (counts.lesions, counts.found_strict, counts.found_loose) == (3, 1, 3)
    assert counts.sensitivity("strict") == pytest.approx(1 / 3)
    assert counts.sensitivity("loose") == 1
    assert (counts.with_lesions, counts.images_strict, counts.images_loose) == (1, 1, 1)


def test_regions_are_false_below_a_mean_overlap_of_one_half() -> None:
    truth = mask(np.s_[0:2, 0:2], np.s_[0:2, 10:12], np.s_[10:12, 0:2], np.s_[10:12, 4:6])
    values = heat(
        (*np.s_[0:2, 0:4], 0.9),  # IoU 4/8 = .5: true
        (*np.s_[0:2, 10:15], 0.9),  # IoU 4/10: false
        (*np.s_[10:12, 0:6], 0.9),  # two lesions, IoU 4/12 each: false, though both are found
    )
    counts = counts_of(values, truth)
    assert counts.found_strict == 4
    # The pixel of value 1 in the corner covers nothing: false, and astray.
    assert (counts.regions, counts.false_regions, counts.astray) == (4, 3, 1)
    assert counts.fpi == 3
    assert counts.unmatched_per_image == 1


def test_mean_overlap_is_over_the_lesions_that_a_region_touches() -> None:
    # A region of 10 pixels on lesions of 8 and of 1; a third lesion, far off, has no say.
    truth = mask(np.s_[0:2, 0:4], np.s_[0:1, 5:6], np.s_[15:18, 15:18])
    regions = find_regions(heat((*np.s_[0:2, 0:4], 0.9), (*np.s_[0:1, 4:6], 0.9)), 0.65)
    match = SparseLesions(truth).match(regions)
    first, second = 8 / 10, 1 / 10
    assert match.mean_iou[0] == pytest.approx((first + second) / 2)
    assert match.false.tolist() == [True, True]
    assert match.astray.tolist() == [False, True]


def test_the_score_of_a_region_is_its_maximum_and_diagonals_connect() -> None:
    values = heat()
    values[3, 3], values[4, 4], values[4, 5] = 0.7, 0.8, 0.65
    regions = find_regions(values, LOCALIZATION_THRESHOLD)
    np.testing.assert_allclose(regions.scores, [0.8, 1.0])
    assert regions.areas.tolist() == [3, 1]


def test_several_regions_cover_a_lesion_together() -> None:
    truth = mask(np.s_[5, 0:10])
    values = heat((*np.s_[5:6, 0:3], 0.9), (*np.s_[5:6, 6:8], 0.7))
    match = SparseLesions(truth).match(find_regions(values, 0.65))
    # Three of ten at .9; the other two, and so half of it, at .7.
    assert match.loose.tolist() == pytest.approx([0.9])
    assert match.strict.tolist() == pytest.approx([0.7])
    assert counts_of(values, truth).found_strict == 1


def test_image_level_needs_one_lesion_of_the_class() -> None:
    found = WeakLocalization(["EX"], thresholds=())
    lesion = mask(np.s_[2:4, 2:4])
    found.add(heat((*np.s_[2:4, 2:4], 0.8)), {"EX": lesion})  # found
    found.add(heat((*np.s_[2:3, 2:3], 0.8)), {"EX": lesion})  # one pixel of four
    found.add(heat(), {"EX": lesion})  # missed
    found.add(heat(), {"EX": mask()})  # none there: counts for false regions alone
    counts = found.counts("EX")
    assert (counts.images, counts.with_lesions) == (4, 3)
    assert counts.image_sensitivity("strict") == pytest.approx(1 / 3)
    assert counts.image_sensitivity("loose") == pytest.approx(2 / 3)
    assert counts.fpi == pytest.approx((1 + 2 + 1 + 1) / 4)


def test_a_class_that_was_not_annotated_does_not_count() -> None:
    found = WeakLocalization(["EX", "HE"])
    lesion = mask(np.s_[2:4, 2:4])
    found.add(heat((*np.s_[2:4, 2:4], 0.8)), {"EX": lesion})
    found.add(heat(), {"EX": mask(), "HE": lesion})
    assert found.counts("EX").images == 2
    assert found.counts("HE").images == 1
    # The bootstrap's weights are of all images, whatever was annotated.
    assert found.counts("HE", np.array([5, 0])).images == 0
    assert found.counts("HE", np.array([0, 2])).lesions == 2
    nothing = WeakLocalization(["SE"])
    assert math.isnan(nothing.counts("SE").sensitivity())
    with pytest.raises(ValueError, match="annotated in none"):
        nothing.curve("SE")


def test_maps_are_normalized_within_the_field_of_view() -> None:
    values = np.full(SHAPE, 5.0, np.float32)
    values[:, 15:] = 100  # outside
    values[2:4, 2:4] = 7
    values[10, 10] = 6
    inside = mask(np.s_[:, :15])
    stretched = normalize_heatmap(values, inside)
    assert stretched[2, 2] == 1
    assert stretched[10, 10] == 0.5
    assert stretched[0, 20] == 0
    counts = counts_of(values, mask(np.s_[2:4, 2:4]), field_of_view=inside)
    assert (counts.regions, counts.false_regions) == (1, 0)


def test_a_map_that_is_flat_points_nowhere() -> None:
    for level in (0.0, 1.0, -3.0):
        flat = np.full(SHAPE, level, np.float32)
        assert not normalize_heatmap(flat).any()
        counts = counts_of(flat, mask(np.s_[2:4, 2:4]))
        assert (counts.regions, counts.found_loose, counts.lesions) == (0, 0, 1)


def test_values_may_be_taken_as_they_are() -> None:
    values = np.zeros(SHAPE, np.float32)
    values[2:4, 2:4] = 0.6
    assert counts_of(values, mask()).regions == 1
    assert counts_of(values, mask(), normalize=False).regions == 0
    whole = np.where(values > 0, np.float32(1), np.float32(0))
    assert counts_of(whole, mask(), normalize=False).regions == 1
    with pytest.raises(ValueError, match="lies in"):
        counts_of(values * 2, mask(), normalize=False)


def random_image(seed: int):
    rng = np.random.default_rng(seed)
    values = normalize_heatmap(cv2.GaussianBlur(rng.random(SHAPE).astype(np.float32), (0, 0), 1.5))
    truth = cv2.GaussianBlur(rng.random(SHAPE).astype(np.float32), (0, 0), 1) > 0.62
    return values, truth


def by_plain_loops(values, truth, threshold):
    """Count as the text reads, with a mask a lesion and a mask a region."""
    _, regions = cv2.connectedComponents(
        (values >= np.float32(threshold)).astype(np.uint8), None, 8
    )
    _, lesions = cv2.connectedComponents(truth.astype(np.uint8), None, 8)
    region_masks = [regions == n for n in range(1, regions.max() + 1)]
    lesion_masks = [lesions == n for n in range(1, lesions.max() + 1)]
    strict = sum((values[g] >= np.float32(threshold)).mean() >= 0.5 for g in lesion_masks)
    loose = sum((values[g] >= np.float32(threshold)).any() for g in lesion_masks)
    false = 0
    for p in region_masks:
        overlaps = [(p & g).sum() / (p | g).sum() for g in lesion_masks if (p & g).any()]
        false += not overlaps or np.mean(overlaps) < 0.5
    return strict, loose, false


def test_counts_and_curve_equal_plain_loops_at_every_threshold() -> None:
    images = [random_image(seed) for seed in range(6)]
    found = WeakLocalization(["EX"])
    for values, truth in images:
        found.add(values, {"EX": truth})
    for number, threshold in enumerate(reversed(LOCALIZATION_THRESHOLDS), start=1):
        expected = np.sum([by_plain_loops(*image, threshold) for image in images], axis=0)
        for rule, hits in zip(("strict", "loose"), expected[:2], strict=True):
            curve = found.curve("EX", rule=rule, whole=True)
            assert curve.thresholds[number] == pytest.approx(threshold)
            assert curve.sensitivity[number] == pytest.approx(hits / curve.lesions)
        assert found.curve("EX", whole=True).fpi[number] == pytest.approx(expected[2] / 6)
    counts = found.counts("EX")
    at_published = np.sum([by_plain_loops(*image, 0.65) for image in images], axis=0)
    assert (counts.found_strict, counts.found_loose, counts.false_regions) == tuple(at_published)
    assert counts.lesions > counts.found_loose > counts.found_strict > 0


def test_sweep_over_scores_keeps_the_regions_of_the_fixed_threshold() -> None:
    truth = mask(np.s_[5, 0:10], np.s_[10:12, 10:12])
    found = WeakLocalization(["EX"])
    found.add(
        heat((*np.s_[5:6, 0:3], 0.9), (*np.s_[5:6, 6:8], 0.7), (*np.s_[10:12, 10:12], 0.8)),
        {"EX": truth},
    )
    curve = found.curve("EX", sweep="score")
    at = dict(
        zip(
            np.round(curve.thresholds, 2),
            zip(curve.sensitivity, curve.fpi, strict=True),
            strict=True,
        )
    )
    assert at[np.inf] == (0, 0)
    assert at[1.0] == (0, 1)  # the corner
    assert at[0.9] == (0, 2)
    assert at[0.8] == (0.5, 2)  # the square is found, and its region true
    assert at[0.7] == (1, 3)
    assert at[0.65] == at[0.05] == (1, 3)
    assert found.curve("EX", sweep="score", rule="loose").sensitivity[3] == 0.5


def test_curve_ends_where_regions_merge() -> None:
    # Two false spots on a slope: at .5 they are two regions, at .3 one.
    values = heat((*np.s_[5:6, 5:12], 0.3), (*np.s_[5:6, 5:6], 0.5), (*np.s_[5:6, 11:12], 0.5))
    found = WeakLocalization(["EX"], thresholds=(0.2, 0.3, 0.5, 1))
    found.add(values, {"EX": mask(np.s_[0:2, 0:2])})
    whole, curve = found.curve("EX", whole=True), found.curve("EX")
    assert whole.fpi.tolist() == [0, 1, 3, 2, 2]
    assert whole.ended is None
    assert curve.fpi.tolist() == [0, 1, 3]
    assert curve.ended == 0.5


def test_bootstrap_moves_with_the_images() -> None:
    found = WeakLocalization(["EX"])
    for seed in range(8):
        values, truth = random_image(seed)
        found.add(values, {"EX": truth})
    interval = bootstrap_interval(
        lambda weights: found.counts("EX", weights).sensitivity("strict"), len(found), resamples=200
    )
    assert interval.estimate == found.counts("EX").sensitivity("strict")
    assert interval.low < interval.estimate < interval.high
    twice = np.array([2] + [0] * 7)
    alone = WeakLocalization(["EX"])
    values, truth = random_image(0)
    alone.add(values, {"EX": truth})
    np.testing.assert_array_equal(
        found.curve("EX", weights=twice).sensitivity, alone.curve("EX").sensitivity
    )
    assert found.curve("EX", weights=twice).images == 2


def test_labelled_truth_keeps_touching_lesions_apart() -> None:
    truth = np.zeros(SHAPE, np.int32)
    truth[2:4, 2:4], truth[2:4, 4:6] = 7, 3
    counts = counts_of(heat((*np.s_[2:4, 2:4], 0.9)), truth)
    assert (counts.lesions, counts.found_loose, counts.false_regions) == (2, 1, 1)


def test_published_figures_are_of_the_four_classes() -> None:
    assert set(PUBLISHED_LOCALIZATION) == set(WeakLocalization().lesions)
    assert LOCALIZATION_THRESHOLD in LOCALIZATION_THRESHOLDS


@pytest.mark.parametrize(
    "build",
    [
        partial(WeakLocalization, threshold=0.0),
        partial(WeakLocalization, thresholds=(0.5, 0.5)),
        partial(WeakLocalization, thresholds=(0.5, 1.5)),
        partial(find_regions, np.zeros(SHAPE, np.float32), 0),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(build) -> None:
    with pytest.raises(ValueError, match="hreshold"):
        build()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        counts_of(heat(), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="finite"):
        counts_of(np.full(SHAPE, np.nan), mask())
