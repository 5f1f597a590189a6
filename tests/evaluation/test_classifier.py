"""Protocols of classifiers: scores against grades, heat maps against masks, and their pictures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.detector import Detector, Prediction
from napari_fundus.evaluation import evaluate_dataset, to_markdown, write_report
from napari_fundus.evaluation.protocols.published import published_for
from napari_fundus.lesions import DR_EVIDENCE, DR_LESIONS
from napari_fundus.metrics import BinaryScores, WeakLocalization

FEW = {"resamples": 20}


class Brightness(Detector):
    """Calls bright images diseased, and points at what is bright in them."""

    name = "brightness"
    title = "Brightness"
    summary = "Bright spots"
    lesions = (DR_EVIDENCE,)

    def predict(self, image, options, **_) -> Prediction:
        heat = image.rgb8[..., 1].astype(np.float32) / 255
        referable = float(heat.max())
        grades = np.array([1 - referable, 0, referable, 0, 0])
        return Prediction(
            {DR_EVIDENCE: heat},
            heatmap={DR_EVIDENCE: heat},
            image_score={
                "referable DR": referable,
                **{f"grade {n}": float(value) for n, value in enumerate(grades)},
            },
            field_of_view=np.ones(image.shape, bool),
        )


@pytest.fixture
def graded(tmp_path) -> list[Sample]:
    """Write twelve images: those of grade 2 are bright, but for one, and have an exudate drawn."""
    for number in range(12):
        pixels = np.full((80, 100, 3), 30, np.uint8)
        if number % 2 and number != 11:
            pixels[10:14, 20:24] = 150 + number
        pixels[30, 50] = 100 + number
        cv2.imwrite(str(tmp_path / f"eye{number}.png"), pixels)
        for code in DR_LESIONS:
            mask = np.zeros((80, 100), np.uint8)
            if code == "EX" and number % 2:
                mask[10:14, 20:24] = 255
            cv2.imwrite(str(tmp_path / f"eye{number}_{code}.png"), mask)
    data = open_dataset(tmp_path)
    grades = {f"eye{n}": 2 if n % 2 else 0 for n in range(12)}
    return [replace(s, grades={"dr": grades[s.image_path.stem]}) for s in data]


def test_scores_are_measured_against_grades(graded) -> None:
    report = evaluate_dataset(graded, [Brightness()], protocols=["classification"], **FEW)
    metrics = report.metrics("brightness", "classification")
    said = [Brightness().detect(s.image()).image_score["referable DR"] for s in graded]
    scores = BinaryScores([s.grades["dr"] >= 2 for s in graded], said)
    assert set(metrics) == {"referable DR", "grade"}
    referable = metrics["referable DR"]
    assert (referable["images"], referable["positive"]) == (12, 6)
    assert referable["auc"].estimate == pytest.approx(scores.roc().auc)
    assert referable["sensitivity"].estimate == pytest.approx(5 / 6)
    assert referable["specificity"].estimate == 1
    assert referable["calibration_error_scaled"].estimate < referable["calibration_error"].estimate
    assert metrics["grade"]["kappa"].estimate == pytest.approx(5 / 6)


def test_heat_maps_are_measured_against_masks(graded) -> None:
    report = evaluate_dataset(graded, [Brightness()], protocols=["localization"], **FEW)
    metrics = report.metrics("brightness", "localization")
    by_hand = WeakLocalization(["EX"])
    for sample in graded:
        heat = Brightness().detect(sample.image()).heatmap[DR_EVIDENCE]
        by_hand.add(heat, {"EX": sample.mask("EX", heat.shape)})
    counts = by_hand.counts("EX")
    assert metrics["EX"]["lesions"] == counts.lesions == 6
    assert metrics["EX"]["strict"].estimate == counts.sensitivity("strict") == 5 / 6
    assert metrics["EX"]["fpi"].estimate == pytest.approx(counts.fpi)
    assert metrics["any"]["lesions"] == 6  # all four classes together
    assert np.isnan(metrics["SE"]["strict"].estimate)
    rows = report.trials[0].counters[0].image_rows()
    assert sum(row["pointed_at_strict"] for (_, code), row in rows.items() if code == "EX") == 5


def test_images_without_grade_or_masks_do_not_count(graded) -> None:
    bare = [
        replace(graded[0], id="bare", grades={}),
        replace(graded[1], id="undrawn", annotated=frozenset(), truths={}),
    ]
    report = evaluate_dataset(
        [*graded, *bare], [Brightness()], protocols=["classification", "localization"], **FEW
    )
    assert report.metrics("brightness", "classification")["referable DR"]["images"] == 13
    assert report.metrics("brightness", "localization")["EX"]["images"] == 13


def test_detectors_that_classify_nothing_leave_nothing(dataset, contrast) -> None:
    protocols = ["classification", "localization", "froc"]
    samples = [replace(s, grades={"dr": 2}) for s in dataset]
    report = evaluate_dataset(samples, [contrast], protocols=protocols, **FEW)
    assert report.metrics("contrast", "classification") == {}
    assert report.metrics("contrast", "localization") == {}


def test_report_shows_tables_pictures_and_what_is_published(graded, tmp_path) -> None:
    report = evaluate_dataset(
        graded, [Brightness()], protocols=["classification", "localization"], **FEW
    )
    files = {p.name for p in write_report(report, tmp_path / "report")}
    assert {
        "roc_referable_dr.png", "reliability_referable_dr.png", "grades.png", "localization.png",
    } <= files  # fmt: skip
    text = to_markdown(report)
    assert "| referable DR | brightness | 12 | 6 |" in text
    assert "| SE | FPI | 1.45 | heat map (Gondal et al. 2017) | DIARETDB1 |" in text
    assert "| MA | FPI | 2 | heat map" in text
    assert "referable DR: referable DR" not in text


def test_published_figures_stand_under_their_headings() -> None:
    assert {(p.lesion, p.figure) for p in published_for("localization")} == {
        (code, name) for code in DR_LESIONS for name in ("lesions, strict", "FPI")
    }
    assert {p.value for p in published_for("classification")} == {0.954, 0.936, 0.976}
