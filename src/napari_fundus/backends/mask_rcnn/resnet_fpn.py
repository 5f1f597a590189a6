"""The paper's backbones: ResNets with a feature pyramid, from scratch or from everyday pictures."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet101_Weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from napari_fundus.errors import CheckpointError

_OF_CLASSES = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
_FIRST = "backbone.body.conv1.weight"


def resnet_fpn(kind: str, *, planes: int, frozen_norm: bool, imagenet: bool) -> nn.Module:
    """Return a ResNet with five levels of 256 channels.

    Parameters
    ----------
    kind
        ``"resnet50"`` or ``"resnet101"``.
    planes
        Of the input. Weights of everyday pictures are for three: with others the first layer
        starts anew.
    frozen_norm
        Whether the normalizations keep their statistics, as pretrained ones should with small
        batches.
    imagenet
        Whether to download ResNet-101's weights.

    Raises
    ------
    CheckpointError
        The weights could not be downloaded.
    """
    pyramid: Any = resnet_fpn_backbone(
        backbone_name=kind,
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen_norm else nn.BatchNorm2d,
        trainable_layers=5,
    )
    if imagenet:
        known = _download_weights(ResNet101_Weights.DEFAULT, "ImageNet")
        _load(pyramid.body, {n: t for n, t in known.items() if not n.startswith("fc.")}, set())
    if planes != 3:
        first = pyramid.body.conv1
        pyramid.body.conv1 = nn.Conv2d(planes, first.out_channels, 7, 2, 3, bias=False)
    return pyramid  # type: ignore[no-any-return]


def load_coco_weights(network: nn.Module) -> None:
    """Give `network` the weights of torchvision's Mask R-CNN on COCO, downloaded.

    Raises
    ------
    CheckpointError
        They could not be downloaded, or are of another network.
    """
    load_pretrained(network, _download_weights(MaskRCNN_ResNet50_FPN_Weights.DEFAULT, "COCO"))


def load_pretrained(network: nn.Module, known: Mapping[str, Tensor]) -> None:
    """Give `network` the weights of torchvision's Mask R-CNN, but for its classification layers.

    That starts anew, and so does the first layer of a network that sees other than three planes.

    Parameters
    ----------
    network
        On a ResNet-50.
    known
        As torchvision names them, today or when the weights were published.

    Raises
    ------
    CheckpointError
        They are of another network.
    """
    own = network.state_dict()
    fresh = {name for name in own if name.startswith(_OF_CLASSES)}
    if _FIRST in known and own[_FIRST].shape != known[_FIRST].shape:
        fresh.add(_FIRST)
    wanted = {n: t for n, t in known.items() if n not in fresh and not n.startswith(_OF_CLASSES)}
    _load(network, wanted, fresh)


def _load(network: nn.Module, wanted: dict[str, Tensor], fresh: set[str]) -> None:
    # A plain dict has no versions: torchvision's modules then know their older names too, by
    # which the published files call pyramid, proposals and mask head.
    try:
        result = network.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The weights to start from do not fit: {reason}") from error
    odd = set(result.missing_keys).symmetric_difference(fresh) | set(result.unexpected_keys)
    if odd:
        raise CheckpointError(
            f"The weights to start from are of another network: {', '.join(sorted(odd)[:5])} "
            f"({len(odd)} in all). This version of torchvision is not known here: train without "
            "them (pretrained=false), or report it."
        )


def _download_weights(weights: Any, dataset_name: str) -> Mapping[str, Tensor]:
    """Return torchvision's weights, read without unpickling anything but tensors.

    Raises
    ------
    CheckpointError
        They are not here and could not be downloaded, or the file is damaged.
    """
    try:
        known: Mapping[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, HTTPException, RuntimeError, UnpicklingError, EOFError) as error:
        name = weights.url.rpartition("/")[2]
        place = Path(torch.hub.get_dir()) / "checkpoints" / name
        damaged = isinstance(error, UnpicklingError | EOFError)
        reason = "what lies here is damaged" if damaged else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"The weights from {dataset_name} could not be fetched from {weights.url}: {reason}. "
            f"Look at the connection and start again; or get the file elsewhere and put it at "
            f"{place}; or train without them (--set pretrained=false)."
        ) from error
    return known
