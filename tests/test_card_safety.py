"""A card of a few bytes takes no memory, no network and no folder, and weights are finite."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save

import napari_fundus.checkpoints.file as file_module
from napari_fundus.backends.cam.architecture import ClassifierArchitecture
from napari_fundus.backends.mask_rcnn import MaskRCNN
from napari_fundus.backends.mask_rcnn.network import MaskRCNNArchitecture
from napari_fundus.backends.mask_rcnn.network import build_network as build_mask_rcnn
from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.backends.unet.weights import load_network
from napari_fundus.checkpoints import Checkpoint, ModelCard, read_checkpoint, save_checkpoint
from napari_fundus.detector import Detector, Prediction
from napari_fundus.errors import CheckpointError, DetectorError, GeometryError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import MAX_CARD_SIDE, preprocessing_from_card
from napari_fundus.inference.load_network import network_of_card
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing import recipe as recipe_module

TINY = UNetArchitecture(filters=(4, 6), outputs=1)


def checkpoint(architecture: dict[str, Any], tensors: Any = None, **card: Any) -> Checkpoint:
    known = ModelCard(
        name="tiny", detector="unet", lesions=("MA",), architecture=architecture, **card
    )
    return Checkpoint(tensors or {}, known, Path("tiny.safetensors"), "0" * 64)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the network fail the test."""

    def asked(*arguments: Any, **_: Any) -> None:
        raise AssertionError(f"the network was asked: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "encoder",
    [
        "tu-hf-hub:someone/something",
        "tu-hf_hub:someone/something",
        "tu-local-dir:/tmp/model",
        "tu-timm/resnet18",
        "../resnet34",
        "resnet34\n",
        "tu-no_such_network",
    ],
)
def test_encoders_on_a_card_come_from_a_list(encoder: str) -> None:
    with pytest.raises((CheckpointError, OptionsError)):
        load_network(checkpoint({"kind": "smp", "encoder": encoder}))


@pytest.mark.parametrize("network", ["timm:hf-hub:a/b", "timm:local-dir:/tmp", "hub:resnet18"])
def test_classifiers_on_a_card_come_from_a_list(network: str) -> None:
    with pytest.raises(ValidationError):
        ClassifierArchitecture(network=network)


@pytest.mark.parametrize(
    "architecture",
    [
        {"filters": [2048] * 8},
        {"filters": [2] * 2000},
        {"kind": "smp", "encoder": "tu-vit_7b_patch16_dinov3"},
        {"coarse": {"coarse": {"filters": [2, 2]}}},
    ],
    ids=["wide", "deep", "a transformer of 7 billion weights", "nested"],
)
def test_a_network_is_compared_before_it_takes_memory(
    architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these would take gigabytes; here no tensor with memory is larger than a megabyte."""
    made = torch.nn.Parameter.__new__

    def watched(cls: Any, data: Any = None, *more: Any) -> Any:
        assert data is None or data.device.type == "meta" or data.numel() < 1 << 18
        return made(cls, data, *more)

    monkeypatch.setattr(torch.nn.Parameter, "__new__", watched)
    with pytest.raises((CheckpointError, OptionsError)):
        load_network(checkpoint(architecture))


def test_a_sound_network_has_its_weights_and_its_buffers() -> None:
    both = TINY.model_copy(update={"coarse": TINY})
    tensors = build_network(both).state_dict()
    network = load_network(checkpoint(both.model_dump(mode="json"), tensors))[0]
    assert {name: value.device.type for name, value in network.named_buffers()}
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    assert {tensor.device.type for tensor in [*network.parameters(), *network.buffers()]} == {"cpu"}


def test_builders_that_compute_with_small_tensors_are_built() -> None:
    """Of smp's encoders the mix transformers take `.item()` of a range, which "meta" has not."""
    described = {"kind": "smp", "encoder": "mit_b0", "outputs": 1}
    tensors = build_network(UNetArchitecture.model_validate(described)).state_dict()
    assert load_network(checkpoint(described, tensors))[1].encoder == "mit_b0"


def test_whatever_a_builder_raises_is_a_typed_error() -> None:
    def build(_: UNetArchitecture) -> torch.nn.Module:
        raise ZeroDivisionError("by zero")

    with pytest.raises(CheckpointError, match="does not hold a toy as its card describes: by zero"):
        network_of_card(checkpoint({}), UNetArchitecture, build, what="a toy")


@pytest.mark.parametrize("field", ["side", "disc_diameter"])
def test_the_working_scale_of_a_card_is_bounded(field: str) -> None:
    def asking(value: int) -> Checkpoint:
        recipe = Recipe(resize="disc", **{field: value}).model_dump(mode="json")
        return checkpoint({}, recipe={"preprocessing": recipe})

    assert getattr(preprocessing_from_card(asking(MAX_CARD_SIDE)), field) == MAX_CARD_SIDE
    with pytest.raises(CheckpointError, match="asks for pictures of 4097 px"):
        preprocessing_from_card(asking(MAX_CARD_SIDE + 1))


def test_a_tiny_disc_in_a_large_frame_is_not_enlarged_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, cols = np.mgrid[:1200, :1600]
    disc = (rows - 600) ** 2 + (cols - 800) ** 2 < 80**2
    image = FundusImage.from_array(np.full((1200, 1600, 3), 99, np.uint8))
    monkeypatch.setattr(recipe_module, "find_field_of_view", lambda _: disc)
    with pytest.raises(GeometryError, match="diameter of 160 px. Crop the photograph"):
        Recipe(resize="disc", disc_diameter=4096).apply(image)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("storage", ["float32", "float16", "float8"])
def test_weights_that_are_not_finite_are_refused_on_reading(
    value: float, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"float16": torch.float16, "float8": torch.float8_e5m2}
    tensors = {"fine": torch.ones(3), "bad": torch.ones(4)}
    tensors["bad"][2] = value
    tensors["bad"] = tensors["bad"].to(kinds.get(storage, torch.float32))
    path = tmp_path / "bad.safetensors"
    with pytest.raises(CheckpointError, match="'bad' hold NaN or infinity: the training diverged"):
        save_checkpoint(path, tensors, checkpoint({}).card)
    monkeypatch.setattr(file_module, "_first_not_finite", lambda _: None)
    save_checkpoint(path, tensors, checkpoint({}).card)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="its weights 'bad' hold NaN or infinity"):
        read_checkpoint(path)


def test_a_scale_that_overflows_is_not_finite(tmp_path: Path) -> None:
    """Weights of 8 bits are finite in the file, and infinite once they are multiplied."""
    tensors = {"w": torch.full((1, 2), 127, dtype=torch.int8), "w::scale": torch.full((1, 1), 3e38)}
    card = checkpoint({}).card.model_copy(update={"content_sha256": "0" * 64, "storage": "int8"})
    content = save(tensors, metadata={"napari_fundus": card.model_dump_json()})
    mark = rb"content_sha256\":\""
    digest = hashlib.sha256(content).hexdigest().encode()
    path = tmp_path / "large.safetensors"
    path.write_bytes(content.replace(mark + b"0" * 64, mark + digest, 1))
    assert json.loads(card.model_dump_json())["storage"] == "int8"
    with pytest.raises(CheckpointError, match="'w' hold NaN or infinity"):
        read_checkpoint(path)


@pytest.mark.parametrize("part", ["rpn.head.cls_logits", "box_predictor.cls_score", "mask_head"])
def test_mask_rcnn_says_so_where_its_answers_overflow(
    part: str, retina: Any, tmp_path: Path
) -> None:
    """Finite weights may give answers that are not, which thresholds drop without a word."""
    architecture = MaskRCNNArchitecture(
        classes=1, filters=(4, 6, 8, 8, 8), channels=8, hidden=16, mask_channels=8
    )
    torch.manual_seed(0)
    network = build_mask_rcnn(architecture)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([-9.0, 9.0]))
        for name, value in network.named_parameters():
            if part in name:
                value.fill_(3e38)
    recipe = Recipe(resize="disc", disc_diameter=160).model_dump(mode="json")
    card = checkpoint(
        architecture.model_dump(mode="json"), recipe={"preprocessing": recipe}
    ).card.model_copy(update={"detector": "mask_rcnn"})
    path = tmp_path / "huge.safetensors"
    save_checkpoint(path, network.state_dict(), card)
    image = FundusImage.from_array(retina.pixels)
    with pytest.raises(DetectorError, match="not finite"):
        MaskRCNN().detect(image, {"checkpoint": str(path)}, device="cpu")


class Broken(Detector):
    """Gives what it is told to."""

    name: ClassVar[str] = "broken"
    title: ClassVar[str] = "Broken"
    summary: ClassVar[str] = "For tests."
    lesions: ClassVar[tuple[str, ...]] = ("EX",)
    gives: ClassVar[dict[str, Any]] = {}

    def predict(self, image: FundusImage, options: Any, **_: Any) -> Prediction:
        del image, options
        return Prediction(**{"probability": {}, **self.gives})


@pytest.mark.parametrize("kind", ["probability", "heatmap", "stages"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_an_error(
    kind: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros((80, 80), np.float32)
    values[40, 40] = value
    image = FundusImage.from_array(np.full((80, 80, 3), 99, np.uint8))
    monkeypatch.setattr(Broken, "gives", {kind: {"EX": values}})
    with pytest.raises(DetectorError, match="Broken gave values that are not finite for EX"):
        Broken().detect(image)
    monkeypatch.setattr(Broken, "gives", {"image_score": {"referable": value}})
    with pytest.raises(DetectorError, match="not finite for referable"):
        Broken().detect(image)
