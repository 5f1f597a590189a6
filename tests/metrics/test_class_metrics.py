"""Figures of a classifier: worked examples, and agreement with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from napari_fundus.errors import TrainingError
from napari_fundus.metrics.class_metrics import (
    auc,
    binary_metrics,
    confusion_counts,
    fit_temperature,
    quadratic_kappa,
)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_scikit_learn_with_ties_too(seed) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 60)
    score = np.round(rng.normal(truth, 1.5), 1)
    assert auc(score, truth) == pytest.approx(metrics.roc_auc_score(truth, score))


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], []])
def test_auc_of_one_class_is_not_a_number(truth) -> None:
    assert np.isnan(auc(np.zeros(len(truth)), truth))


@pytest.mark.parametrize("classes", [2, 5])
def test_kappa_is_that_of_scikit_learn(classes) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 80)
    found = np.clip(truth + rng.integers(-1, 2, 80), 0, classes - 1)
    wanted = metrics.cohen_kappa_score(
        truth, found, weights="quadratic", labels=list(range(classes))
    )
    assert quadratic_kappa(truth, found, classes) == pytest.approx(wanted)


def test_kappa_tells_nothing_where_nothing_varies() -> None:
    assert quadratic_kappa([1, 1], [1, 1], 2) == 0.0


def test_confusion_has_the_truth_in_its_rows() -> None:
    np.testing.assert_array_equal(confusion_counts([0, 1, 1], [1, 1, 1], 2), [[0, 1], [0, 2]])


def test_binary_figures_of_a_worked_example() -> None:
    found = binary_metrics([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 1])
    assert found == {"accuracy": 4 / 6, "sensitivity": 3 / 4, "specificity": 1 / 2}
    assert np.isnan(binary_metrics([0, 0], [0, 1])["sensitivity"])


def test_the_temperature_undoes_a_scaling_of_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(-logits))

    def loss(temperature: float) -> float:
        scaled = 3 * logits / temperature
        return float(np.logaddexp(0, np.where(truth, -scaled, scaled)).mean())

    assert fit_temperature(loss) == pytest.approx(3, rel=0.1)


def test_images_told_apart_without_error_give_the_least_temperature() -> None:
    assert fit_temperature(lambda t: t) == pytest.approx(1 / 20, rel=1e-3)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        fit_temperature(lambda _: float("nan"))
