"""Mask R-CNN's networks: the paper's figures, the light one's size, what losses leave out."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.models import ResNet101_Weights, resnet101
from torchvision.models.detection import maskrcnn_resnet50_fpn

from napari_fundus.backends.mask_rcnn.heads import LesionRPN, boxes_in_regions, mask_targets
from napari_fundus.backends.mask_rcnn.network import (
    MASK_SIDE,
    MaskRCNNArchitecture,
    build_network,
)
from napari_fundus.backends.mask_rcnn.resnet_fpn import load_pretrained
from napari_fundus.backends.mask_rcnn.targets import detection_target, predicted_objects
from napari_fundus.backends.mask_rcnn.unet_pyramid import PyramidRoIAlign, UNetPyramid
from napari_fundus.backends.mask_rcnn.weights import load_network
from napari_fundus.checkpoints import ModelCard, read_checkpoint, save_checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.inference.detect_objects import paste_mask

LESIONS = ("MA", "HE", "EX")
TINY = MaskRCNNArchitecture(
    classes=3, filters=(4, 6, 8, 8, 8), channels=8, hidden=16, mask_channels=8, rois_per_image=16
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planes_with(*boxes: tuple[int, int, int, int, int], side: int = 96) -> np.ndarray:
    """Return masks of `LESIONS`: each box is class, first row, first column, height, width."""
    planes = np.zeros((len(LESIONS), side, side), np.uint8)
    for plane, row, col, height, width in boxes:
        planes[plane, row : row + height, col : col + width] = 1
    return planes


def everything() -> torch.Tensor:
    return torch.ones(len(LESIONS), dtype=torch.bool)


def test_the_light_network_stays_light() -> None:
    network = build_network(MaskRCNNArchitecture())
    assert sum(p.numel() for p in network.parameters()) <= 7_000_000


@pytest.mark.parametrize("kind", ["resnet50", "resnet101"])
def test_residual_networks_have_the_figures_of_the_paper(kind) -> None:
    with torch.device("meta"):
        network = build_network(MaskRCNNArchitecture.of_the_paper(kind, classes=2))
    proposals, heads = network.rpn, network.roi_heads
    assert proposals.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (128,))
    assert proposals.anchor_generator.aspect_ratios[0] == (0.5, 1.0, 2.0)
    assert proposals.fg_bg_sampler.batch_size_per_image == 512
    assert heads.fg_bg_sampler.batch_size_per_image == 512
    assert heads.detections_per_img == 256
    assert heads.box_predictor.cls_score.out_features == 3
    blocks = {"resnet50": 6, "resnet101": 23}
    assert len(network.backbone.body.layer3) == blocks[kind]


def test_a_residual_network_keeps_the_names_of_torchvisions_weights() -> None:
    with torch.device("meta"):
        own = build_network(MaskRCNNArchitecture.of_the_paper("resnet50", classes=90)).state_dict()
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    counters = {n for n in theirs if n.endswith("num_batches_tracked")}
    assert own.keys() == theirs.keys() - counters


def empty(network: torch.nn.Module) -> torch.nn.Module:
    """Return a network made on no device with room for its weights, which are -1."""
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(-1)
    return network


def counted(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return tensors of the network's names and shapes, each full of its own number."""
    return {
        name: torch.full(tensor.shape, float(number))
        for number, (name, tensor) in enumerate(network.state_dict().items())
        if not name.endswith("num_batches_tracked")
    }


def as_published(name: str) -> str:
    """Return the name in the file of 2019: its modules had other names then."""
    for pattern, other in (
        (r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
        (r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1."),
    ):
        name = re.sub(pattern, other, name)
    return re.sub(
        r"^(roi_heads\.mask_head)\.(\d)\.0\.",
        lambda found: f"{found[1]}.mask_fcn{int(found[2]) + 1}.",
        name,
    )


@pytest.mark.parametrize("published", [False, True], ids=["names of today", "names of 2019"])
@pytest.mark.parametrize("planes", [3, 1])
def test_all_but_what_tells_classes_apart_is_taken_over_from_coco(published, planes) -> None:
    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        network = build_network(
            MaskRCNNArchitecture.of_the_paper("resnet50", classes=2, planes=planes)
        )
    known = counted(theirs)
    empty(network)
    load_pretrained(network, {as_published(n): t for n, t in known.items()} if published else known)
    fresh = {n for n, t in network.state_dict().items() if bool((t == -1).all())}
    wanted = {
        f"roi_heads.{part}.{kind}"
        for part in (
            "box_predictor.cls_score",
            "box_predictor.bbox_pred",
            "mask_predictor.mask_fcn_logits",
        )
        for kind in ("weight", "bias")
    }
    assert fresh == wanted | ({"backbone.body.conv1.weight"} if planes == 1 else set())
    for name, tensor in network.state_dict().items():
        if name not in fresh:
            assert torch.equal(tensor, known[name])


def test_weights_of_another_network_are_not_taken_over_in_part() -> None:
    with torch.device("meta"):
        network = build_network(MaskRCNNArchitecture.of_the_paper("resnet50", classes=2))
    known = counted(network)
    known["backbone.renamed.weight"] = known.pop("backbone.body.layer1.0.conv1.weight")
    with pytest.raises(CheckpointError, match="backbone.body.layer1.0.conv1.weight, backbone.ren"):
        load_pretrained(empty(network), known)


def test_a_deeper_network_takes_over_what_imagenet_taught(monkeypatch) -> None:
    with torch.device("meta"):
        theirs = resnet101(weights=None)
    known = counted(theirs)
    monkeypatch.setattr(type(ResNet101_Weights.DEFAULT), "get_state_dict", lambda *_, **__: known)
    network = build_network(
        MaskRCNNArchitecture.of_the_paper("resnet101", classes=2), pretrained=True
    )
    body = network.backbone.body.state_dict()
    assert all(torch.equal(tensor, known[name]) for name, tensor in body.items())
    assert known.keys() - body.keys() == {"fc.weight", "fc.bias"}


def test_where_nothing_can_be_downloaded_the_error_says_what_to_do(monkeypatch, tmp_path) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    name = "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
    told = rf"COCO.*{name}.*no route to host.*put it at .*{name}.*pretrained=false"
    with torch.device("meta"), pytest.raises(CheckpointError, match=told):
        build_network(MaskRCNNArchitecture.of_the_paper("resnet50", classes=2), pretrained=True)


def test_a_damaged_download_is_told_and_never_unpickled(monkeypatch, tmp_path) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save({"a": Harmful()}, folder / "resnet101-cd907fc2.pth")
    with (
        torch.device("meta"),
        pytest.raises(CheckpointError, match="what lies here is damaged.*put it"),
    ):
        build_network(MaskRCNNArchitecture.of_the_paper("resnet101", classes=2), pretrained=True)
    assert not ran.exists()


def test_pictures_keep_their_size_and_masks_stay_in_their_boxes() -> None:
    torch.manual_seed(0)
    network = build_network(TINY).eval()
    network.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        small, large = network([torch.randn(3, 70, 90), torch.randn(3, 100, 64)])
    for result, (height, width) in ((small, (70, 90)), (large, (100, 64))):
        assert 0 < len(result["boxes"]) <= TINY.detections
        assert float(result["boxes"][:, [0, 2]].max()) <= width
        assert float(result["boxes"][:, [1, 3]].max()) <= height
        assert result["masks"].shape == (len(result["boxes"]), 1, MASK_SIDE, MASK_SIDE)
        assert result["labels"].min() >= 1
        assert result["labels"].max() <= 3


def test_grey_levels_stay_as_the_recipe_made_them() -> None:
    pictures = [torch.randn(3, 70, 90) + 5, torch.randn(3, 64, 64)]
    laid, _ = build_network(TINY).transform(pictures)
    assert laid.tensors.shape == (2, 3, 96, 96)
    assert laid.image_sizes == [(70, 90), (64, 64)]
    for own, picture in zip(laid.tensors, pictures, strict=True):
        _, height, width = picture.shape
        assert torch.equal(own[:, :height, :width], picture)
        assert own.count_nonzero() == picture.count_nonzero()


def test_the_pyramid_halves_from_level_to_level_and_the_finest_is_not_searched() -> None:
    network = build_network(TINY).eval()
    levels = network.backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(v.shape[-2:]) for v in levels.values()] == [
        (32, 48),
        (16, 24),
        (8, 12),
        (4, 6),
        (2, 3),
    ]
    assert {v.shape[1] for v in levels.values()} == {TINY.channels}
    assert isinstance(network.rpn, LesionRPN)
    assert network.rpn.left_out in levels


def test_a_frozen_unet_gets_no_gradient_and_its_norms_never_move() -> None:
    pyramid = UNetPyramid(planes=3, filters=(4, 6, 8, 8, 8), stem=2, channels=8).train()
    before = {n: t.clone() for n, t in pyramid.unet.state_dict().items()}
    for frozen in (True, False):
        pyramid.frozen = frozen
        pyramid.zero_grad()
        sum(level.sum() for level in pyramid(torch.randn(2, 3, 64, 64)).values()).backward()
        moved = [p.grad is not None for p in pyramid.unet.parameters()]
        assert any(moved) != frozen
        assert all(p.grad is not None for p in pyramid.lateral.parameters())
    for name, tensor in pyramid.unet.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_box_reads_the_level_on_which_it_spans_7_to_14_cells_centred() -> None:
    """Each level holds its column number in pixels: the mean of a box is its middle."""
    levels = {
        str(k): ((torch.arange(256 >> k) + 0.5) * 2 ** (k + 1) + 1000 * k)
        .expand(1, 1, 256 >> k, -1)
        .contiguous()
        for k in range(4)
    }
    boxes = torch.tensor([[100, 100, 112, 112], [40, 50, 80, 70], [101, 200, 201, 300.0]])
    pooled = PyramidRoIAlign(7, samples=2)(levels, [boxes], [(512, 512)]).mean(dim=(1, 2, 3))
    assert pooled.tolist() == pytest.approx([106, 1060, 2151], abs=0.01)


def test_an_unannotated_class_is_neither_taught_nor_punished() -> None:
    torch.manual_seed(0)
    network = build_network(TINY).train()
    picture = [torch.randn(3, 96, 96)]
    annotated = torch.tensor([True, False, True])
    target = detection_target(
        planes_with((0, 10, 10, 12, 12), (2, 50, 40, 16, 20)), annotated, LESIONS
    )
    sum(network(picture, [target]).values()).backward()
    by_class = network.roi_heads.box_predictor.cls_score.weight.grad.abs().sum(dim=1)
    assert by_class[2] == 0
    assert (by_class[[0, 1, 3]] > 0).all()


def test_where_a_class_was_not_looked_for_background_is_no_more_than_lesions() -> None:
    network = build_network(TINY).train()
    anchors = [torch.cat([torch.rand(500, 2) * 80, torch.rand(500, 2) * 12 + 84], dim=1)] * 2
    planes = planes_with((0, 10, 10, 12, 12))
    partly = torch.tensor([True, False, True])
    targets = [detection_target(planes, known, LESIONS) for known in (everything(), partly)]
    whole, sparse = network.rpn.assign_targets_to_anchors(anchors, targets)[0]
    assert (whole == 0).sum() > 100
    assert (sparse == 0).sum() == max((sparse == 1).sum(), 8)


def test_slivers_at_the_border_are_neither_wanted_nor_wrong() -> None:
    planes = planes_with((0, 0, 40, 1, 8), (0, 20, 20, 6, 6), (1, 60, 60, 1, 2))
    target = detection_target(planes, everything(), LESIONS)
    assert target["boxes"].tolist() == [[20, 20, 26, 26]]
    assert target["ignored"].tolist() == [[40, 0, 48, 1], [60, 60, 62, 61]]
    boxes = torch.tensor([[40, 0, 48, 1], [36, 0, 48, 12], [60, 60, 62, 62.0]])
    assert boxes_in_regions(boxes, target["ignored"]).tolist() == [True, False, True]
    network = build_network(TINY).train()
    anchors = torch.cat([boxes, target["boxes"]])
    labels, _ = network.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels[0].tolist() == [-1, 0, -1, 1]


def test_a_healthy_patch_teaches_background_alone() -> None:
    torch.manual_seed(0)
    network = build_network(TINY).train()
    target = detection_target(planes_with(), everything(), LESIONS)
    losses = network([torch.randn(3, 96, 96)], [target])
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["loss_mask"] == 0
    assert losses["loss_box_reg"] == 0
    assert losses["loss_objectness"] > 0


def test_mask_targets_pasted_back_are_the_masks() -> None:
    """What training asks for is what detection paints: the same half-open boxes, to the pixel."""
    disc = np.hypot(*(np.mgrid[:24, :24] - 11.5)) < 11
    planes = planes_with()
    planes[1, 30:54, 41:65] = disc
    target = detection_target(planes, everything(), LESIONS)
    for box in ([41, 30, 65, 54], [39.3, 28.6, 68.2, 55.1]):
        boxes = np.array([box], np.float32)
        (wanted,) = mask_targets(boxes, target, [0], MASK_SIDE)
        row, col, found = paste_mask(wanted, boxes[0], (96, 96))
        painted = np.zeros((96, 96), bool)
        painted[row : row + found.shape[0], col : col + found.shape[1]] = found
        wrong = painted ^ (planes[1] > 0)
        assert wrong.sum() <= 0.06 * disc.sum()


def test_objects_found_name_their_classes_and_begin_with_the_surest() -> None:
    result = {
        "boxes": torch.tensor([[5.0, 6, 15, 16], [50, 60, 70, 80]]),
        "labels": torch.tensor([3, 1]),
        "scores": torch.tensor([0.4, 0.9]),
        "masks": torch.ones(2, 1, MASK_SIDE, MASK_SIDE),
    }
    first, second = predicted_objects(result, LESIONS, (96, 96))
    assert (first.lesion, first.row, first.col, first.mask.shape) == ("MA", 60, 50, (20, 20))
    assert (second.lesion, second.row, second.col, second.mask.shape) == ("EX", 6, 5, (10, 10))


def card_of(architecture: MaskRCNNArchitecture, lesions: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        name="tiny",
        detector="mask_rcnn",
        lesions=lesions,
        architecture=architecture.model_dump(mode="json"),
    )


def test_a_saved_network_is_loaded_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(TINY).eval()
    network.roi_heads.score_thresh = 0.0
    save_checkpoint(tmp_path / "a.safetensors", network.state_dict(), card_of(TINY, LESIONS))
    loaded, architecture = load_network(read_checkpoint(tmp_path / "a.safetensors"))
    loaded.roi_heads.score_thresh = 0.0
    assert architecture == TINY
    picture = [torch.randn(3, 64, 64)]
    with torch.inference_mode():
        (first,), (second,) = network(picture), loaded(picture)
    for name, value in first.items():
        assert torch.equal(value, second[name])


@pytest.mark.parametrize(
    ("changes", "lesions", "message"),
    [
        ({"channels": 16}, LESIONS, "does not hold a Mask R-CNN as its card describes"),
        ({}, ("MA",), "names 1 classes, its network gives 3 maps"),
    ],
)
def test_a_card_that_tells_of_another_network_is_refused(
    tmp_path, changes, lesions, message
) -> None:
    told = card_of(TINY.model_copy(update=changes), lesions)
    path = tmp_path / "b.safetensors"
    save_checkpoint(path, build_network(TINY).state_dict(), told)
    with pytest.raises(CheckpointError, match=message):
        load_network(read_checkpoint(path))
