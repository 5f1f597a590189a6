"""Reliability and temperature: against scikit-learn, by hand, and recovering what was drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics
from sklearn.calibration import calibration_curve

from napari_fundus.metrics.calibration import (
    TEMPERATURE_BOUNDS,
    best_temperature,
    brier_score,
    cross_fit_temperature,
    fit_temperature,
    reliability_curve,
    to_logits,
    top_class_confidence,
)


def drawn(count: int, temperature: float, seed: int = 0):
    """Draw log-odds that are `temperature` times too large, and what came true."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, count)
    return honest * temperature, rng.random(count) < expit(honest)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_curve_is_that_of_scikit_learn(strategy) -> None:
    logits, truth = drawn(300, 2)
    curve = reliability_curve(expit(logits), truth, bins=8, strategy=strategy)
    observed, predicted = calibration_curve(truth, expit(logits), n_bins=8, strategy=strategy)
    filled = curve.counts > 0
    np.testing.assert_allclose(curve.observed[filled], observed)
    np.testing.assert_allclose(curve.predicted[filled], predicted)
    assert curve.counts.sum() == 300


def test_expected_calibration_error_by_hand() -> None:
    # Bins of .5: three images said .2 with one true, one image said .7 and true.
    curve = reliability_curve([0.2, 0.2, 0.2, 0.7], [True, False, False, True], bins=2)
    assert curve.error == pytest.approx(3 / 4 * (1 / 3 - 0.2) + 1 / 4 * 0.3)
    empty = reliability_curve([0.1], [False], bins=4)
    assert empty.counts.tolist() == [1, 0, 0, 0]
    assert np.isnan(empty.observed[1:]).all()
    assert empty.error == pytest.approx(0.1)


def test_weights_count_images_several_times() -> None:
    said, true = np.array([0.2, 0.4, 0.9]), np.array([False, True, True])
    weights = np.array([2, 1, 0])
    many = reliability_curve([0.2, 0.2, 0.4], [False, False, True], bins=5)
    weighted = reliability_curve(said, true, bins=5, weights=weights)
    np.testing.assert_allclose(weighted.observed, many.observed)
    assert weighted.error == pytest.approx(many.error)
    assert brier_score(said, true, weights=weights) == pytest.approx((0.04 + 0.04 + 0.36) / 3)


def test_brier_score_is_that_of_scikit_learn() -> None:
    logits, truth = drawn(50, 1)
    assert brier_score(expit(logits), truth) == pytest.approx(
        metrics.brier_score_loss(truth, expit(logits))
    )
    rng = np.random.default_rng(0)
    several, grade = softmax(rng.normal(0, 1, (40, 5)), axis=1), rng.integers(0, 5, 40)
    expected = ((several - np.eye(5)[grade]) ** 2).sum() / 40
    assert brier_score(several, grade) == pytest.approx(expected)
    assert brier_score([[1.0, 0.0]], [1]) == 2
    assert math.isnan(brier_score([], []))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_that_was_drawn_is_recovered(temperature) -> None:
    logits, truth = drawn(20_000, temperature)
    fitted = fit_temperature(logits, truth)
    assert fitted.value == pytest.approx(temperature, rel=0.06)
    assert fitted.loss_after <= fitted.loss_before
    before, after = (
        reliability_curve(p, truth).error for p in (expit(logits), fitted.apply(logits))
    )
    assert after < 0.02
    if temperature == 3:
        assert before > 0.1


def test_temperature_of_several_classes_is_recovered() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5))
    truth = (softmax(honest, axis=1).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    fitted = fit_temperature(honest * 2, truth)
    assert fitted.value == pytest.approx(2, rel=0.05)
    sure, right = top_class_confidence(fitted.apply(honest * 2), truth)
    assert reliability_curve(sure, right).error < 0.02
    assert fitted.loss_after == pytest.approx(
        metrics.log_loss(truth, fitted.apply(honest * 2), labels=range(5)), rel=1e-6
    )


def test_two_classes_are_yes_or_no() -> None:
    logits, truth = drawn(400, 2)
    as_two = np.stack([np.zeros(400), logits], axis=1)
    one, two = fit_temperature(logits, truth), fit_temperature(as_two, truth.astype(int))
    assert one.value == pytest.approx(two.value, rel=1e-3)
    np.testing.assert_allclose(one.apply(logits), two.apply(as_two)[:, 1], rtol=1e-3)


def test_temperature_keeps_the_order_of_images() -> None:
    logits, truth = drawn(50, 4)
    fitted = fit_temperature(logits, truth)
    np.testing.assert_array_equal(np.argsort(fitted.apply(logits)), np.argsort(logits))


def test_images_told_apart_without_a_mistake_say_that_they_settle_nothing() -> None:
    fitted = fit_temperature([-3.0, -2.0, 2.0, 3.0], [False, False, True, True])
    assert fitted.at_bound
    assert fitted.value == pytest.approx(TEMPERATURE_BOUNDS[0], rel=0.01)
    assert not fit_temperature(*drawn(200, 2)).at_bound


def test_cross_fitting_never_uses_the_images_of_an_eye_on_themselves() -> None:
    logits, truth = drawn(300, 3)
    eyes = [None, *(n // 2 for n in range(299))]
    scaled = cross_fit_temperature(logits, truth, groups=eyes)
    assert reliability_curve(scaled, truth).error < reliability_curve(expit(logits), truth).error
    # Another truth of one eye changes the temperature of all others, and not its own.
    changed = truth.copy()
    changed[1:3] = ~changed[1:3]
    moved = cross_fit_temperature(logits, changed, groups=eyes) != scaled
    assert not moved[1:3].any()
    assert moved.sum() > 200
    with pytest.raises(ValueError, match="do not fill"):
        cross_fit_temperature([0.0, 1.0], [False, True], groups=["a", "a"])


def test_log_odds_of_certainty_are_finite() -> None:
    np.testing.assert_allclose(to_logits([0.5, expit(2.0)]), [0, 2], atol=1e-9)
    assert np.isfinite(to_logits([0.0, 1.0])).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="lie in"):
        reliability_curve([1.2], [True])
    with pytest.raises(ValueError, match="truths"):
        brier_score([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="at least one bin"):
        reliability_curve([0.2], [True], bins=0)
    with pytest.raises(ValueError, match="truths"):
        fit_temperature([], [])
    with pytest.raises(ValueError, match="finite"):
        fit_temperature([np.inf], [True])


def test_a_loss_that_falls_with_the_temperature_ends_at_a_bound() -> None:
    low, high = TEMPERATURE_BOUNDS
    assert best_temperature(lambda t: t) == pytest.approx(low, rel=1e-3)
    assert best_temperature(lambda t: -t) == pytest.approx(high, rel=1e-3)


def test_a_probability_on_an_edge_belongs_to_the_bin_below() -> None:
    """Bins are open below and closed above, as in the paper; 0 belongs to the first."""
    said = [0.0, 0.25, 0.5, 0.75, 1.0]
    curve = reliability_curve(said, [False, True, False, False, True], bins=4)
    assert curve.edges.tolist() == said
    assert curve.counts.tolist() == [2, 1, 1, 1]
    assert curve.observed.tolist() == [0.5, 0, 0, 1]
    above = reliability_curve(np.nextafter(said[1:-1], 1), [True, True, True], bins=4)
    assert above.counts.tolist() == [0, 1, 1, 1]
