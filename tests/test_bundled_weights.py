"""The weights that ship: light, honest about what they saw, and used with no further step."""

from __future__ import annotations

import pytest

import napari_fundus as nf
from napari_fundus.backends.voting import napari_fundus_detectors
from napari_fundus.checkpoints import bundled_folder, list_checkpoints, load_checkpoint
from napari_fundus.evaluation import assess
from napari_fundus.image import read_identity, read_pixels
from napari_fundus.image_identity import KnownImages
from napari_fundus.samples import sample_folder

NAMES = sorted(path.stem for path in bundled_folder().glob("*.safetensors"))


def test_all_bundled_weights_together_are_light() -> None:
    assert NAMES
    assert sum(p.stat().st_size for p in bundled_folder().iterdir()) <= 60_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_data_licence_split_and_figures(name: str) -> None:
    card = load_checkpoint(name).card
    assert card.name == name
    assert card.data_licence == card.licence == "CC-BY 4.0"
    assert card.metrics
    assert card.notes
    assert not set(card.split.train) & set(card.split.validation)
    assert "segmentation/IDRiD_13" not in card.split.train, "the sample picture is held back"
    assert name in {info.card.name for info in list_checkpoints() if info.card is not None}


@pytest.mark.parametrize("name", NAMES)
def test_a_card_knows_its_images_by_content(name: str) -> None:
    split = load_checkpoint(name).card.split
    hashed = {image.name.replace("healthy/", "grading/") for image in split.train_images}
    assert {one.replace("healthy/", "grading/") for one in split.train} <= hashed
    assert {image.name for image in split.validation_images} == set(split.validation)
    assert all(x.sha256 and x.perceptual for x in (*split.train_images, *split.validation_images))
    trained = KnownImages(split.train_images)
    assert [x.name for x in split.validation_images if trained.find(x) is not None] == []
    sample = read_identity(sample_folder() / "IDRiD_13.jpg")
    assert trained.find(sample) is None
    if "segmentation/IDRiD_13" in split.validation:
        found = KnownImages(split.validation_images).find(sample)
        assert found is not None
        assert found.name == "segmentation/IDRiD_13"


def test_multiscale_weights_hold_all_stages_and_are_light() -> None:
    checkpoint = load_checkpoint("multiscale-idrid")
    assert set(checkpoint.card.architecture) == {"fine", "coarse", "refine", "classify"}
    assert (bundled_folder() / "multiscale-idrid.safetensors").stat().st_size <= 20_000_000


def test_voting_finds_microaneurysms_on_the_sample_with_no_further_step() -> None:
    """A band of the sample, on which the top-hat finds fewer at the same precision."""
    rows = slice(1100, 1900)
    image = nf.read_image(sample_folder() / "IDRiD_13.jpg")
    whole = nf.FundusImage.from_array(image.pixels, name="band")
    from napari_fundus.preprocessing import find_field_of_view

    inside = find_field_of_view(whole)
    inside[: rows.start] = inside[rows.stop :] = False
    (detector,) = (cls() for cls in napari_fundus_detectors())
    band = nf.FundusImage(image.pixels[rows], name="band", given_field_of_view=inside[rows])
    truth = read_pixels(sample_folder() / "IDRiD_13_MA.png")[0][rows] > 0
    row = assess(detector.detect(band, {"stride": 32}), {"MA": truth}).row("MA")
    assert row["sensitivity"] > 0.4
    assert row["precision"] > 0.4
