"""The protocol of objects: truth as drawn and dilated, every kind of detector, tables, pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_fundus.datasets import open_dataset, write_correction
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.evaluation import (
    Candidate,
    Case,
    EvaluationSettings,
    as_healthy,
    evaluate_dataset,
    to_markdown,
    write_report,
)
from napari_fundus.evaluation.protocols import InstancesProtocol
from napari_fundus.image import FundusImage
from napari_fundus.metrics.average_precision import MeanAveragePrecision
from napari_fundus.metrics.instance_objects import detected_objects
from napari_fundus.results.objects import LesionObject, objects_of_mask, score_maps

FEW = {"protocols": ["instances"], "resamples": 20}
SHAPE = (150, 200)


class Drawn(Detector):
    """Finds the objects it is given, whatever the picture."""

    name = "drawn"
    title = "Drawn"
    summary = "What is given"
    lesions = ("MA", "EX")

    class Options(DetectorOptions):
        pass

    def __init__(self, objects: list[LesionObject]) -> None:
        self.objects = objects

    def predict(self, image, options, *, device, monitor) -> Prediction:
        maps = score_maps(self.objects, self.lesions, image.shape)
        return Prediction(maps, objects=self.objects)


@pytest.fixture
def truths(draw) -> dict[str, list[LesionObject]]:
    masks = draw(*SHAPE, seed=0).masks
    return {code: objects_of_mask(masks[code], lesion=code) for code in ("MA", "EX")}


def test_whoever_finds_the_truth_has_all(dataset, truths) -> None:
    first = [s for s in dataset if s.id == "eye0"]
    report = evaluate_dataset(first, [Drawn([*truths["MA"], *truths["EX"]])], **FEW)
    metrics = report.metrics("drawn", "instances")
    assert list(metrics) == [
        "MA", "EX", "all", "MA, dilated", "EX, dilated", "all, dilated",
    ]  # fmt: skip
    for row in ("MA", "EX", "all"):
        told = metrics[row]
        named = [f"mAP{n}" for n in (35, 50, 75)] + [f"COCO AP{n}" for n in (35, 50, 75)]
        assert [told[name].estimate for name in named] == pytest.approx([1] * 6)
        assert told["COCO AP50:95"].estimate == pytest.approx(1)
    assert (metrics["MA"]["lesions"], metrics["EX"]["lesions"]) == (3, 4)
    assert metrics["all"]["lesions"] == 7
    # The masks are as drawn: against thickened lesions of this size they are too small.
    assert metrics["all, dilated"]["mAP75"].estimate == 0


def test_figures_are_those_of_the_counter_fed_by_hand(dataset, contrast) -> None:
    lenient = Candidate.of(contrast, {"threshold": 0.2})
    report = evaluate_dataset(dataset, [lenient], **FEW)
    counted = MeanAveragePrecision()
    for sample in dataset:
        image = sample.image()
        found = contrast.detect(image, {"threshold": 0.2})
        known = [code for code in ("MA", "EX") if code in sample.annotated]
        counted.add(
            {c: objects_of_mask(sample.mask(c, image.shape), lesion=c) for c in known},
            [item for c in known for item in detected_objects(found, c)],
            image.shape,
        )
    metrics = report.metrics("contrast", "instances")
    assert metrics["EX"]["images"] == 2  # not annotated in the third
    assert "HE" not in metrics
    for row, code in (("MA", "MA"), ("EX", "EX"), ("all", None)):
        assert metrics[row]["mAP50"].estimate == pytest.approx(
            counted.mean_ap_over_images(0.5, code)
        )
        assert metrics[row]["COCO AP50"].estimate == pytest.approx(
            counted.average_precision(code)[1]
        )
    assert metrics["EX"]["detections"] == counted.detections("EX") > 0
    assert metrics["EX"]["found"].estimate == counted.recall(0.5, "EX")


def test_the_optic_disc_is_no_lesion_and_not_in_the_mean() -> None:
    counter = InstancesProtocol(EvaluationSettings(("MA", "EX", "OD"), resamples=5))
    full = np.ones((6, 6), np.bool_)
    truth = {code: [LesionObject(code, 1.0, 5, 5, full)] for code in ("MA", "EX", "OD")}
    for counted in counter.counted.values():
        counted.add(truth, [*truth["MA"], *truth["OD"]], SHAPE)
    counter.groups.append(None)
    metrics = counter.metrics()
    assert list(metrics)[:4] == ["MA", "EX", "OD", "all"]
    assert metrics["OD"]["mAP50"].estimate == 1
    assert metrics["all"]["mAP50"].estimate == metrics["all"]["COCO AP50"].estimate == 0.5
    assert metrics["all"]["COCO AP50:95"].estimate == 0.5


def test_healthy_images_are_left_out(dataset, healthy, contrast) -> None:
    samples = [*dataset, *map(as_healthy, healthy)]
    alone = evaluate_dataset(dataset, [contrast], **FEW).metrics("contrast", "instances")
    with_them = evaluate_dataset(samples, [contrast], **FEW).metrics("contrast", "instances")
    assert json.dumps(alone, default=vars) == json.dumps(with_them, default=vars)


def test_lesions_are_dilated_at_the_width_asked_for(dataset, truths) -> None:
    first = [s for s in dataset if s.id == "eye0"]
    masks = np.zeros(SHAPE, np.bool_)
    for item in truths["EX"]:
        masks[item.window] |= item.mask
    thick = Drawn(objects_of_mask(masks, lesion="EX", dilations=2))
    across = int(np.ptp(np.flatnonzero(Case(first[0], first[0].image(), []).field_of_view.any(0))))
    report = evaluate_dataset(first, [thick], lesions=["EX"], dilated_at=across + 1, **FEW)
    assert report.metrics("drawn", "instances")["EX, dilated"]["mAP75"].estimate == 1
    content = report.to_json()
    assert content["protocols"]["instances"]["parameters"]["dilated_by_px"] == [4]
    assert "by 4 px" in content["detectors"][0]["remarks"]["instances"][0]


def test_only_the_part_that_experts_looked_at_counts(tmp_path, draw) -> None:
    retina = draw(*SHAPE, seed=1)
    region = np.zeros(SHAPE, np.bool_)
    region[:, :100] = True
    image = FundusImage.from_array(retina.pixels, name="eye")
    write_correction(
        tmp_path / "c", image=image, labels=retina.masks, reviewed=["EX"], region=region
    )
    (sample,) = open_dataset(tmp_path / "c")
    whole = objects_of_mask(retina.masks["EX"], lesion="EX")
    outside = [item for item in whole if item.col >= 100]
    assert 0 < len(outside) < len(whole)
    report = evaluate_dataset([sample], [Drawn(whole)], **FEW)
    metrics = report.metrics("drawn", "instances")["EX"]
    assert metrics["lesions"] == metrics["detections"] == len(whole) - len(outside)
    assert metrics["mAP75"].estimate == pytest.approx(1)


def test_report_names_both_truths_and_the_published_figures(
    dataset, contrast, bright, tmp_path
) -> None:
    report = evaluate_dataset(dataset, [contrast, bright], **FEW)
    files = write_report(report, tmp_path / "r")
    assert {"instances.png", "recall_by_size.png"} <= {file.name for file in files}
    text = to_markdown(report)
    assert "| MA, dilated | contrast |" in text
    assert "| all, dilated | mAP35 | .456 | Mask R-CNN | e-ophtha, MA and EX |" in text
    content = json.loads((tmp_path / "r" / "report.json").read_text())
    metrics = content["detectors"][0]["figures"]["instances"]
    assert metrics["MA"]["mAP50"].keys() == {"estimate", "low", "high", "level", "resamples"}
    table = (tmp_path / "r" / "images.csv").read_text().splitlines()
    assert {"ap50", "dilated_ap50", "hits35"} <= set(table[0].split(","))


def test_pictures_have_a_panel_for_each_class_with_lesions(dataset, contrast) -> None:
    report = evaluate_dataset(dataset, [contrast], **FEW)
    for name in ("instances", "recall_by_size"):
        titles = [axes.get_title() for axes in report.plots()[name]().axes if axes.axison]
        assert titles == ["MA: microaneurysms (9)", "EX: hard exudates (8)"]
    other = evaluate_dataset(dataset, [contrast], protocols=["overlap"], resamples=20)
    assert not other.plots()
