"""The voting detector: weights from a file, maps in original pixels, clear errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_fundus.backends import voting
from napari_fundus.backends.voting import Voting
from napari_fundus.backends.voting.network import (
    PatchNetwork,
    PatchNetworkArchitecture,
    paper_widths,
)
from napari_fundus.backends.voting.training_options import VotingTrainingOptions
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.errors import Cancelled, CheckpointError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.progress import Monitor, Progress

ARCHITECTURE = PatchNetworkArchitecture(patch=16, widths=paper_widths(4))
RECIPE = VotingTrainingOptions().recipe().model_copy(update={"disc_diameter": 160.0, "sigma": 6.0})


def dark_finder() -> PatchNetwork:
    """Return a network that was told, not trained, to answer where the picture is dark.

    One channel carries the negative of the input to the output layer along the full-size skip.
    """
    network = PatchNetwork(ARCHITECTURE)
    with torch.no_grad():
        for convolution in list(network.convolutions)[:3]:
            convolution.weight.zero_()
            convolution.weight[0, 0, 1, 1] = 1
        network.convolutions[0].weight[0, 0, 1, 1] = -1
        network.output.weight.zero_()
        network.output.weight[0, ARCHITECTURE.widths[-1]] = 4
        network.output.bias.fill_(-4)
    return network


def write(path: Path, **changes: object) -> Path:
    """Write weights of the dark finder with a card that may be changed."""
    card = {
        "name": "dark-finder",
        "detector": "voting",
        "lesions": ("MA",),
        "architecture": ARCHITECTURE.model_dump(mode="json"),
        "recipe": {"preprocessing": RECIPE.model_dump(mode="json")},
    }
    save_checkpoint(path, dark_finder().state_dict(), ModelCard.model_validate(card | changes))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write(tmp_path / "dark.safetensors")


def image_of(retina: object, **more: object) -> FundusImage:
    return FundusImage.from_array(retina.pixels, field_of_view=retina.disc, **more)  # type: ignore[attr-defined]


def test_the_hook_offers_the_detector() -> None:
    assert voting.napari_fundus_detectors() == [Voting]


def test_dark_dots_are_found_in_original_pixels(retina, weights) -> None:
    found = Voting().detect(image_of(retina), {"checkpoint": str(weights)}, device="cpu")
    probability = found.probability["MA"]
    assert probability.shape == retina.pixels.shape[:2]
    assert not probability[~retina.disc].any()
    dark = retina.masks["MA"] | retina.masks["HE"]
    assert probability[dark].mean() > 0.5
    assert probability[retina.disc & ~dark].mean() < 0.1


def test_provenance_names_the_weights(retina, weights) -> None:
    found = Voting().detect(image_of(retina), {"checkpoint": str(weights)}, device="cpu")
    assert found.provenance.checkpoint == "dark-finder"
    assert len(found.provenance.checkpoint_sha256 or "") == 64
    assert found.provenance.options["checkpoint"] == str(weights)


def test_a_larger_picture_of_the_same_eye_gives_the_same_map(retina, weights) -> None:
    large = retina.pixels.repeat(2, axis=0).repeat(2, axis=1)
    disc = retina.disc.repeat(2, axis=0).repeat(2, axis=1)
    options = {"checkpoint": str(weights)}
    small_map = Voting().detect(image_of(retina), options, device="cpu").probability["MA"]
    large_map = (
        Voting()
        .detect(FundusImage.from_array(large, field_of_view=disc), options, device="cpu")
        .probability["MA"]
    )
    reduced = large_map.reshape(240, 2, 320, 2).mean(axis=(1, 3))
    assert np.abs(reduced - small_map)[retina.disc].mean() < 0.01


def test_the_default_stride_is_a_quarter_of_the_patch(retina, weights) -> None:
    image = image_of(retina)
    options = {"checkpoint": str(weights)}
    default = Voting().detect(image, options, device="cpu")
    named = Voting().detect(image, {**options, "stride": 4}, device="cpu")
    np.testing.assert_array_equal(default.probability["MA"], named.probability["MA"])


def test_a_stride_longer_than_the_patch_is_refused(retina, weights) -> None:
    with pytest.raises(OptionsError, match="Choose 1 to 16"):
        Voting().detect(image_of(retina), {"checkpoint": str(weights), "stride": 17}, device="cpu")


def test_it_can_be_cancelled_while_patches_vote(retina, weights) -> None:
    def cancel_late(progress: Progress) -> None:
        if "patch" in progress.message:
            monitor.cancel()

    monitor = Monitor(cancel_late)
    with pytest.raises(Cancelled):
        Voting().detect(
            image_of(retina),
            {"checkpoint": str(weights), "batch": 4},
            device="cpu",
            monitor=monitor,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"depth": 5}}, "does not hold a patch network"),
        ({"architecture": {"patch": 16}}, "does not hold a patch network"),
        ({"lesions": ("MA", "HE")}, "names 2 classes"),
        ({"recipe": {}}, "holds no preprocessing"),
        ({"recipe": {"preprocessing": {"blur": 3}}}, "holds no preprocessing"),
        ({"recipe": {"preprocessing": {"channel": "rgb"}}}, "takes 1 planes"),
        ({"detector": "unet"}, "not of 'voting'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(retina, tmp_path, changes, message) -> None:
    path = write(tmp_path / "wrong.safetensors", **changes)
    with pytest.raises(CheckpointError, match=message):
        Voting().detect(image_of(retina), {"checkpoint": str(path)}, device="cpu")


@pytest.mark.parametrize("channel", ["green", "rgb"])
def test_planes_are_neutral_outside_the_field_of_view(retina, channel) -> None:
    recipe = RECIPE.model_copy(update={"channel": channel})
    prepared = recipe.apply(image_of(retina))
    planes = to_network_input(prepared)
    assert planes.dtype == np.float32
    assert planes.shape == (1 if channel == "green" else 3, *prepared.field_of_view.shape)
    assert not planes[:, ~prepared.field_of_view].any()
    assert np.abs(planes[:, prepared.field_of_view].mean()) < 0.3


def test_standardized_pictures_are_taken_as_they_are(retina) -> None:
    recipe = Recipe(crop="disc", channel="green", standardize=True)
    prepared = recipe.apply(image_of(retina))
    np.testing.assert_array_equal(to_network_input(prepared)[0], prepared.pixels)


def test_looking_for_the_detector_does_not_import_torch() -> None:
    code = "import sys, napari_fundus.backends.voting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
