"""What data sets tell of disc and fovea becomes landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets.annotations import MaskTruth
from napari_fundus.datasets.base import Sample
from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc

SHAPE = (120, 160)


@pytest.fixture
def disc_mask(tmp_path: Path) -> MaskTruth:
    """A mask of a square whose centre is (49.5, 79.5) and whose area is 400 px."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[40:60, 70:90] = 255
    Image.fromarray(mask).save(tmp_path / "eye_OD.png")
    return MaskTruth(tmp_path / "eye_OD.png")


DIAMETER = np.sqrt(4 * 400 / np.pi)


def test_centres_are_taken_as_they_are() -> None:
    sample = Sample("a", Path("a.jpg"), centres={"OD": (10.5, 20), "FOVEA": (30, 40)})
    assert sample.landmarks(SHAPE) == Landmarks(
        disc=OpticDisc(row=10.5, col=20), fovea=Fovea(row=30, col=40)
    )


def test_a_mask_gives_centre_and_diameter(disc_mask: MaskTruth) -> None:
    sample = Sample("a", Path("a.jpg"), truths={"OD": disc_mask})
    assert sample.landmarks(SHAPE) == Landmarks(
        disc=OpticDisc(row=49.5, col=79.5, diameter=DIAMETER)
    )


def test_of_centre_and_mask_the_mask_gives_the_diameter(disc_mask: MaskTruth) -> None:
    sample = Sample("a", Path("a.jpg"), truths={"OD": disc_mask}, centres={"OD": (50, 81)})
    assert sample.landmarks(SHAPE).disc == OpticDisc(row=50, col=81, diameter=DIAMETER)


def test_a_drawn_macula_stands_for_the_fovea(disc_mask: MaskTruth) -> None:
    sample = Sample("a", Path("a.jpg"), truths={"FOVEA": disc_mask})
    assert sample.landmarks(SHAPE) == Landmarks(fovea=Fovea(row=49.5, col=79.5))


def test_a_sample_that_tells_nothing_has_none() -> None:
    assert not Sample("a", Path("a.jpg")).landmarks(SHAPE)
