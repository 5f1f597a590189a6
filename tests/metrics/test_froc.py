"""FROC: worked examples, and the exact count of components against labelling at each threshold."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_fundus.metrics import CPM_POINTS, ROC_POINTS, Froc
from napari_fundus.metrics.component_tree import false_component_events, merging_threshold
from napari_fundus.metrics.froc import disc_pixels
from napari_fundus.metrics.froc_curve import point_name


def one_pixel_map(*spots: tuple[int, int, float], shape=(20, 20)) -> np.ndarray:
    probability = np.zeros(shape, np.float32)
    for row, col, value in spots:
        probability[row, col] = value
    return probability


def count_by_labelling(probability, truth, threshold) -> int:
    count, labels = cv2.connectedComponents((probability > threshold).astype(np.uint8), None, 8)
    return count - 1 - len(np.unique(labels[truth & (labels > 0)]))


@pytest.mark.parametrize("levels", [3, 20, 100_000])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_false_components_equal_labelling_at_every_threshold(levels, share) -> None:
    rng = np.random.default_rng(levels)
    noise = cv2.GaussianBlur(rng.random((60, 80)).astype(np.float32), (0, 0), 1.2)
    noise = np.round((noise - noise.min()) / np.ptp(noise) * levels).astype(np.float32) / levels
    truth = rng.random(noise.shape) < share
    appear, vanish = false_component_events(noise, truth)
    for threshold in np.linspace(0, 1, 41).astype(np.float32):
        counted = int((appear > threshold).sum()) - int((vanish > threshold).sum())
        assert counted == count_by_labelling(noise, truth, threshold)


def test_false_components_of_an_empty_and_of_a_flat_map() -> None:
    truth = np.zeros((6, 6), bool)
    assert len(false_component_events(np.zeros((6, 6), np.float32), truth)[0]) == 0
    appear, vanish = false_component_events(np.full((6, 6), 0.5, np.float32), truth)
    assert appear.tolist() == [0.5]
    assert len(vanish) == 0


def test_worked_example_with_a_healthy_image() -> None:
    # Image 1: two lesions, hit at .9 and .3, false positives at .8 and .2; image 2 is healthy, with
    # a false positive at .5.
    truth = np.zeros((20, 20), bool)
    truth[2:5, 2:5] = truth[10:12, 10:12] = True
    froc = Froc()
    froc.add(one_pixel_map((3, 3, 0.9), (11, 11, 0.3), (17, 3, 0.8), (3, 17, 0.2)), truth)
    froc.add(one_pixel_map((5, 5, 0.5)), np.zeros((20, 20), bool))
    curve = froc.curve()
    assert curve.images == 2
    assert curve.lesions == 2
    np.testing.assert_allclose(curve.sensitivity, [0, 0.5, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(curve.fpi, [0, 0, 0.5, 1, 1, 1.5])
    np.testing.assert_allclose(curve.thresholds, [np.inf, 0.8, 0.5, 0.3, 0.2, 0], rtol=1e-6)
    # 1/8, 1/4 and 1/2 FPI: .5; from 1 FPI on: 1.
    assert curve.cpm == pytest.approx((3 * 0.5 + 4 * 1.0) / 7)
    assert curve.at(8).reach == "never so high"
    assert curve.at(1).threshold == pytest.approx(0.2)


def test_one_covered_pixel_hits_and_diagonal_pixels_connect() -> None:
    truth = np.zeros((8, 8), bool)
    truth[1, 1] = truth[2, 2] = True  # one lesion
    probability = one_pixel_map((2, 2, 0.9), (3, 3, 0.8), (4, 4, 0.7), shape=(8, 8))
    froc = Froc()
    froc.add(probability, truth)
    curve = froc.curve()
    assert curve.lesions == 1
    assert curve.fpi.max() == 0
    assert curve.sensitivity.max() == 1


def test_false_positives_that_merge_with_a_hit_vanish() -> None:
    truth = np.zeros((1, 7), bool)
    truth[0, 0] = True
    froc = Froc(largest=1)
    froc.add(np.float32([[0.5, 0.5, 0.5, 0.9, 0, 0, 0]]), truth)
    curve = froc.curve(whole=True)
    np.testing.assert_allclose(curve.fpi, [0, 1, 0])
    assert curve.at(1 / 8).sensitivity == 1


def test_a_curve_that_is_never_so_low_says_so() -> None:
    froc = Froc()
    truth = np.zeros((20, 20), bool)
    truth[10, 10] = True
    # At the only level there are three false positives.
    froc.add(one_pixel_map((10, 10, 0.5), (2, 2, 0.5), (5, 15, 0.5), (17, 17, 0.5)), truth)
    summary = froc.curve().summary((1, 2, 4))
    assert [point.sensitivity for point in summary.points] == [0, 0, 1]
    assert [point.reach for point in summary.points] == [
        "never so low", "never so low", "never so high",
    ]  # fmt: skip
    assert summary.mean_sensitivity == pytest.approx(1 / 3)
    assert len(summary.remarks) == 3
    assert summary.remarks[0] == "1 FPI: the curve gets never so low"


def test_points_are_a_parameter() -> None:
    assert CPM_POINTS == (0.125, 0.25, 0.5, 1, 2, 4, 8)
    froc = Froc()
    froc.add(one_pixel_map((1, 1, 0.5)), np.zeros((20, 20), bool))
    points = froc.curve().summary(ROC_POINTS).points
    assert [point.fpi for point in points] == [1, 2, 4, 8, 12, 16, 20]
    assert all(np.isnan(point.sensitivity) for point in points)


def test_points_with_radii_hit_within_the_radius_only() -> None:
    probability = one_pixel_map((10, 10, 0.9), (10, 16, 0.8))
    froc = Froc()
    froc.add_points(probability, [(10, 13, 3.0), (10, 13, 2.9), (2, 2, 1)])
    curve = froc.curve()
    assert curve.lesions == 3
    assert curve.sensitivity[-1] == pytest.approx(1 / 3)
    assert curve.fpi.max() == 0  # both touch the disc of radius 3


def test_points_and_a_mask_of_the_same_discs_give_the_same_curve() -> None:
    rng = np.random.default_rng(3)
    probability = cv2.GaussianBlur(rng.random((50, 50)).astype(np.float32), (0, 0), 1)
    centres = [(10, 10, 3.0), (30, 12, 2.0), (25, 40, 4.5)]
    mask = np.zeros((50, 50), np.int32)
    for number, (row, col, radius) in enumerate(centres, start=1):
        mask[disc_pixels(row, col, radius, mask.shape)] = number
    drawn, pointed = Froc(), Froc()
    drawn.add(probability, mask)
    pointed.add_points(probability, centres)
    np.testing.assert_array_equal(drawn.curve().fpi, pointed.curve().fpi)
    np.testing.assert_array_equal(drawn.curve().sensitivity, pointed.curve().sensitivity)


def test_a_radius_below_half_a_pixel_keeps_the_nearest_pixel() -> None:
    rows, cols = disc_pixels(4.3, 7.4, 0.2, (20, 20))
    assert (rows.tolist(), cols.tolist()) == ([4], [7])


def test_the_lowest_threshold_ends_the_curve() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((30, 30)).astype(np.float32)
    truth = np.zeros((30, 30), bool)
    truth[5:8, 5:8] = True
    whole, cut = Froc(largest=1), Froc(lowest=0.6, largest=1)
    for froc in (whole, cut):
        froc.add(probability, truth)
    full, part = whole.curve(whole=True), cut.curve(whole=True)
    assert part.thresholds[-1] == pytest.approx(0.6)
    above = full.thresholds >= part.thresholds[-2]
    np.testing.assert_array_equal(part.fpi[:-1], full.fpi[above])


def test_weights_count_images_several_times() -> None:
    rng = np.random.default_rng(1)
    images = [
        (rng.random((20, 20)).astype(np.float32), rng.random((20, 20)) < 0.02) for _ in range(2)
    ]
    once, twice = Froc(), Froc()
    for probability, truth in images:
        once.add(probability, truth)
    for probability, truth in (images[0], images[0], images[1]):
        twice.add(probability, truth)
    weighted = once.curve(np.array([2, 1]))
    assert weighted.cpm == pytest.approx(twice.curve().cpm)
    assert weighted.images == 3


def test_images_counted_elsewhere_are_added() -> None:
    rng = np.random.default_rng(1)
    together, parts = Froc(), [Froc(), Froc()]
    for part in parts:
        probability, truth = rng.random((20, 20)).astype(np.float32), rng.random((20, 20)) < 0.02
        together.add(probability, truth)
        part.add(probability, truth)
    parts[0].extend(parts[1])
    np.testing.assert_array_equal(parts[0].curve().fpi, together.curve().fpi)
    with pytest.raises(ValueError, match="differ"):
        together.extend(Froc(lowest=0.5))


def soft_map(seed: int = 0, *, lesions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return a map as networks make them, nowhere 0 and worthless, and its truth."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((120, 120)).astype(np.float32), (0, 0), 1.5)
    probability = 0.001 + 0.5 * (noise - noise.min()) / np.ptp(noise)
    truth = np.zeros(probability.shape, bool)
    for row, col in rng.integers(10, 110, (lesions, 2)):
        truth[row : row + 3, col : col + 3] = True
    return probability.astype(np.float32), truth


def test_a_soft_map_that_merges_into_one_component_earns_nothing() -> None:
    froc = Froc(largest=1)
    for seed in range(4):
        froc.add(*soft_map(seed))
    degenerate, honest = froc.curve(whole=True), froc.curve()
    assert degenerate.cpm == 1
    assert degenerate.fpi[-1] == 0
    assert honest.cpm < 0.1
    assert degenerate.ended is None
    assert honest.ended == honest.thresholds[-1] > 0.1
    assert honest.summary().ended == honest.ended
    # What comes before the end is the same curve.
    kept = len(honest.fpi)
    np.testing.assert_array_equal(honest.fpi, degenerate.fpi[:kept])
    assert honest.fpi[-1] == degenerate.fpi.max()
    assert (degenerate.fpi[kept:] < honest.fpi[-1]).all()


def test_what_fills_the_picture_is_no_detection() -> None:
    # A perfect map on a faint background: no false positive at any threshold, so that the number of
    # false positives cannot tell where the artefact begins.
    truth = np.zeros((50, 50), bool)
    truth[5:10, 5:10] = truth[30:35, 30:35] = True
    probability = np.full(truth.shape, 0.01, np.float32)
    probability[5:10, 5:10] = 0.9
    limited, unlimited = Froc(), Froc(largest=1)
    for froc in (limited, unlimited):
        froc.add(probability, truth)
    assert unlimited.curve().cpm == 1
    assert limited.curve().cpm == 0.5
    constant = Froc()
    constant.add(np.full(truth.shape, 0.5, np.float32), truth)
    assert constant.curve().cpm == 0


def test_only_the_image_with_the_large_component_stops_counting() -> None:
    truth = np.zeros((50, 50), bool)
    truth[5:8, 5:8] = True
    background = np.full(truth.shape, 0.5, np.float32)
    clean = one_pixel_map((6, 6, 0.3), shape=truth.shape)
    froc = Froc()
    froc.add(background, truth)
    froc.add(clean, truth)
    assert froc.curve().sensitivity.max() == 0.5


@pytest.mark.parametrize("largest", [0.02, 0.2])
@pytest.mark.parametrize("lowest", [0.0, 0.3])
def test_crowding_level_is_the_least_that_keeps_components_small(largest, lowest) -> None:
    probability, _ = soft_map()
    most = largest * probability.size

    def area(threshold) -> int:
        stats = cv2.connectedComponentsWithStats((probability > threshold).astype(np.uint8))[2]
        return stats[1:, cv2.CC_STAT_AREA].max(initial=0)

    level = merging_threshold(probability, largest, lowest=lowest)
    assert level >= lowest
    assert area(np.float32(level)) <= most
    if level > lowest:
        assert area(np.float32(level - 2.1 / 64_000)) > most


def test_crowding_level_of_a_sparse_map_is_the_lowest() -> None:
    assert merging_threshold(one_pixel_map((3, 3, 0.2)), 0.2) == 0
    assert merging_threshold(one_pixel_map((3, 3, 0.2)), 0.2, lowest=0.1) == 0.1


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        Froc(largest=0)
    with pytest.raises(ValueError, match="shares differ"):
        Froc(largest=0.5).extend(Froc())


def test_values_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="lie in"):
        Froc().add(np.full((4, 4), np.nan, np.float32), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="shape"):
        Froc().add(np.zeros((4, 4), np.float32), np.zeros((4, 5), bool))
    with pytest.raises(ValueError, match="No image"):
        Froc().curve()


@pytest.mark.parametrize(
    ("point", "pixels"),
    [
        ((5, 5, 1), [(4, 5), (5, 4), (5, 5), (5, 6), (6, 5)]),
        ((5, 5, 0.99), [(5, 5)]),
        ((0, 0, 1), [(0, 0), (0, 1), (1, 0)]),
        ((9, 11, 1), [(8, 11), (9, 10), (9, 11)]),  # the last corner of 10 x 12 px
        ((4.5, 5, 0.5), [(4, 5), (5, 5)]),
        ((4.5, 5.5, 0.1), [(4, 5), (4, 6), (5, 5), (5, 6)]),  # all four are the nearest
    ],
)
def test_pixels_of_a_disc_reach_to_its_very_radius(point, pixels) -> None:
    rows, cols = disc_pixels(*point, (10, 12))
    assert list(zip(rows.tolist(), cols.tolist(), strict=True)) == pixels


@pytest.mark.parametrize(("lowest", "sensitivity"), [(0.25, 1.0), (0.5, 0.5), (0.75, 0.0)])
def test_a_lesion_whose_peak_is_at_the_lowest_threshold_is_not_hit(lowest, sensitivity) -> None:
    truth = np.zeros((20, 20), np.int64)
    truth[3, 3], truth[3, 4] = 7, 9  # two labels that touch are two lesions
    froc = Froc(lowest=lowest)
    froc.add(one_pixel_map((3, 3, 0.5), (3, 4, 0.75)), truth)
    froc.add(one_pixel_map(), np.zeros((20, 20), np.int64))
    assert froc.curve().sensitivity.max(initial=0) == sensitivity
    assert (froc.curve().lesions, len(froc), froc.images_with_lesions) == (2, 2, 1)


def test_numbers_of_false_positives_are_written_as_fractions_below_one() -> None:
    assert [point_name(fpi) for fpi in (0.125, 0.5, 1, 2.5)] == ["1/8", "1/2", "1", "2.5"]
