"""Mask R-CNN as a network: torchvision's parts, on a ResNet or on our own U-Net."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from napari_fundus.backends.mask_rcnn.heads import (
    Float32BoxPredictor,
    Float32RPNHead,
    LesionRoIHeads,
    LesionRPN,
)
from napari_fundus.backends.mask_rcnn.resnet_fpn import load_coco_weights, resnet_fpn
from napari_fundus.backends.mask_rcnn.unet_pyramid import PyramidRoIAlign, UNetPyramid

MASK_SIDE = 28
"""Masks come as so many cells squared, spread evenly over their box.

Boxes are half-open, (x0, y0, x1, y1) with pixel i from i to i + 1: the centre of cell (r, c) lies
at pixel row ``y0 + (r + .5) · (y1 - y0) / 28 - .5`` and likewise for columns.
"""

MULTIPLE = 32
"""Pictures are filled with 0, at the bottom and right, to multiples of it."""

Sizes = Annotated[
    tuple[Annotated[float, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=16)
]


class MaskRCNNArchitecture(BaseModel):
    """What a network is built from; it stands in the model card.

    Attributes
    ----------
    kind
        ``"light"``: on the plain U-Net; ``"resnet50"``, ``"resnet101"``: torchvision's, with a
        feature pyramid.
    planes, classes
        Number of input planes, and of classes without the background.
    filters, stem
        Of the U-Net, see `napari_fundus.inference.plain_unet.PlainUNet`.
    channels, hidden, mask_channels
        Of the light one's pyramid, box head and mask head.
    norm
        Batch normalization of the ResNet: ``"frozen"`` as pretrained, or ``"batch"``.
    anchors, ratios
        Sides of the anchors in pixels, a tuple for each level of the pyramid, the finest (one cell
        for 4 px) first; ratios of height and width.
    anchors_per_image, rois_per_image
        How many of them a training picture's loss is made from.
    foreground
        Least intersection over union of a proposal that stands for a lesion.
    proposals
        How many proposals of a picture are looked at, in training and afterwards.
    detections
        At most so many lesions a picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["light", "resnet50", "resnet101"] = "light"
    planes: Annotated[int, Field(ge=1, le=16)] = 3
    classes: Annotated[int, Field(ge=1, le=100)] = 4
    filters: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=5, max_length=8)
    ] = (32, 64, 128, 192, 256)
    stem: Literal[2] = 2
    channels: Annotated[int, Field(ge=8, le=1024)] = 64
    hidden: Annotated[int, Field(ge=8, le=4096)] = 256
    mask_channels: Annotated[int, Field(ge=8, le=1024)] = 64
    norm: Literal["frozen", "batch"] = "batch"
    anchors: Annotated[tuple[Sizes, ...], Field(min_length=4, max_length=5)] = (
        (6, 9, 13),
        (18, 26, 38),
        (54, 76, 108),
        (150, 210, 300),
    )
    ratios: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1, max_length=16)
    ] = (1.0,)
    anchors_per_image: Annotated[int, Field(ge=8, le=8192)] = 256
    rois_per_image: Annotated[int, Field(ge=8, le=8192)] = 64
    foreground: Annotated[float, Field(gt=0, lt=1)] = 0.4
    proposals: tuple[
        Annotated[int, Field(ge=8, le=16384)], Annotated[int, Field(ge=8, le=16384)]
    ] = (400, 1000)
    detections: Annotated[int, Field(ge=1, le=4096)] = 256

    @classmethod
    def of_the_paper(
        cls, kind: Literal["resnet50", "resnet101"], **changes: Any
    ) -> MaskRCNNArchitecture:
        """Return a ResNet with the paper's anchors from 8 px and 512 anchors and RoIs a picture."""
        paper = {
            "norm": "frozen",
            "anchors": ((8.0,), (16.0,), (32.0,), (64.0,), (128.0,)),
            "ratios": (0.5, 1.0, 2.0),
            "anchors_per_image": 512,
            "rois_per_image": 512,
            "foreground": 0.5,
            "proposals": (2000, 1000),
        }
        return cls.model_validate({"kind": kind, **paper, **changes})


class _NoTransform(nn.Module):
    """Pictures stay as the recipe made them, and masks stay in their boxes.

    Stands where torchvision resizes, normalizes, and pastes each mask into a map of its own: 500
    lesions on 12 megapixels would take 24 GB.
    """

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Any]] | None = None
    ) -> tuple[ImageList, list[dict[str, Any]] | None]:
        """Return the pictures as one tensor, filled to a common size; boxes of targets in float32.

        Targets come with whole-numbered boxes: mixed precision rounds the floats that it is given.
        """
        sizes = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
        height, width = (-(-max(side) // MULTIPLE) * MULTIPLE for side in zip(*sizes, strict=True))
        filled = [
            functional.pad(i, (0, width - i.shape[-1], 0, height - i.shape[-2])) for i in images
        ]
        stacked = torch.stack(filled)
        if images[0].stride(0) == 1:
            stacked = stacked.contiguous(memory_format=torch.channels_last)
        if targets is not None:
            boxes = ("boxes", "ignored")
            targets = [{**own, **{name: own[name].float() for name in boxes}} for own in targets]
        return ImageList(stacked, sizes), targets

    def postprocess(self, result: list[dict[str, Tensor]], *sizes: Any) -> list[dict[str, Tensor]]:
        """Return what was found as it is."""
        del sizes
        return result


def build_network(
    architecture: MaskRCNNArchitecture, *, pretrained: bool = False
) -> GeneralizedRCNN:
    """Return the network, with random weights or those of everyday pictures.

    In training mode it is called with pictures and targets (see `heads`) and returns losses. In
    evaluation mode it is called with a list of float (P, H, W) and returns for each picture
    ``boxes`` (N, 4), ``labels`` int64 (N,) from 1 on, ``scores`` (N,) and ``masks``
    (N, 1, 28, 28) in [0, 1], which lie in their boxes as `MASK_SIDE` describes.

    Parameters
    ----------
    architecture
        What to build.
    pretrained
        Whether a ResNet starts from weights that are downloaded: ResNet-50 with its pyramid and
        heads from COCO, ResNet-101 alone from ImageNet.
    """
    levels = ["0", "1", "2", "3"]
    if architecture.kind == "light":
        pyramid: nn.Module = UNetPyramid(
            planes=architecture.planes,
            filters=architecture.filters,
            stem=architecture.stem,
            channels=architecture.channels,
        )
        channels, width = architecture.channels, architecture.hidden
        box_pool: nn.Module = PyramidRoIAlign(7, samples=2)
        mask_pool: nn.Module = PyramidRoIAlign(14, samples=1)
        mask_channels = architecture.mask_channels
    else:
        pyramid = resnet_fpn(
            architecture.kind,
            planes=architecture.planes,
            frozen_norm=architecture.norm == "frozen",
            imagenet=pretrained and architecture.kind == "resnet101",
        )
        channels, width, mask_channels = 256, 1024, 256
        box_pool = MultiScaleRoIAlign(levels, output_size=7, sampling_ratio=2)
        mask_pool = MultiScaleRoIAlign(levels, output_size=14, sampling_ratio=2)
    outputs = architecture.classes + 1
    network = GeneralizedRCNN(
        pyramid,
        _proposals(architecture, channels),
        LesionRoIHeads(
            box_pool,
            TwoMLPHead(channels * 49, width),
            Float32BoxPredictor(width, outputs),
            fg_iou_thresh=architecture.foreground,
            bg_iou_thresh=architecture.foreground,
            batch_size_per_image=architecture.rois_per_image,
            positive_fraction=0.25 if architecture.kind != "light" else 0.33,
            bbox_reg_weights=None,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=architecture.detections,
            mask_roi_pool=mask_pool,
            mask_head=MaskRCNNHeads(channels, (mask_channels,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(mask_channels, mask_channels, outputs),
        ),
        _NoTransform(),
    )
    if pretrained and architecture.kind == "resnet50":
        load_coco_weights(network)
    return network


def _proposals(architecture: MaskRCNNArchitecture, channels: int) -> LesionRPN:
    count = len(architecture.anchors[0]) * len(architecture.ratios)
    light = architecture.kind == "light"
    training, testing = architecture.proposals
    return LesionRPN(
        AnchorGenerator(architecture.anchors, (architecture.ratios,) * len(architecture.anchors)),
        Float32RPNHead(channels, count),
        fg_iou_thresh=0.5 if light else 0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=architecture.anchors_per_image,
        positive_fraction=0.5,
        pre_nms_top_n={"training": training, "testing": testing},
        post_nms_top_n={"training": training, "testing": testing},
        nms_thresh=0.7,
        # The finest level, of 2 px, serves the heads alone: to search it costs more than the rest.
        left_out=UNetPyramid.FINEST if light else "",
    )
