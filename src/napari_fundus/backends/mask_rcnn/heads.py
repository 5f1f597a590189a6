"""Losses that know what nobody annotated: torchvision's proposals and heads, changed for that."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from napari_fundus.errors import DetectorError

_COVERED = 0.5
"""A box covered so far by what is ignored is neither a lesion nor background."""

_LEAST_BACKGROUND = 8
_MASKED_LOGIT = -1e4
"""Logit of a class that cannot be predicted wrongly; its exponential is 0 in half precision too."""


class Float32RPNHead(RPNHead):  # type: ignore[misc]
    """torchvision's head of the proposals, whose answers are float32 in any precision.

    torchvision gives boxes the type of these answers, and bfloat16 has 8 bits: at column 300 it
    knows every other pixel alone.
    """

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness and box regression of each level."""
        logits, regression = super().forward(x)
        if not self.training:
            _check_finite(*logits, *regression)
        return [level.float() for level in logits], [level.float() for level in regression]


class Float32BoxPredictor(FastRCNNPredictor):  # type: ignore[misc]
    """torchvision's head of classes and boxes, whose answers are float32 in any precision."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the classes, and box regression."""
        logits, regression = super().forward(x)
        if not self.training:
            _check_finite(logits, regression)
        return logits.float(), regression.float()


class LesionRPN(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's proposals; what a patch's border cut to slivers is neither wanted nor wrong.

    Where a class was not looked for, it cannot be distinguished from background. There no more
    background is learnt from than lesions, drawn at random, so that few are unknown lesions.

    Parameters
    ----------
    left_out
        Name of a level that is not searched.
    *args, **kwargs
        Of torchvision's.
    """

    def __init__(self, *args: Any, left_out: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left_out = left_out

    def forward(self, images: Any, features: dict[str, Tensor], targets: Any = None) -> Any:
        """Return proposals and losses, as torchvision's does."""
        searched = {name: level for name, level in features.items() if name != self.left_out}
        return super().forward(images, searched, targets)

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Any]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each anchor 1 for a lesion, 0 for background, -1 for neither; and its box."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for number, target in enumerate(targets):
            own = labels[number]
            own[(own == 0) & boxes_in_regions(anchors[number], target["ignored"])] = -1
            if not bool(target["annotated"].all()):
                background = torch.where(own == 0)[0]
                most = max(int((own == 1).sum()), _LEAST_BACKGROUND)
                mixed = torch.randperm(len(background), device="cpu").to(background.device)
                own[background[mixed[most:]]] = -1
        return labels, boxes


class LesionRoIHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's heads, whose losses leave out classes that were not looked for in a picture.

    The targets of a picture are a dict: ``boxes`` float32 (N, 4); ``labels`` int64 (N,) from 1 on;
    ``masks``, a list of N arrays, uint8 (h, w), each in its whole-numbered box; ``ignored`` float32
    (M, 4); ``annotated`` bool (K,).
    """

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Any]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return what is found, or in training the losses."""
        if not self.training:
            found: tuple[list[dict[str, Tensor]], dict[str, Tensor]] = super().forward(
                features, proposals, image_shapes
            )
            _check_finite(*(one["masks"] for one in found[0]))
            return found
        if targets is None:
            raise ValueError("In training mode the network needs targets.")
        proposals = [
            boxes[~boxes_in_regions(boxes, target["ignored"])]
            for boxes, target in zip(proposals, targets, strict=True)
        ]
        proposals, matched, labels, shifts = self.select_training_samples(proposals, targets)
        inside = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, regression = self.box_predictor(inside)
        known = [
            functional.pad(target["annotated"], (1, 0), value=True).expand(len(boxes), -1)
            for target, boxes in zip(targets, proposals, strict=True)
        ]
        logits = logits.masked_fill(~torch.cat(known).to(logits.device), _MASKED_LOGIT)
        by_class, by_box = fastrcnn_loss(logits, regression, labels, shifts)
        by_mask = self._mask_loss(features, proposals, matched, labels, image_shapes, targets)
        return [], {"loss_classifier": by_class, "loss_box_reg": by_box, "loss_mask": by_mask}

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Any]],
    ) -> Tensor:
        chosen = [own > 0 for own in labels]
        boxes = [p[c] for p, c in zip(proposals, chosen, strict=True)]
        pooled = self.mask_roi_pool(features, boxes, image_shapes)
        logits = self.mask_predictor(self.mask_head(pooled)).float()
        if not len(logits):
            nothing: Tensor = logits.sum() * 0
            return nothing
        wanted = [
            mask_targets(own.cpu().numpy(), target, pick[keep].tolist(), logits.shape[-1])
            for own, target, pick, keep in zip(boxes, targets, matched, chosen, strict=True)
        ]
        kinds = torch.cat([own[c] for own, c in zip(labels, chosen, strict=True)])
        own_class = logits[torch.arange(len(logits), device=logits.device), kinds]
        goal = torch.from_numpy(np.concatenate(wanted)).to(own_class)
        return functional.binary_cross_entropy_with_logits(own_class, goal)


def _check_finite(*values: Tensor) -> None:
    """Raise `DetectorError` for answers that every threshold would drop without a word."""
    if not all(bool(torch.isfinite(one).all()) for one in values):
        raise DetectorError(
            "The network gave values that are not finite. Its weights are damaged or diverged; on "
            "a graphics card in half precision, try the CPU."
        )


def mask_targets(
    boxes: npt.NDArray[np.float32], target: dict[str, Any], matched: list[int], side: int
) -> npt.NDArray[np.float32]:
    """Return what of its object each box shows: float32 (N, side, side), values in [0, 1].

    The masks stay in their boxes; torchvision's own takes a map of the whole picture for each.

    Parameters
    ----------
    boxes
        (N, 4), half-open.
    target
        Of the picture.
    matched
        Index of each box's object.
    side
        Cells along each axis, see `network.MASK_SIDE`.
    """
    places = target["boxes"].cpu().numpy()
    found = np.empty((len(boxes), side, side), np.float32)
    for number, ((x0, y0, x1, y1), index) in enumerate(zip(boxes, matched, strict=True)):
        step_x, step_y = (x1 - x0) / side, (y1 - y0) / side
        left, top = places[index, :2]
        cells = np.array(
            [
                [step_x, 0, x0 + step_x / 2 - 0.5 - left],
                [0, step_y, y0 + step_y / 2 - 0.5 - top],
            ]
        )
        found[number] = cv2.warpAffine(
            target["masks"][index].astype(np.float32),
            cells,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
    return found


def boxes_in_regions(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return which boxes lie by half or more in one of the regions: bool (N,)."""
    if not len(regions):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    low = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2).amax(dim=1)
    return shared >= _COVERED * (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
