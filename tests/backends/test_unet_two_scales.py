"""Two U-Nets of different scale as one: reach, tiles, joined files, what does not go together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from napari_fundus.backends.unet import UNet
from napari_fundus.backends.unet.merge_scales import merge_scales
from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.backends.unet.tiled_inference import predict_logits
from napari_fundus.checkpoints import ModelCard, read_checkpoint, save_checkpoint
from napari_fundus.checkpoints.card import Split
from napari_fundus.errors import CheckpointError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.devices import choose_device

ONE = UNetArchitecture(filters=(4, 8), outputs=2)
BOTH = ONE.model_copy(update={"coarse": UNetArchitecture(filters=(4, 6), outputs=2)})


def loud(architecture: UNetArchitecture) -> torch.nn.Module:
    """Return a network whose answers span 0 to 1."""
    network = build_network(architecture).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.weight, std=0.3)
            torch.nn.init.zeros_(module.bias)
    return network


def seen(name: str) -> ImageIdentity:
    return ImageIdentity(name=name, sha256=name * 64)


@pytest.fixture
def files(tmp_path):
    """Return a function that writes weights of a scale and reads them again."""

    def write(name: str, disc: float, sigma: float, lesions=("MA", "EX"), train=("a",)):
        recipe = Recipe(resize="disc", disc_diameter=disc, enhance=True, sigma=sigma)
        card = ModelCard(
            name=name,
            detector="unet",
            lesions=lesions,
            architecture=ONE.model_dump(mode="json"),
            recipe={"preprocessing": recipe.model_dump(mode="json")},
            split=Split(
                train=train,
                validation=("b", "c"),
                train_images=tuple(seen(one) for one in train),
                validation_images=(seen("b"), seen("c")),
            ),
        )
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, loud(ONE).state_dict(), card)
        return read_checkpoint(path)

    return write


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("height", "width"), [(192, 160), (197, 163)])
def test_tiles_equal_one_pass(height, width) -> None:
    network = loud(BOTH)
    picture = np.random.default_rng(0).normal(0, 5, (3, height, width)).astype(np.float32)
    more = (0, -width % BOTH.multiple, 0, -height % BOTH.multiple)
    padded = functional.pad(torch.from_numpy(picture), more)[np.newaxis]
    with torch.inference_mode():
        whole = network(padded)[0, :, :height, :width].sigmoid().numpy()
    inside = np.zeros((height, width), np.bool_)
    inside[3:150, :100] = True
    given = {"inside": inside, "device": choose_device("cpu", supported=("cpu",))}
    for tile in (5 * BOTH.multiple, 1024):
        done = predict_logits(network, BOTH, picture, tile=tile, **given)
        maps = done.probability(0.5)
        assert maps.shape == (2, height, width)
        np.testing.assert_allclose(maps[:, inside], whole[:, inside], atol=1e-4)
    assert np.ptp(whole[:, inside]) > 0.5
    small = predict_logits(network, BOTH, picture, tile=2 * BOTH.multiple, **given)
    assert small.probability(0.5)[:, -1, -1].max() < 1e-9, (
        "tiles off the field of view are left out"
    )


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("shares", "offsets"), [({}, {}), ({"EX": 0.8}, {"MA": 0.7}), ({"MA": 0, "EX": 1}, {})]
)
def test_a_joined_file_answers_with_the_mean_of_both(
    files, tmp_path, retina, shares, offsets
) -> None:
    fine, coarse = files("near", 128, 4), files("far", 64, 2, train=("a", "c"))
    tensors, card = merge_scales(fine, coarse, shares=shares, offsets=offsets)
    path = tmp_path / "both.safetensors"
    save_checkpoint(path, tensors, card)
    image = FundusImage(retina.pixels)
    options = {"checkpoint": str(path), "optic_disc": False, "exclude_disc": False}
    found = UNet().detect(image, options)

    prepared = preprocessing_from_card(fine).apply(image)
    planes = torch.from_numpy(to_network_input(prepared))[np.newaxis]
    height, width = planes.shape[-2:]
    more = (0, -width % BOTH.multiple, 0, -height % BOTH.multiple)
    planes = functional.pad(planes, more, value=-2.0)
    nets = []
    for checkpoint in (fine, coarse):
        network = build_network(ONE).eval()
        network.load_state_dict(dict(checkpoint.tensors))
        nets.append(network)
    with torch.inference_mode():
        far = nets[1](functional.avg_pool2d(planes, 2))
        far = functional.interpolate(far, scale_factor=2.0, mode="bilinear")
        weights = torch.tensor([shares.get(code, 0.5) for code in ("MA", "EX")])[:, None, None]
        more = torch.tensor([offsets.get(code, 0.0) for code in ("MA", "EX")])[:, None, None]
        mean = ((1 - weights) * nets[0](planes) + weights * far + more).sigmoid()
        mean = mean[0, :, :height, :width].numpy()
    for values, code in zip(mean, ("MA", "EX"), strict=True):
        difference = np.abs(prepared.to_original(values) - found.probability[code])
        # Near the frame's border tiles and one pass see other fillings.
        assert difference[80:160, 120:200].max() < 1e-4
        assert np.ptp(found.probability[code][80:160, 120:200]) > 0.1
    assert card.split.train == ("a", "c")
    assert card.split.validation == ("b",)
    assert card.split.train_images == (seen("a"), seen("c"))
    assert card.split.validation_images == (seen("b"),)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"disc": 128, "sigma": 4}, "must be trained on 64 px"),
        ({"disc": 64, "sigma": 4}, "blur of 2 px"),
        ({"disc": 64, "sigma": 2, "lesions": ("EX", "MA")}, "the same classes"),
    ],
)
def test_what_does_not_go_together_is_told(files, other, reason) -> None:
    with pytest.raises(CheckpointError, match=reason):
        merge_scales(files("near", 128, 4), files("far", **other))


@pytest.mark.parametrize("shares", [{"HE": 0.5}, {"MA": 1.2}, {"EX": -0.1}])
def test_shares_are_of_the_classes_and_from_0_to_1(files, shares) -> None:
    with pytest.raises(OptionsError, match="from 0 to 1, of the classes MA, EX"):
        merge_scales(files("near", 128, 4), files("far", 64, 2), shares=shares)


@pytest.mark.parametrize("offsets", [{"HE": 1.0}, {"MA": 21.0}, {"EX": float("nan")}])
def test_offsets_are_of_the_classes_and_within_20(files, offsets) -> None:
    with pytest.raises(OptionsError, match="from -20 to 20, of the classes MA, EX"):
        merge_scales(files("near", 128, 4), files("far", 64, 2), offsets=offsets)


def test_a_network_has_an_offset_for_each_class_or_none() -> None:
    with pytest.raises(ValidationError, match="offset is one number a class"):
        UNetArchitecture(outputs=2, offset=(1.0,))


def test_shares_without_a_second_network_are_refused() -> None:
    with pytest.raises(ValidationError, match="of two networks"):
        UNetArchitecture(outputs=2, coarse_share=(0.5, 0.5))


def test_a_joined_one_cannot_be_joined_again(files, tmp_path) -> None:
    fine, coarse = files("near", 128, 4), files("far", 64, 2)
    path = tmp_path / "both.safetensors"
    tensors, card = merge_scales(fine, coarse)
    save_checkpoint(path, tensors, card)
    with pytest.raises(CheckpointError, match="two scales already"):
        merge_scales(read_checkpoint(path), coarse)
