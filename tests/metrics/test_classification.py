"""Scores of images: against scikit-learn, by hand, and with undefined and weighted images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from napari_fundus.metrics import BinaryScores, ConfusionMatrix, GradePredictions
from napari_fundus.metrics.bootstrap import bootstrap_interval, resampled_weights


def scored(seed: int, count: int = 80, levels: int | None = None):
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.4
    score = 1 / (1 + np.exp(-(rng.normal(0, 1, count) + 1.5 * truth - 0.5)))
    if levels:  # many ties
        score = np.round(score * levels) / levels
    return truth, score


@pytest.mark.parametrize("levels", [None, 20, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_and_curve_are_those_of_scikit_learn(levels, weighted) -> None:
    truth, score = scored(1, levels=levels)
    weights = np.random.default_rng(2).integers(0, 4, len(truth)) if weighted else None
    curve = BinaryScores(truth, score).roc(weights)
    assert curve.auc == pytest.approx(metrics.roc_auc_score(truth, score, sample_weight=weights))
    if not weighted:
        fpr, tpr, thresholds = metrics.roc_curve(truth, score, drop_intermediate=False)
        np.testing.assert_allclose(1 - curve.specificity, fpr, atol=1e-12)
        np.testing.assert_allclose(curve.sensitivity, tpr)
        np.testing.assert_allclose(curve.thresholds, thresholds)


def test_operating_points_by_hand() -> None:
    # Falling scores: yes, yes, no, yes, no, no; 3 yes and 3 no.
    scores = BinaryScores([1, 1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.3, 0.1])
    curve = scores.roc()
    assert curve.auc == pytest.approx(8 / 9)  # one pair of nine stands the wrong way round
    sure = curve.at_specificity(1.0)
    assert (sure.threshold, sure.sensitivity, sure.specificity) == (0.8, pytest.approx(2 / 3), 1.0)
    all_found = curve.at_sensitivity(0.9)
    assert all_found.threshold == 0.6
    assert all_found.specificity == pytest.approx(2 / 3)
    # A sensitivity that is reached exactly is reached, whatever its last bit.
    assert curve.at_sensitivity(2 / 3).specificity == 1
    assert curve.at_sensitivity(0.0).specificity == 1


def test_an_image_at_the_threshold_is_positive() -> None:
    table = BinaryScores([True, False], [0.5, 0.5]).confusion(0.5)
    np.testing.assert_array_equal(table.counts, [[0, 1], [0, 1]])
    assert (table.sensitivity, table.specificity) == (1, 0)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_confusion_is_that_of_scikit_learn(classes, weighted) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 60)
    given = np.clip(truth + rng.integers(-1, 2, 60), 0, classes - 1)
    weights = rng.integers(0, 3, 60) if weighted else None
    ours = ConfusionMatrix.of(truth, given, classes=classes, weights=weights)
    given_to = {"sample_weight": weights, "average": None, "zero_division": np.nan}
    np.testing.assert_array_equal(
        ours.counts, metrics.confusion_matrix(truth, given, sample_weight=weights)
    )
    assert ours.accuracy == pytest.approx(
        metrics.accuracy_score(truth, given, sample_weight=weights)
    )
    for power, name in ((0, None), (1, "linear"), (2, "quadratic")):
        assert ours.kappa(power) == pytest.approx(
            metrics.cohen_kappa_score(truth, given, weights=name, sample_weight=weights)
        )
    np.testing.assert_allclose(ours.precision, metrics.precision_score(truth, given, **given_to))
    np.testing.assert_allclose(ours.recall, metrics.recall_score(truth, given, **given_to))
    np.testing.assert_allclose(ours.f1, metrics.f1_score(truth, given, **given_to))


def test_quadratic_kappa_by_hand() -> None:
    # Two of three right, one off by two of two steps: 4/3 seen, 4 * (1/3 * 1/3) + … by chance.
    table = ConfusionMatrix.of([0, 1, 2], [0, 1, 0], classes=3)
    # By chance: rows 1 each, columns 2, 1, 0: (1*1 + 1*2 + 4*2 + 1*1) / 3 = 4.
    assert table.kappa() == pytest.approx(1 - 4 / 4)


def test_undefined_figures_are_nan() -> None:
    one_class = BinaryScores([True, True], [0.2, 0.9])
    assert math.isnan(one_class.roc().auc)
    assert math.isnan(one_class.roc().at_specificity(0.9).sensitivity)
    table = one_class.confusion(0.1)
    assert math.isnan(table.specificity)
    assert math.isnan(table.kappa())
    assert table.sensitivity == 1
    nothing = ConfusionMatrix.of(np.zeros(0, int), np.zeros(0, int), classes=5)
    assert math.isnan(nothing.accuracy)
    assert math.isnan(nothing.macro_f1)
    assert math.isnan(nothing.kappa())
    assert np.isnan(one_class.band(resamples=5).low).all()


def test_figures_of_two_classes_have_intervals_around_them() -> None:
    truth, score = scored(3)
    measured = BinaryScores(truth, score).metrics(0.5, resamples=200)
    assert measured["auc"].estimate == pytest.approx(metrics.roc_auc_score(truth, score))
    assert measured["f1"].estimate == pytest.approx(metrics.f1_score(truth, score >= 0.5))
    for figure in measured.values():
        assert figure.low <= figure.estimate <= figure.high
        assert figure.low < figure.high
        assert figure.resamples == 200


def test_figures_of_grades() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 50)
    given = np.clip(truth + rng.integers(-1, 2, 50), 0, 4)
    measured = GradePredictions(truth, given).metrics(resamples=100)
    assert measured["kappa"].estimate == pytest.approx(
        metrics.cohen_kappa_score(truth, given, weights="quadratic")
    )
    assert measured["macro_f1"].estimate == pytest.approx(
        metrics.f1_score(truth, given, average="macro")
    )
    assert measured["accuracy"].low < measured["accuracy"].estimate < measured["accuracy"].high


def test_band_encloses_the_curve_of_all_images() -> None:
    truth, score = scored(5, 120)
    scores = BinaryScores(truth, score)
    band = scores.band(resamples=200)
    for specificity, low, high in zip(band.specificity, band.low, band.high, strict=True):
        assert low <= scores.roc().at_specificity(specificity).sensitivity + 1e-9
        assert high >= scores.roc().at_specificity(specificity).sensitivity - 1e-9
    assert (np.diff(band.low) <= 1e-12).all()
    assert (band.high - band.low).max() > 0.05


def test_images_of_one_group_are_drawn_together() -> None:
    groups = ["a", "b", "a", None, None]
    weights = resampled_weights(5, resamples=300, seed=1, groups=groups)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, 3] != weights[:, 4]).any()
    # Four groups are drawn each time.
    assert set((weights[:, 0] + weights[:, 1] + weights[:, 3] + weights[:, 4]).tolist()) == {4}


def test_interval_widens_where_images_repeat_an_eye() -> None:
    truth, score = scored(7, 60)
    thrice = np.tile(truth, 3), np.tile(score, 3)
    eyes = list(range(60)) * 3
    naive = BinaryScores(*thrice).metrics(resamples=300)["auc"]
    honest = BinaryScores(*thrice, groups=eyes).metrics(resamples=300)["auc"]
    single = BinaryScores(truth, score).metrics(resamples=300)["auc"]
    assert naive.high - naive.low < 0.75 * (honest.high - honest.low)
    assert (honest.low, honest.high) == pytest.approx((single.low, single.high))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="truths"):
        BinaryScores([True], [0.1, 0.2])
    with pytest.raises(ValueError, match="finite"):
        BinaryScores([True], [np.nan])
    with pytest.raises(ValueError, match="from 0 to 4"):
        ConfusionMatrix.of([0, 5], [0, 0], classes=5)
    with pytest.raises(ValueError, match="whole numbers"):
        ConfusionMatrix.of([0.0, 1.0], [0, 1], classes=2)
    with pytest.raises(ValueError, match="2 classes"):
        ConfusionMatrix.of([0, 2], [0, 0], classes=3).sensitivity  # noqa: B018
    with pytest.raises(ValueError, match="groups"):
        bootstrap_interval(lambda weights: 0.0, 3, groups=["a"])


@pytest.mark.parametrize(("true", "found"), [(-1, 0), (1, -1), (2, 0), (0, 2)])
def test_classes_out_of_range_are_refused(true, found) -> None:
    with pytest.raises(ValueError, match="Classes lie from 0 to 1"):
        ConfusionMatrix.of([true], [found], classes=2)
