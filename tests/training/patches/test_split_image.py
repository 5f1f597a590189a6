"""One image becomes two that share no pixel, and the report says that they show one eye."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_fundus.backends.voting.training import train_voting
from napari_fundus.errors import LeakageError, TrainingError
from napari_fundus.training import Started
from napari_fundus.training.patches.split_image import split_image
from napari_fundus.training.patches.store import StoredImage, pack_masks

SMALL = {
    "width": 2,
    "patch": 16,
    "disc_diameter": 128,
    "batch_size": 8,
    "steps_per_epoch": 2,
    "max_epochs": 1,
    "validation_tiles": 10,
    "dry_steps": 0,
}


def image_of(mask: np.ndarray, unknown: np.ndarray | None = None) -> StoredImage:
    pixels = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3)).astype(np.uint8)
    return StoredImage(
        "eye",
        "",
        pixels,
        pack_masks([mask]),
        np.ones_like(mask),
        np.array([True]),
        {"MA": 3},
        unknown,
    )


def test_the_cut_leaves_lesions_on_both_sides_and_no_pixel_twice() -> None:
    mask = np.zeros((90, 40), np.bool_)
    mask[10:12, 5:7] = mask[20:22, 9:11] = mask[70:74, 20:22] = True
    image = image_of(mask)
    upper, lower = split_image(image, ("MA",), least=16)
    np.testing.assert_array_equal(np.concatenate([upper.pixels, lower.pixels]), image.pixels)
    np.testing.assert_array_equal(np.concatenate([upper.bits, lower.bits]), image.bits)
    assert (upper.lesions["MA"], lower.lesions["MA"]) == (2, 1)
    assert upper.group == lower.group == "eye"
    assert upper.id != lower.id


def test_lesions_that_nobody_reviewed_do_not_count() -> None:
    mask = np.zeros((90, 40), np.bool_)
    mask[10:12, 5:7] = mask[70:74, 20:22] = True
    unknown = np.zeros_like(mask)
    unknown[60:] = True
    with pytest.raises(TrainingError, match="do not lie apart"):
        split_image(image_of(mask, unknown), ("MA",), least=16)


@pytest.mark.parametrize("rows", [(), (5,)])
def test_no_or_one_lesion_cannot_be_divided(rows) -> None:
    mask = np.zeros((90, 40), np.bool_)
    mask[list(rows), 5] = True
    with pytest.raises(TrainingError, match="only image"):
        split_image(image_of(mask), ("MA",), least=16)


def test_a_single_image_is_trained_on_where_leakage_is_allowed(tmp_path, draw) -> None:
    retina = draw(160, 200)
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(retina.pixels).save(data / "eye.png")
    Image.fromarray(retina.masks["MA"]).save(data / "eye_MA.png")
    with pytest.raises((TrainingError, LeakageError), match="one image only"):
        list(train_voting(data=data, output=tmp_path / "a", settings=SMALL, device="cpu"))
    settings = {**SMALL, "allow_leakage": True}
    events = list(train_voting(data=data, output=tmp_path / "b", settings=settings, device="cpu"))
    report = next(event for event in events if isinstance(event, Started)).report
    assert report.leaks == (
        "eye, lower half (validation) shows the same eye as eye, upper half (training).",
    )
    assert report.train.lesions["MA"] + report.validation.lesions["MA"] == 3
