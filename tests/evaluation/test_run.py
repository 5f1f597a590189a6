"""Evaluation of detectors side by side: what is counted, and that nothing is looked at twice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_fundus.errors import Cancelled, NoFieldOfViewError, OptionsError
from napari_fundus.evaluation import (
    Candidate,
    EvaluationProtocol,
    as_healthy,
    evaluate_dataset,
    find_protocols,
)
from napari_fundus.metrics import Froc, Interval, PixelHistogram, lesion_counts, pixel_overlap
from napari_fundus.runtime.progress import Monitor

FEW = {"resamples": 20}


def test_figures_are_those_of_the_counters_fed_by_hand(dataset, contrast) -> None:
    report = evaluate_dataset(dataset, [contrast], protocols=list(find_protocols().items), **FEW)
    froc, pixels, overlap, lesions = Froc(), PixelHistogram(), None, None
    for sample in dataset:
        image = sample.image()
        found, truth = contrast.detect(image), sample.mask("MA", image.shape)
        froc.add(found.probability["MA"], truth)
        pixels.add(found.probability["MA"], truth)
        now = pixel_overlap(found.labels["MA"], truth), lesion_counts(found.labels["MA"], truth)
        overlap = now[0] if overlap is None else overlap + now[0]
        lesions = now[1] if lesions is None else lesions + now[1]
    names = ("aupr", "froc", "overlap", "image")
    metrics = {name: report.metrics("contrast", name)["MA"] for name in names}
    assert metrics["froc"]["CPM"].estimate == pytest.approx(froc.curve().cpm)
    assert metrics["aupr"]["AUPR, 33 thresholds"].estimate == pytest.approx(pixels.curve().aupr)
    assert metrics["overlap"]["dice"].estimate == pytest.approx(overlap.dice)
    assert metrics["overlap"]["accuracy"].estimate == pytest.approx(overlap.accuracy)
    assert metrics["overlap"]["lesion sensitivity"].estimate == lesions.sensitivity
    assert metrics["overlap"]["fpi"].estimate == pytest.approx(lesions.false_positives / 3)
    assert metrics["image"]["images"] == 3


def test_only_annotated_classes_count(dataset, contrast) -> None:
    report = evaluate_dataset(dataset, [contrast], protocols=["aupr", "froc", "image"], **FEW)
    for name in ("aupr", "froc", "image"):
        metrics = report.metrics("contrast", name)
        assert metrics["MA"]["images"] == 3
        assert metrics["EX"]["images"] == 2  # not annotated in the third
        assert "HE" not in metrics  # annotated, but not looked for


def test_healthy_images_count_in_fpi_and_not_in_aupr(dataset, healthy, contrast) -> None:
    samples = [*dataset, *map(as_healthy, healthy)]
    report = evaluate_dataset(samples, [contrast], protocols=["aupr", "froc", "image"], **FEW)
    froc = report.metrics("contrast", "froc")["MA"]
    assert (froc["images"], froc["healthy"], froc["with it"]) == (5, 2, 3)
    assert report.metrics("contrast", "aupr")["MA"]["images"] == 3
    assert report.metrics("contrast", "image")["MA"]["with it"] == 3
    alone = evaluate_dataset(dataset, [contrast], protocols=["froc"], **FEW)
    assert alone.metrics("contrast", "froc")["MA"]["lesions"] == froc["lesions"]


def test_detectors_do_not_run_over_images_that_no_protocol_counts(
    dataset, healthy, contrast
) -> None:
    samples = [*dataset, *map(as_healthy, healthy)]
    evaluate_dataset(samples, [contrast], protocols=["aupr"], **FEW)
    assert contrast.runs == ["eye0", "eye1", "eye2"]


def test_detectors_stand_side_by_side_on_the_same_images(dataset, contrast, bright) -> None:
    report = evaluate_dataset(dataset, [contrast, bright], protocols=["aupr"], **FEW)
    both = [report.metrics(name, "aupr")["EX"]["images"] for name in ("contrast", "bright")]
    assert both == [2, 2]
    assert "MA" not in report.metrics("bright", "aupr")


def test_the_same_detector_twice_gets_two_labels(dataset, contrast) -> None:
    small = Candidate.of(contrast, {"size": 3.0})
    report = evaluate_dataset(dataset, [contrast, small], protocols=["aupr"], lesions=["MA"], **FEW)
    assert [t.candidate.label for t in report.trials] == ["contrast #1", "contrast #2"]
    first, second = (report.metrics(t.candidate.label, "aupr") for t in report.trials)
    assert first != second


def test_kept_maps_give_the_same_figures_without_a_run(dataset, contrast, tmp_path) -> None:
    names = list(find_protocols().items)
    none = evaluate_dataset(dataset, [contrast], protocols=names, **FEW).to_json()
    fresh = evaluate_dataset(
        dataset, [contrast], protocols=names, cache=tmp_path / "m", **FEW
    ).to_json()
    runs = len(contrast.runs)
    kept = evaluate_dataset(
        dataset, [contrast], protocols=names, cache=tmp_path / "m", **FEW
    ).to_json()
    assert len(contrast.runs) == runs
    assert all(image["kept"] for image in kept["detectors"][0]["images"])
    assert json.dumps(none["detectors"][0]["figures"]) == json.dumps(
        fresh["detectors"][0]["figures"]
    )
    assert kept["detectors"][0]["figures"] == fresh["detectors"][0]["figures"]


def test_a_cancelled_run_goes_on_where_it_was(dataset, contrast, tmp_path) -> None:
    monitor = Monitor(lambda p: monitor.cancel() if len(contrast.runs) == 2 else None)
    with pytest.raises(Cancelled):
        evaluate_dataset(dataset, [contrast], cache=tmp_path / "maps", monitor=monitor, **FEW)
    assert contrast.runs == ["eye0", "eye1"]
    report = evaluate_dataset(dataset, [contrast], cache=tmp_path / "maps", **FEW)
    assert contrast.runs == ["eye0", "eye1", "eye1", "eye2"]
    assert report.images == 3


def test_progress_runs_from_nothing_to_all(dataset, contrast) -> None:
    seen: list[float] = []
    evaluate_dataset(dataset, [contrast], monitor=Monitor(lambda p: seen.append(p.fraction)), **FEW)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_bad_image_is_left_out_for_all_and_named(dataset, contrast, bright) -> None:
    (dataset.root / "eye1.png").write_bytes(b"no image")
    report = evaluate_dataset(dataset, [contrast, bright], protocols=["aupr"], **FEW)
    assert list(report.problems) == ["eye1"]
    assert [trial.images[1].sample for trial in report.trials] == ["eye2", "eye2"]
    assert report.metrics("contrast", "aupr")["MA"]["images"] == 2
    assert "left out" in report.warnings[0]


def test_nothing_but_bad_images_is_an_error(dataset, contrast, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise NoFieldOfViewError("It is black.")

    monkeypatch.setattr(contrast, "predict", refuse)
    with pytest.raises(NoFieldOfViewError, match="black"):
        evaluate_dataset(dataset, [contrast], **FEW)


def test_what_cannot_be_evaluated_is_refused(dataset, healthy, contrast) -> None:
    with pytest.raises(OptionsError, match="protocol is called 'map'"):
        evaluate_dataset(dataset, [contrast], protocols=["map"])
    with pytest.raises(OptionsError, match="SE: not annotated"):
        evaluate_dataset(dataset, [contrast], lesions=["SE"])
    with pytest.raises(OptionsError, match="at least one detector"):
        evaluate_dataset(dataset, [])
    with pytest.raises(OptionsError, match="Nothing to evaluate"):
        evaluate_dataset(healthy, [contrast], protocols=["froc"])


def test_a_protocol_of_ones_own_is_a_few_lines(dataset, contrast) -> None:
    class Brightest(EvaluationProtocol):
        name, title, method = "brightest", "Largest value", "The mean of the largest values."

        def __init__(self, settings) -> None:
            super().__init__(settings)
            self.values: list[float] = []

        def add(self, detections, case) -> None:
            self.values.append(float(detections.probability["MA"].max()))

        def metrics(self):
            return {"all": {"mean": float(np.mean(self.values))}}

    report = evaluate_dataset(dataset, [contrast], protocols=["aupr", Brightest], **FEW)
    assert 0 < report.metrics("contrast", "brightest")["all"]["mean"] <= 1
    assert report.to_json()["protocols"]["brightest"]["method"].startswith("The mean")


def test_images_of_one_eye_are_drawn_together(dataset, contrast) -> None:
    eyes = [replace(s, group="one") for s in dataset]
    together = evaluate_dataset(eyes, [contrast], protocols=["froc"], lesions=["MA"], **FEW)
    interval = together.metrics("contrast", "froc")["MA"]["CPM"]
    assert interval.low == interval.estimate == interval.high


@pytest.mark.parametrize("name", ["aupr", "froc", "overlap", "image", "instances"])
def test_each_protocol_draws_the_images_of_one_eye_together(dataset, contrast, name) -> None:
    """All images of one eye: every resample is all of them, and no interval has a width."""
    predict = contrast.predict

    def blind_to_one(image, options, **rest):
        whole = predict(image, options, **rest)
        seen = image.name != "eye1"
        return replace(whole, probability={c: m * seen for c, m in whole.probability.items()})

    contrast.predict = blind_to_one
    samples = [replace(sample, group="eye") for sample in dataset]
    for chosen, one_group in ((samples, True), (list(dataset), False)):
        report = evaluate_dataset(chosen, [contrast], protocols=[name], **FEW)
        intervals = [
            metric
            for row in report.metrics("contrast", name).values()
            for metric in row.values()
            if isinstance(metric, Interval) and metric.resamples
        ]
        assert intervals
        assert all(i.low == pytest.approx(i.high) for i in intervals) is one_group
