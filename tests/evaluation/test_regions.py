"""An image reviewed in part is evaluated in that part: as if the rest were not there."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.datasets import open_dataset, write_correction
from napari_fundus.evaluation import Case, evaluate_dataset
from napari_fundus.image import FundusImage
from napari_fundus.metrics import PixelHistogram, lesion_counts, pixel_overlap

SHAPE = (150, 200)


@pytest.fixture
def region() -> np.ndarray:
    region = np.zeros(SHAPE, np.bool_)
    region[:, :120] = True
    return region


@pytest.fixture
def sample(tmp_path, draw, region):
    retina = draw(*SHAPE, seed=1)
    image = FundusImage.from_array(retina.pixels, name="eye")
    write_correction(
        tmp_path / "c", image=image, labels=retina.masks, reviewed=["MA", "EX"], region=region
    )
    (sample,) = open_dataset(tmp_path / "c")
    return sample


def test_figures_are_those_of_the_region_alone(sample, region, contrast) -> None:
    names = ["aupr", "froc", "overlap", "image"]
    report = evaluate_dataset([sample], [contrast], protocols=names, lesions=["MA"], resamples=5)
    metrics = {name: report.metrics("contrast", name)["MA"] for name in names}
    image = sample.image()
    found, truth = contrast.detect(image), sample.mask("MA", SHAPE)
    labels = np.where(region, found.labels["MA"], 0)
    pixels = PixelHistogram()
    pixels.add(found.probability["MA"][region], truth[region])
    overlap, lesions = pixel_overlap(labels, truth, region), lesion_counts(labels, truth)
    assert metrics["aupr"]["AUPR, 33 thresholds"].estimate == pytest.approx(pixels.curve().aupr)
    assert metrics["overlap"]["accuracy"].estimate == pytest.approx(overlap.accuracy)
    assert metrics["overlap"]["dice"].estimate == pytest.approx(overlap.dice)
    assert metrics["overlap"]["fpi"].estimate == lesions.false_positives
    assert metrics["froc"]["lesions"] == lesions.lesions


def test_what_is_found_outside_is_neither_right_nor_wrong(sample, region, contrast) -> None:
    image = sample.image()
    found = contrast.detect(image)
    case = Case(sample, image, ["MA"])
    known = case.within(found)
    assert found.probability["MA"][~region].any()
    assert not known.probability["MA"][~region].any()
    assert region.ravel()[case.match(known, "MA").false_positive].all()
    whole = Case(sample.__class__("a", sample.image_path), image, ["MA"])
    assert whole.within(found) is found
