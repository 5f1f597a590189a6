"""Pictures of a classifier: they show the figures that the metrics give, and become PNG files."""

from __future__ import annotations

import io

import numpy as np
import pytest

from napari_fundus.evaluation.protocols.classifier_plots import (
    plot_confusion,
    plot_localization,
    plot_reliability,
    plot_roc,
)
from napari_fundus.metrics import BinaryScores, ConfusionMatrix, WeakLocalization, reliability_curve


@pytest.fixture
def scores() -> BinaryScores:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.5
    return BinaryScores(truth, np.clip(rng.normal(0.35 + 0.3 * truth, 0.2), 0, 1))


def labels(axes) -> str:
    return "\n".join(text.get_text() for text in axes.get_legend().get_texts())


def png(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def test_roc_shows_curve_interval_and_both_points(scores) -> None:
    figure = plot_roc(scores, threshold=0.4, resamples=50)
    (axes,) = figure.axes
    curve, table = scores.roc(), scores.confusion(0.4)
    lines = [line.get_xydata() for line in axes.lines]
    drawn = np.stack([1 - curve.specificity, curve.sensitivity], axis=1)
    assert any(line.shape == drawn.shape and np.allclose(line, drawn) for line in lines)
    point = [1 - table.specificity, table.sensitivity]
    assert any(len(line) == 1 and np.allclose(line[0], point) for line in lines)
    text = labels(axes)
    assert f"AUC .{round(curve.auc * 1000)}" in text
    assert "published, DIARETDB1: 93.6% / 97.6%" in text
    assert png(figure).startswith(b"\x89PNG")


def test_confusion_names_each_count() -> None:
    table = ConfusionMatrix.of([0, 0, 1, 2], [0, 1, 1, 0], classes=3)
    figure = plot_confusion(table, names=["none", "mild", "more"])
    (axes,) = figure.axes
    cells = [text.get_text() for text in axes.texts]
    assert cells == ["1\n50%", "1\n50%", "·", "·", "1\n100%", "·", "1\n100%", "·", "·"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["none (2)", "mild (1)", "more (1)"]
    assert "accuracy 0.500" in axes.get_title()
    assert png(figure).startswith(b"\x89PNG")


def test_reliability_shows_each_curve_and_its_error(scores) -> None:
    before = reliability_curve(scores.score, scores.truth)
    after = reliability_curve(scores.score**2, scores.truth)
    figure = plot_reliability({"before": before, "after": after})
    above, below = figure.axes
    assert f"before: calibration error {before.error:.3f}" in labels(above)
    assert f"after: calibration error {after.error:.3f}" in labels(above)
    assert len(below.patches) == 2
    assert png(figure).startswith(b"\x89PNG")


def test_localization_has_a_panel_a_class_with_lesions() -> None:
    rng = np.random.default_rng(0)
    found = WeakLocalization()
    for _ in range(4):
        heatmap = rng.random((12, 12)).astype(np.float32).repeat(4, 0).repeat(4, 1)
        truths = {code: rng.random((48, 48)) < 0.02 for code in ("MA", "EX")}
        found.add(heatmap, {**truths, "SE": np.zeros((48, 48), bool)})
    figure = plot_localization(found, resamples=20)
    assert [axes.get_title() for axes in figure.axes] == [
        f"MA: microaneurysms ({found.counts('MA').lesions})",
        f"EX: hard exudates ({found.counts('EX').lesions})",
    ]
    share = found.counts("EX").sensitivity("loose")
    text = labels(figure.axes[1])
    assert f"one pixel covered: {share:.0%}" in text
    assert "published, half covered: 47%" in text
    assert len(plot_localization(found, lesions=["EX"], resamples=5).axes) == 1
    assert png(figure).startswith(b"\x89PNG")


def test_a_class_that_never_occurs_leaves_an_empty_picture() -> None:
    found = WeakLocalization(["SE"])
    found.add(np.eye(8, dtype=np.float32), {"SE": np.zeros((8, 8), bool)})
    figure = plot_localization(found, resamples=5)
    assert not figure.axes[0].lines
    assert png(figure).startswith(b"\x89PNG")
