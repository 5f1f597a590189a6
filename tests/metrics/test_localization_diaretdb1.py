"""Weak localization on DIARETDB1: the truth of both versions gives the same figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.metrics.localization import WeakLocalization

SHAPE = (64, 96)
# x, y of the centres of squares of 9×9 pixels, and how sure each of four experts was.
AGREED = ((20, 20), ("High", "High", "Medium", "Low"))  # mean .75: true
DOUBTED = ((70, 40), ("High", "High", "Low", "Low"))  # mean .625: not true
WEIGHT = {"High": 1.0, "Medium": 0.75, "Low": 0.25}


def square(centre: tuple[int, int]) -> tuple[slice, slice]:
    x, y = centre
    return np.s_[y - 4 : y + 5, x - 4 : x + 5]


def write_photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SHAPE, 3), 90, np.uint8)).save(path)


def drawings(root: Path) -> Path:
    """Write version 2.1: four experts' polygons of a haemorrhage in the first of two images."""
    for number in (1, 2):
        write_photograph(root / "images" / f"diaretdb1_image{number:03d}.png")
        for expert in range(4):
            markings = ""
            for (x, y), confidence in (AGREED, DOUBTED) if number == 1 else ():
                corners = ((x - 4, y - 4), (x + 4, y - 4), (x + 4, y + 4), (x - 4, y + 4))
                points = "".join(f"<coords2d>{a},{b}</coords2d>" for a, b in corners)
                markings += (
                    f"<marking><polygonregion>{points}</polygonregion><representativepoint>"
                    f"<coords2d>{x},{y}</coords2d></representativepoint><confidencelevel>"
                    f"{confidence[expert]}</confidencelevel><markingtype>Haemorrhages</markingtype>"
                    "</marking>"
                )
            path = root / "groundtruth" / f"diaretdb1_image{number:03d}_{expert + 1:02d}_plain.xml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                f"<imgannotooldata><markinglist>{markings}</markinglist></imgannotooldata>"
            )
    return root


def maps(root: Path) -> Path:
    """Write version 1.1: the same agreement as grey values, 252 for certainty."""
    images = root / "resources" / "images"
    for number in (1, 2):
        write_photograph(images / "ddb1_fundusimages" / f"image{number:03d}.png")
        for folder in ("hardexudates", "softexudates", "redsmalldots", "hemorrhages"):
            grey = np.zeros(SHAPE, np.uint8)
            if number == 1 and folder == "hemorrhages":
                for centre, confidence in (AGREED, DOUBTED):
                    mean = np.mean([WEIGHT[word] for word in confidence])
                    grey[square(centre)] = round(252 * mean)
            path = images / "ddb1_groundtruth" / folder / f"image{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(path)
    return root


def truths(sample: Sample) -> dict[str, np.ndarray]:
    return {code: sample.mask(code, SHAPE) for code in DR_LESIONS if code in sample.annotated}


@pytest.mark.parametrize("build", [drawings, maps])
def test_only_what_the_experts_agree_on_can_be_found(tmp_path, build) -> None:
    data = open_dataset(build(tmp_path / "diaretdb1"))
    found = WeakLocalization()
    for sample in data:
        heatmap = np.zeros(SHAPE, np.float32)
        heatmap[square(AGREED[0])] = 1
        heatmap[square(DOUBTED[0])] = 0.8
        found.add(heatmap, truths(sample))
    haemorrhages = found.counts("HE")
    assert (haemorrhages.images, haemorrhages.with_lesions, haemorrhages.lesions) == (2, 1, 1)
    assert haemorrhages.found_strict == haemorrhages.images_strict == 1
    # The doubted square in the first image, both squares in the second.
    assert (haemorrhages.false_regions, haemorrhages.astray) == (3, 3)
    for code in ("MA", "EX", "SE"):
        counts = found.counts(code)
        assert (counts.images, counts.lesions, counts.false_regions) == (2, 0, 4)
