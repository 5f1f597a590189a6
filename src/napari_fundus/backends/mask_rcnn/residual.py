"""The paper's backbones: ResNets with a feature pyramid, from scratch or from everyday pictures."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import ResNet101_Weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

__all__ = ["residual_pyramid", "start_from_coco"]


def residual_pyramid(kind: str, *, planes: int, frozen_norm: bool, imagenet: bool) -> nn.Module:
    """Return a ResNet with five levels of 256 channels.

    Parameters
    ----------
    kind
        ``"resnet50"`` or ``"resnet101"``.
    planes
        Of the input. Weights of everyday pictures are for three.
    frozen_norm
        Whether the normalizations keep their statistics, as pretrained ones should with small
        batches.
    imagenet
        Whether to download ResNet-101's weights.
    """
    pyramid: Any = resnet_fpn_backbone(
        backbone_name=kind,
        weights=ResNet101_Weights.DEFAULT if imagenet else None,
        norm_layer=FrozenBatchNorm2d if frozen_norm else nn.BatchNorm2d,
        trainable_layers=5,
    )
    if planes != 3:
        first = pyramid.body.conv1
        pyramid.body.conv1 = nn.Conv2d(planes, first.out_channels, 7, 2, 3, bias=False)
    return pyramid  # type: ignore[no-any-return]


def start_from_coco(network: nn.Module) -> None:
    """Give `network` the weights of torchvision's Mask R-CNN on COCO, downloaded, where they fit.

    What tells classes apart starts anew.
    """
    weights = MaskRCNN_ResNet50_FPN_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True)
    own = network.state_dict()
    fitting = {n: t for n, t in weights.items() if n in own and own[n].shape == t.shape}
    network.load_state_dict(fitting, strict=False)
